"""`mailbridge settings`: fauSMTP's settings by their names, all others by their places, no secrets."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.cli.mail_program import settings
from mailbridge.cli.settings import flat, historic, plain, registered
from mailbridge.config.load import load_text
from mailbridge.config.model import Config

TEXT = """hostname = "b.example"
state = "state"
[[smtp]]
listen = "tcp:42420:interface=127.0.0.1"
[[pop3]]
listen = "tcp:24240"
[relay.dedicated]
dedicatedsmtp = "myhost.com,26,mruser,somepass"
"""


def read(text: str) -> Config:
    """The configuration in `text`."""
    return load_text(text, "mailbridge.toml", Path("/nowhere"))


class SettingsTests(SynchronousTestCase):
    """`historic`, `plain`, `flat`, `registered`."""

    def test_switches(self) -> None:
        """The switches of the page, with the values that they would be set to."""
        self.assertEqual(historic(read(TEXT)), {
            "smtpport": 42420, "pop3port": 24240, "jsonport": None, "usefromsmtp": 0,
            "dedicatedsmtp": "myhost.com,26,mruser"})

    def test_json_port(self) -> None:
        """The port of the OCE: that of its URL, or the one that our own listens on."""
        for oce, port in (('url = "http://127.0.0.1:5981/"', 5981), ('url = "https://oce.example.org/"', 443),
                          ("embedded = true", 1895), ('embedded = true\nlisten = "unix:/tmp/oce"', None)):
            self.assertEqual(historic(read(f"{TEXT}[oce]\n{oce}\n"))["jsonport"], port, oce)

    def test_no_secrets(self) -> None:
        """Every setting has its place, and a secret is only said to be there."""
        shown = flat(plain(read(TEXT + '[oce]\nurl = "http://127.0.0.1/"\npassword = "hush"\n')))
        self.assertEqual(shown["smtp[0].listen"], "tcp:42420:interface=127.0.0.1")
        self.assertEqual(shown["oce.password"], "(set, not shown)")
        self.assertNotIn("somepass", str(shown))

    def test_registered(self) -> None:
        """Nothing without an OCE, "no" where there is no store yet."""
        self.assertEqual(registered(read(TEXT)), None)
        self.assertEqual(registered(read(TEXT + '[oce]\nurl = "http://127.0.0.1/"\n')), "no")


class ClientTests(SynchronousTestCase):
    """`mailbridge client` with an OCE."""

    def test_member(self) -> None:
        """The login is name@oce as on the page, and the tribes that can be written to are named."""
        tribe = '[oce]\nurl = "http://127.0.0.1/"\n[oce.tribes.friends]\nkey = "BBBB1111BBBB1111"\n'
        told = settings(read(TEXT + tribe), "bonnie", None)
        self.assertEqual((told.user, told.address), ("bonnie@oce", "bonnie@b.example"))
        self.assertTrue(any("NAME@friends.oce" in note for note in told.notes), told.notes)
        self.assertEqual(settings(read(TEXT), "bonnie", None).user, "bonnie")
