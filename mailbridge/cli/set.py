"""`mailbridge set NAME VALUE`: changes one of fauSMTP's five settings in the configuration file, comments kept."""

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
    parser.add_argument("name", choices=sorted(SWITCHES), metavar="NAME", help=", ".join(sorted(SWITCHES)))
    parser.add_argument("value", metavar="VALUE", help="a port; on or off; host,port,user,password or none")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Change the file. Errors: ConfigError, and then nothing has changed."""
    path = config_path(args)
    notes = change(path, {args.name: args.value})
    text = [f"{path}: {args.name} changed; `mailbridge reload` or `mailbridge restart` puts it to work", *notes]
    show(args, {"file": str(path), "changed": [args.name], "notes": notes}, "\n".join(text))
    return 0


def change(path: Path, wanted: dict[str, str]) -> list[str]:
    """Make all changes or none; notes for the operator. Raises ConfigError."""
    file = ConfigFile(path)
    faults = []
    for name, value in wanted.items():
        try:
            SWITCHES[name](file, value)
        except ValueError as error:
            faults.append(Fault(name, str(error)))
    if faults:
        raise ConfigError("mailbridge", tuple(faults))
    return file.save()
