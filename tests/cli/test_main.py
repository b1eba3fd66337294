"""The command line: exit codes, and one line for what went wrong."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.cli import importreg
from mailbridge.cli.main import COMMANDS, main, parser


class MainTests(SynchronousTestCase):
    """What does not need a reactor."""

    def run_main(self, *argv: str) -> tuple[int, str, str]:
        """(exit code, output, error output)."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(argv)
            except SystemExit as exit:
                code = int(exit.code or 0)
        return code, out.getvalue(), err.getvalue()

    def test_wrong_command_line(self) -> None:
        """A command line that makes no sense exits 64 with one line and the way it is written."""
        for argv in ((), ("frob",), ("user",), ("user", "add"), ("route", "a"), ("status", "--frob"),
                     ("alias", "add", "x")):
            code, _, err = self.run_main(*argv)
            self.assertEqual(64, code, argv)
            self.assertTrue(err.startswith("mailbridge: "), err)
            self.assertIn("usage:", err)

    def test_wrong_configuration(self) -> None:
        """Each fault of a configuration is a line of its own; exit 64."""
        path = Path(self.mktemp())
        path.write_text("hostname = 3\nfrob = 1\n")
        code, out, err = self.run_main("--config", str(path), "user", "list")
        self.assertEqual((64, ""), (code, out))
        self.assertLess(1, len(err.splitlines()))
        self.assertTrue(all(line.startswith(f"mailbridge: {path.absolute()}: ") for line in err.splitlines()), err)

    def test_no_configuration_file(self) -> None:
        """A file that is not there exits 64 and is named."""
        code, _, err = self.run_main("user", "list", "--config", "/nowhere/mailbridge.toml")
        self.assertEqual(64, code)
        self.assertIn("/nowhere/mailbridge.toml", err)

    def test_status_without_configuration(self) -> None:
        """For a monitoring system a status that cannot be found out is UNKNOWN, exit 3, on standard output."""
        code, out, _ = self.run_main("status", "--config", "/nowhere/mailbridge.toml")
        self.assertEqual(3, code)
        self.assertTrue(out.startswith("mailbridge UNKNOWN: "), out)
        code, out, _ = self.run_main("--json", "status", "--config", "/nowhere/mailbridge.toml")
        self.assertEqual("unknown", json.loads(out)["level"])

    def test_global_options_anywhere(self) -> None:
        """--config and --json are the same before and after the command."""
        for argv in (["--config", "x", "--json", "user", "list"], ["user", "--json", "list", "--config", "x"],
                     ["user", "list", "--json", "--config", "x"]):
            args = parser().parse_args(argv)
            self.assertEqual((Path("x"), True), (args.config, args.json))

    def test_every_command_has_help(self) -> None:
        """Each command explains itself."""
        for command in COMMANDS:
            name = "import" if command is importreg else command.__name__.rpartition(".")[2]
            code, out, _ = self.run_main(name, "--help")
            self.assertEqual(0, code)
            self.assertIn(f"usage: mailbridge {name}", out)
