"""Which listener local mail is handed to."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.cli.submission import Submission, read_submission
from mailbridge.errors import StartError

HEAD = 'hostname = "b.example.org"\n[users]\ndomains = ["example.org"]\n[limits]\nmessage_size = "1 MiB"\n'
MIB = 1024 * 1024


class SubmissionTests(SynchronousTestCase):
    """`read_submission`."""

    def read(self, text: str) -> Submission:
        path = Path(self.mktemp())
        path.write_text(text)
        return read_submission(path)

    def test_doors(self) -> None:
        """One that trusts this machine comes first, then UNIX sockets, loopback, what is open to all."""
        for listeners, expected in (
            (('"tcp:2525:interface=127.0.0.1"',), ("127.0.0.1", 2525, "off")),
            (('"tcp:2525"',), ("127.0.0.1", 2525, "off")),
            ((r'"tcp6:2525"',), ("::1", 2525, "off")),
            ((r'"tcp:2525:interface=\\:\\:1"',), ("::1", 2525, "off")),
            (('"tcp:25:interface=192.0.2.1"',), ("192.0.2.1", 25, "off")),
            (('"tcp:25"', '"tcp:2525:interface=127.0.0.1"'), ("127.0.0.1", 2525, "off")),
            (('"tcp:25:interface=127.0.0.1"', '"unix:/run/smtp"'), ("/run/smtp", 0, "off")),
            (('"unix:/run/smtp"', '"tcp:25"', '"tcp:2525"\nclients = ["10.0.0.1", "127.0.0.0/8"]'),
             ("127.0.0.1", 2525, "off")),
            (('"unix:/run/smtp"', '"tcp:25"\nclients = ["nonsense", 3]'), ("/run/smtp", 0, "off")),
            (('"haproxy:tcp:1:interface=127.0.0.1"', '"tcp:0"', '"systemd:domain=INET:index=0"', '"tcp:26"'),
             ("127.0.0.1", 26, "off")),
            (('"tcp:465"\ntls = true',), ("127.0.0.1", 465, "implicit")),
            (('"tcp:25"\nstarttls = "require"',), ("127.0.0.1", 25, "require")),
            (('"tcp:25:interface=127.0.0.1"\nauth = "require"', '"tcp:26"'), ("127.0.0.1", 26, "off")),
        ):
            door = self.read(HEAD + "".join(f"[[smtp]]\nlisten = {listener}\n" for listener in listeners))
            self.assertEqual((*expected, "example.org", MIB),
                             (door.host, door.port, door.tls, door.domain, door.message_size))

    def test_receiver(self) -> None:
        """The listener of the receiver is a door when it lets this machine in, whatever else is on its list."""
        other = '[[smtp]]\nlisten = "tcp:26"\n'
        listed = 'clients = ["cxhlpsrv,syscae.syscae.cz", "localhost"]\n'
        for text, port in [
            ('[receiver]\nsmtp_port = 2525\n' + listed, 2525),
            ('[receiver]\nsmtp_port = 2525\n' + listed + other, 2525),
            ('[receiver]\nsmtp_port = 2525\n' + other, 26), ('[receiver]\n' + listed + other, 26),
            ('[receiver]\nsmtp_port = 2525\nclients = ["a b", "localhost"]\n' + other, 26),
            ('[receiver]\nsmtp_port = 2525\nclients = 5\n' + other, 26), ('receiver = 5\n' + HEAD + other, 26),
        ]:
            self.assertEqual(self.read(text).port, port, text)

    def test_defaults(self) -> None:
        """The host name stands in for a missing domain, and the default limit for a missing one."""
        door = self.read('hostname = "b.example.org"\n[[smtp]]\nlisten = "tcp:25"\n')
        self.assertEqual(("b.example.org", 50 * MIB), (door.domain, door.message_size))

    def test_secrets_are_not_read(self) -> None:
        """A configuration with secrets in files that this user may not read is good enough."""
        secret = '[relay.x]\nservers = ["x"]\nuser = "u"\npassword = { file = "/nowhere/secret" }\n'
        self.assertEqual(25, self.read(HEAD + secret + '[[smtp]]\nlisten = "tcp:25"\n').port)

    def test_no_door(self) -> None:
        """Without a listener that can be used, a file that is no TOML, or no file, the remedy is told."""
        for text, words in (
            (HEAD, "add one"), (HEAD + '[[smtp]]\nlisten = "tcp:0"\n', "add one"), ("smtp = 3", "add one"),
            ("[[smtp]]\nlisten = 3\n", "add one"), ("x = [[", "mailbridge check"),
            ("a=" + "[" * 5000, "mailbridge check"),
        ):
            with self.subTest(text=text[:60]):
                self.assertIn(words, str(self.assertRaises(StartError, self.read, text)))
        self.assertIn("cannot be read", str(self.assertRaises(StartError, read_submission, Path("/nowhere/x.toml"))))
