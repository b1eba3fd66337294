"""fauSMTP's own command lines and the commands they stand for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.cli.historic import BadCommandLine, commands, is_historic, parse, runs_here

# Every option of the page with its own example, and combinations of them.
LINES = {
    "-smtpport 42420": [["set", "smtpport", "42420"]],
    "-pop3port 24240": [["set", "pop3port", "24240"]],
    "-jsonport 5981": [["set", "jsonport", "5981"]],
    "-usefromsmtp 1": [["set", "usefromsmtp", "1"]],
    "-usefromsmtp on": [["set", "usefromsmtp", "on"]],
    "-dedicatedsmtp myhost.com,26,mruser,somepass": [["set", "dedicatedsmtp", "myhost.com,26,mruser,somepass"]],
    "-r Harold MyVisiblePassword": [["register", "Harold", "MyVisiblePassword"]],
    "-r Harold": [["register", "Harold"]],
    "-r Harold start": [["register", "Harold"], ["start"]],
    "-settings": [["settings"]],
    "-client": [["client"]],
    "-pullinfo": [["pullinfo"]],
    "-clearqueue": [["clearqueue"]],
    "-smtpport 42420 -usefromsmtp 1 restart": [["set", "smtpport", "42420", "usefromsmtp", "1"], ["restart"]],
    "restart -smtpport 42420": [["set", "smtpport", "42420"], ["restart"]],
    "-SMTPPort 42420 stop": [["set", "smtpport", "42420"], ["stop"]],
    "--config a.toml -settings --json": [["--config", "a.toml", "--json", "settings"]],
    "-settings -client": [["settings"], ["client"]],
}
WRONG = {
    "-smtpport": "-smtpport needs a value",
    "-smtpport -pop3port 1": "-smtpport needs a value",
    "-smtpport 1 -smtpport 2": "-smtpport comes twice",
    "-smtpport 1 fly": "'fly' is not known here",
    "-smtpport 1 start stop": "'stop' is not known here",
    "-smtpport 1 -x": "'-x' is not known here",
    "-r": "-r needs a value",
}


class HistoricTests(SynchronousTestCase):
    """`is_historic`, `parse`, `commands`."""

    def test_lines(self) -> None:
        """Each line of the page becomes the modern commands: settings first, then what is shown, the action last."""
        for line, expected in LINES.items():
            words = line.split()
            self.assertTrue(is_historic(words), line)
            self.assertEqual(commands(parse(words)), expected, line)

    def test_wrong(self) -> None:
        """A line that is written otherwise is refused with what is known."""
        for line, words in WRONG.items():
            self.assertIn(words, str(self.assertRaises(BadCommandLine, parse, line.split())), line)

    def test_processes(self) -> None:
        """What runs a reactor has a process of its own, and nothing else has one."""
        plan = parse(["--config", "f", "-smtpport", "1", "-r", "Harold", "-settings", "-pullinfo", "restart"])
        self.assertEqual([runs_here(plan, words) for words in commands(plan)], [True, False, False, False, True])

    def test_modern_lines(self) -> None:
        """Modern command lines are none of fauSMTP's."""
        for line in ("status", "user add bonnie", "-h", "--help", "queue list --json", "send -f a@b c@d", "start"):
            self.assertFalse(is_historic(line.split()), line)

    def test_password_is_not_shown(self) -> None:
        """A password on the command line is in no repr."""
        self.assertNotIn("MyVisible", repr(parse(["-r", "Harold", "MyVisiblePassword"])))
