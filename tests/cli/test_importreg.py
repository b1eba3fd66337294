"""`mailbridge import`: where the configuration goes, and what is told beside it."""

from __future__ import annotations

import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.cli.main import main
from mailbridge.config.load import load

EXPORT = Path(__file__).parents[2] / "etc" / "receiver.reg"


class ImportTests(SynchronousTestCase):
    """The shipped example, in a folder that has what its paths become."""

    def setUp(self) -> None:
        """The folder."""
        self.base = Path(self.mktemp()).absolute()
        for folder in ("mail/in", "log"):
            (self.base / folder).mkdir(parents=True)
        self.output = self.base / "new.toml"
        self.path = f"D:\\FaxChange={self.base}"

    def run_command(self, *arguments: str) -> tuple[int, str, str]:
        """(exit code, output, error output)."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(["import", *arguments])
        return code, out.getvalue(), err.getvalue()

    def test_to_a_file(self) -> None:
        """The file loads; notes go to standard error, and the next command is named."""
        code, out, err = self.run_command(str(EXPORT), "--output", str(self.output), "--path", self.path)
        self.assertEqual((code, out), (0, f"{self.output}: written; now: mailbridge check --config {self.output}\n"))
        self.assertEqual(err.count("mailbridge: note: "), 5)
        self.assertEqual(load(self.output).application["fax"].output_folder, self.base / "mail" / "in")

    def test_never_over_another_file(self) -> None:
        """A file that is there stays as it is."""
        self.output.write_text("mine")
        code, _, err = self.run_command(str(EXPORT), "--output", str(self.output))
        self.assertEqual((code, self.output.read_text()), (78, "mine"))
        self.assertIn("is there already", err)

    def test_to_standard_output(self) -> None:
        """Without a file it is printed; as JSON with its notes."""
        _, text, _ = self.run_command(str(EXPORT), "--path", self.path)
        self.assertIn("[application.fax]\n", text)
        _, told, _ = self.run_command(str(EXPORT), "--path", self.path, "--json")
        record = json.loads(told)
        self.assertEqual((record["toml"].rstrip(), len(record["notes"])), (text.rstrip(), 5))

    def test_wrong_files(self) -> None:
        """What is missing, no export, or far too large is told in one line."""
        big, other = self.base / "big.reg", self.base / "other.reg"
        big.write_bytes(b"REGEDIT4\n" * 500_000)
        other.write_text("[smtp]")
        gone = self.base / "gone"
        for path, words in [(gone, "cannot be read"), (big, "larger than 4 MiB"), (other, "no registry export")]:
            code, out, err = self.run_command(str(path))
            self.assertEqual((code, out, err.count("\n")), (78, "", 1))
            self.assertIn(words, err)

    def test_wrong_path(self) -> None:
        """A --path without its two sides is a fault of the command line."""
        for pair in ("D:\\x", "=y", "x="):
            with self.assertRaises(SystemExit) as raised:
                self.run_command(str(EXPORT), "--path", pair)
            self.assertEqual(raised.exception.code, 64)
