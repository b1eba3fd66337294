"""fauSMTP's settings, switched in a file that people write: comments stay, faults change nothing."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.cli.set import change
from mailbridge.config.load import load
from mailbridge.config.model import Config
from mailbridge.errors import ConfigError

FILE = """# ours
hostname = "bridge.example.org"  # the name

[[smtp]]
listen = "tcp:20001:interface=127.0.0.1"  # loopback
[[smtp]]
listen = "tcp:25"
[[pop3]]
listen = "haproxy:tcp:20002"
"""


class SwitchTests(SynchronousTestCase):
    """`change`, which is behind `mailbridge set` and the historic switches."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.write_text(FILE)
        self.path.chmod(0o644)

    def change(self, **wanted: str) -> Config:
        """The configuration after changes."""
        change(self.path, wanted)
        return load(self.path)

    def refused(self, **wanted: str) -> str:
        """What is wrong with changes; the file stays as it was."""
        before = self.path.read_bytes()
        error = self.assertRaises(ConfigError, change, self.path, wanted)
        self.assertEqual(self.path.read_bytes(), before)
        return str(error)

    def test_ports(self) -> None:
        """The port of the first listener of a kind changes; its address, all comments and other listeners stay."""
        config = self.change(smtpport="42420", pop3port="24240")
        self.assertEqual([each.listen for each in config.smtp], ["tcp:42420:interface=127.0.0.1", "tcp:25"])
        self.assertEqual([each.listen for each in config.pop3], ["haproxy:tcp:24240"])
        self.assertEqual(self.path.read_text(), FILE.replace("20001", "42420").replace("20002", "24240"))

    def test_first_listener(self) -> None:
        """Where there is no listener yet, one for this computer is made."""
        self.path.write_text('hostname = "a.example"\n')
        config = self.change(smtpport="42420")
        self.assertEqual([each.listen for each in config.smtp], ["tcp:42420:interface=127.0.0.1"])

    def test_use_from(self) -> None:
        """usefromsmtp sends by the sender's server, and back to the recipients' when it is switched off."""
        for on, off in (("1", "0"), ("on", "off")):
            config = self.change(usefromsmtp=on)
            self.assertTrue(config.relay["usefromsmtp"].use_from and config.relay["usefromsmtp"].default)
            config = self.change(usefromsmtp=off)
            self.assertEqual({name: relay.servers for name, relay in config.relay.items()}, {"direct": ("mx",)})

    def test_dedicated(self) -> None:
        """dedicatedsmtp takes host, port, user and password as on the page; the file is closed to others then."""
        config = self.change(dedicatedsmtp="myhost.com,26,mruser,somepass")
        self.assertEqual(config.relay["dedicated"].dedicatedsmtp, ("myhost.com", 26, "mruser", "somepass"))
        self.assertEqual(os.stat(self.path).st_mode & 0o777, 0o640)
        self.assertEqual(list(self.change(dedicatedsmtp="none").relay), ["direct"])

    def test_last_switch_counts(self) -> None:
        """The switch that came last names the default relay; without it the other one is back."""
        self.change(dedicatedsmtp="a.example,25")
        config = self.change(usefromsmtp="on")
        self.assertEqual({name: relay.default for name, relay in config.relay.items()},
                         {"dedicated": False, "usefromsmtp": True})
        config = self.change(usefromsmtp="off")
        self.assertEqual({name: relay.default for name, relay in config.relay.items()}, {"dedicated": True})

    def test_relay_of_the_operator(self) -> None:
        """A relay that the operator wrote stays, as a way for rules; switched off, it is the default again."""
        self.path.write_text(FILE + '[relay.office]\nservers = ["smtp.example.org"]  # keep me\n')
        config = self.change(usefromsmtp="on")
        self.assertEqual((config.relay["office"].default, config.relay["usefromsmtp"].default), (False, True))
        config = self.change(usefromsmtp="off")
        self.assertEqual({name: relay.default for name, relay in config.relay.items()}, {"office": True})
        self.assertIn("# keep me", self.path.read_text())

    def test_faults(self) -> None:
        """What is wrong is named, all of it, and nothing changes."""
        for name, value, words in (
            ("smtpport", "0", "smtpport: must be a port"), ("smtpport", "65536", "1 to 65535"),
            ("smtpport", "\u0661", "must be a port"), ("usefromsmtp", "maybe", "must be 0, 1, on or off"),
            ("dedicatedsmtp", "a b", "host,port,user,password"), ("smtpport", "25", "takes the same port 25"),
        ):
            self.assertIn(words, self.refused(**{name: value}))
        both = self.refused(smtpport="x", usefromsmtp="y")
        self.assertTrue("smtpport" in both and "usefromsmtp" in both)

    def test_no_port_to_change(self) -> None:
        """A listener on a socket file has no port: the operator is sent to the file."""
        self.path.write_text(FILE.replace("tcp:20001:interface=127.0.0.1", "unix:/run/smtp.sock"))
        self.assertIn("smtp[0].listen", self.refused(smtpport="42420"))

    def test_no_password_in_messages(self) -> None:
        """A password that cannot be taken is not shown."""
        self.assertNotIn("hush", self.refused(dedicatedsmtp="a b,x,user,hush"))

    def test_other_ways_to_write_it(self) -> None:
        """Inline tables, dotted keys and the line ends of Windows stay, and what is new fits in."""
        for text in ('relay = { out = { servers = ["smtp.x.org"] } } # ours\n',
                     'relay.out.servers = ["smtp.x.org"] # ours\n',
                     '# ours\n[relay.out]\nservers = ["smtp.x.org"]\n'):
            for end in ("\n", "\r\n"):
                self.path.write_bytes(text.replace("\n", end).encode())
                relays = self.change(smtpport="2525", dedicatedsmtp="h.example,26,u,p").relay
                self.assertEqual({name: relay.default for name, relay in relays.items()},
                                 {"out": False, "dedicated": True})
                relays = self.change(usefromsmtp="1").relay
                self.assertTrue(relays["usefromsmtp"].default)
                written = self.path.read_bytes().decode()
                self.assertIn("# ours", written)
                self.assertEqual(written.count("\n") if end == "\r\n" else 0, written.count("\r\n"))

    def test_link(self) -> None:
        """A link to the file stays a link."""
        link = self.path.with_name("link.toml")
        link.symlink_to(self.path.name)
        change(link, {"smtpport": "42420"})
        self.assertTrue(link.is_symlink())
        self.assertIn("42420", self.path.read_text())
