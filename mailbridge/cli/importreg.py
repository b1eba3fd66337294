"""`mailbridge import FILE.reg`: the registry of MobilChange's and FaxChange's SMTP receiver as a configuration."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterable
from pathlib import Path

from mailbridge.cli.options import Subparsers, show, warn
from mailbridge.config.load import load_text
from mailbridge.config.reg_import import convert
from mailbridge.config.registry import parse
from mailbridge.errors import ConfigError, Fault, StartError

LARGEST = 4 * 1024 * 1024


def add_to(subparsers: Subparsers) -> None:
    """Add `import` to the command line."""
    parser = subparsers.add_parser("import", help="make a configuration of an exported registry (.reg)")
    parser.add_argument("file", type=Path, metavar="FILE.reg", help="an export of the key SMTPreceiver or one above")
    parser.add_argument("--output", type=Path, metavar="FILE.toml", help="a new file for it (default: print it)")
    parser.add_argument("--path", dest="paths", type=_pair, action="append", default=[], metavar="WINDOWS=HERE",
                        help=r"what became of a folder: 'D:\FaxChange=/srv/faxchange'; may be repeated")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Write or print the configuration, and tell what could not be carried over. Raises StartError."""
    try:
        with args.file.open("rb") as file:
            octets = file.read(LARGEST + 1)
    except OSError as error:
        raise StartError(f"{args.file}: cannot be read: {error.strerror}") from None
    if len(octets) > LARGEST:
        raise StartError(f"{args.file}: is larger than 4 MiB; export the key of SMTPreceiver alone")
    base = (args.output.parent if args.output else Path()).absolute()
    try:
        imported = convert(parse(octets), lambda text: _faults(text, base), tempfile.gettempdir(), dict(args.paths))
    except ValueError as error:
        raise StartError(f"{args.file}: {error}") from None
    for note in imported.notes:
        warn(f"note: {note}")
    if args.output is not None:
        _write(args.output, imported.toml)
    record = {"toml": imported.toml, "notes": list(imported.notes)}
    show(args, record, imported.toml.rstrip("\n") if args.output is None else f"{args.output}: written; now: "
                       f"mailbridge check --config {args.output}")
    return 0


def _pair(text: str) -> tuple[str, str]:
    windows, equals, here = text.partition("=")
    if not windows.strip() or not equals or not here.strip():
        raise argparse.ArgumentTypeError(r"must be WINDOWS=HERE, such as 'D:\FaxChange=/srv/faxchange'")
    return windows, here


def _faults(text: str, base: Path) -> Iterable[Fault]:
    try:
        load_text(text, "import", base)
    except ConfigError as error:
        return error.faults
    return ()


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise StartError(f"{path}: is there already; name a new file") from None
    except OSError as error:
        raise StartError(f"{path}: cannot be written: {error.strerror}") from None
