"""What all commands share: `--config` and `--json` anywhere on the line, finding the configuration, showing results."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

from mailbridge.admin.plain import plain_json
from mailbridge.config.find import NAME, SYSTEM, VARIABLE, find_config
from mailbridge.config.load import load
from mailbridge.config.model import Config

EX_USAGE = 64


class CommandParser(argparse.ArgumentParser):
    """A parser that takes the global options too, so they may stand before and after the command; errors exit 64."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.add_argument("--config", type=Path, metavar="FILE", default=argparse.SUPPRESS,
                          help=f"configuration (default: ${VARIABLE}, {NAME}, {SYSTEM})")
        self.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print JSON")

    def error(self, message: str) -> NoReturn:
        """One line that says what is wrong, then how the command is written."""
        self.exit(EX_USAGE, f"mailbridge: {message}\n{self.format_usage()}")


#: What add_subparsers() returns; argparse has no other name for it.
Subparsers: TypeAlias = "argparse._SubParsersAction[Any]"


def config_path(args: argparse.Namespace) -> Path:
    """The configuration file of a command, found as `twist mailbridge` finds it. Raises ConfigError."""
    return find_config(str(args.config) if args.config is not None else None, os.environ, Path.cwd())


def read_config(args: argparse.Namespace) -> Config:
    """The configuration of a command. Raises ConfigError."""
    return load(config_path(args))


def show(args: argparse.Namespace, record: object, text: str) -> None:
    """Print a result: the record as JSON if that was asked for, else the text."""
    print(plain_json(record) if args.json else text)


def warn(text: str) -> None:
    """One line to the operator, beside the result."""
    print(f"mailbridge: {text}", file=sys.stderr)
