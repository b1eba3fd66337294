"""`mailbridge set NAME VALUE ...`: changes some of fauSMTP's five settings in the configuration file, comments kept."""

from __future__ import annotations

import argparse
from pathlib import Path

from mailbridge.cli.options import Subparsers, config_path, show
from mailbridge.config.editing import ConfigFile
from mailbridge.config.switches import SWITCHES
from mailbridge.errors import ConfigError, Fault


def add_to(subparsers: Subparsers) -> None:
    """Add `set` to the command line."""
    parser = subparsers.add_parser("set", help="change a setting in the configuration file")
    parser.add_argument("pairs", nargs="+", metavar="NAME VALUE",
                        help=f"{', '.join(sorted(SWITCHES))}; a port, on or off, host,port,user,password or none")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Change the file. Errors: ConfigError, and then nothing has changed."""
    path = config_path(args)
    names, values = args.pairs[::2], args.pairs[1::2]
    if len(names) != len(values):
        raise ConfigError("mailbridge", (Fault("set", f"{names[-1]} needs a value"),))
    notes = change(path, dict(zip(names, values, strict=True)))
    text = [f"{path}: {', '.join(names)} changed; `mailbridge reload` or `mailbridge restart` puts it to work", *notes]
    show(args, {"file": str(path), "changed": names, "notes": notes}, "\n".join(text))
    return 0


def change(path: Path, wanted: dict[str, str]) -> list[str]:
    """Make all changes or none; notes for the operator. Raises ConfigError."""
    file = ConfigFile(path)
    faults = []
    for name, value in wanted.items():
        if name not in SWITCHES:
            faults.append(Fault(name, f"is no setting to set here; known are {', '.join(sorted(SWITCHES))}"))
            continue
        try:
            SWITCHES[name](file, value)
        except ValueError as error:
            faults.append(Fault(name, str(error)))
    if faults:
        raise ConfigError("mailbridge", tuple(faults))
    return file.save()
