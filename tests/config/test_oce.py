"""`[oce]` and its tribes: what loads, and what is wrong in words."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.load import load_text
from mailbridge.config.model import Config, TribeSettings
from mailbridge.errors import ConfigError

EMBEDDED = """hostname = "a.example"
[oce]
embedded = true
name = "home"
groups = { family = ["bonnie"] }
[oce.tribes.friends]
key = "4B6B66383323172736B726B"
url = "https://friends.example.org:1895/"
secret = "hush"
"""
REMOTE = """hostname = "a.example"
[oce]
url = "http://127.0.0.1:1895/"
member = "Harold"
[oce.tribes.friends]
key = "4B6B66383323172736B726B"
"""


def read(text: str, public: bool = False) -> Config:
    """The configuration in `text`."""
    return load_text(text, "mailbridge.toml", Path("/nowhere"), public=public)


class OCETests(SynchronousTestCase):
    """The tables and their faults."""

    def fault(self, text: str, public: bool = False) -> str:
        """What is wrong."""
        return str(self.assertRaises(ConfigError, read, text, public))

    def test_embedded(self) -> None:
        """An OCE of our own, with a tribe that it knows by a secret."""
        oce = read(EMBEDDED).oce
        assert oce is not None
        self.assertEqual((oce.embedded, oce.name, oce.groups), (True, "home", {"family": ("bonnie",)}))
        self.assertEqual(oce.tribes["friends"], TribeSettings(
            "4B6B66383323172736B726B", "https://friends.example.org:1895/", "hush"))
        self.assertNotIn("hush", repr(oce))

    def test_remote(self) -> None:
        """Another OCE needs its URL, and of a tribe only the key."""
        oce = read(REMOTE).oce
        assert oce is not None
        self.assertEqual((oce.url, oce.member, oce.interval, oce.app_id),
                         ("http://127.0.0.1:1895/", "Harold", 300.0, "SMTP:mailbridge"))

    def test_none(self) -> None:
        """Without the table there is no OCE, and no route leads to one."""
        self.assertIsNone(read('hostname = "a.example"').oce)
        rule = '[[route]]\nto = "oce"\n'
        self.assertIn('"oce" is no target', self.fault('hostname = "a.example"\n' + rule))
        self.assertEqual(read(EMBEDDED + rule).route[0].to, "oce")

    def test_faults(self) -> None:
        """Each fault names its place and the remedy."""
        for old, new, words in (
            ("embedded = true", "", "oce.url: is missing"),
            ("embedded = true", 'embedded = true\nurl = "https://x/"', "leave it out with embedded = true"),
            ('secret = "hush"\n', "", "oce.tribes.friends.secret: is missing"),
            ("https://friends", "http://friends", "oce.tribes.friends.url: sends mail in clear text"),
            ("https://friends", "ftp://friends", "oce.tribes.friends.url: must look like"),
            ("https://friends.example.org:1895/", "https://u:p@friends/", "takes no login"),
            ('name = "home"', 'name = "Friends"', "oce.tribes.friends: has the name of our own tribe"),
            ('name = "home"', 'name = "a.b"', "oce.name: must be the name of a tribe"),
            ('name = "home"', "tls = true", "oce.tls: needs [tls]"),
            ('name = "home"', 'dialect = "os"', "oce.dialect: must be one of osa, fautore"),
            ('name = "home"', "intervall = 3", 'unknown key; did you mean "interval"?'),
            ('["bonnie"]', '["bon\\nnie"]', "oce.groups: must be the name of a member"),
            ("[oce.tribes.friends]", "[oce.tribes.'a b']", "must be the name of a tribe"),
            ("4B6B66383323172736B726B", "a-b", "oce.tribes.friends.key: must be the key"),
            ("hostname", '[[smtp]]\nlisten = "tcp:1895"\n[x]\nhostname', "takes the same port 1895"),
        ):
            text = EMBEDDED.replace(old, new) if old != "hostname" else EMBEDDED + '[[smtp]]\nlisten = "tcp:1895"\n'
            self.assertIn(words, self.fault(text), new)

    def test_same_key_twice(self) -> None:
        """Two tribes cannot have one key."""
        more = EMBEDDED + EMBEDDED[EMBEDDED.index("[oce.tribes"):].replace("tribes.friends", "tribes.others")
        self.assertIn("oce.tribes.others.key: is that of the tribe friends too", self.fault(more))

    def test_cleartext(self) -> None:
        """Clear text to another host is taken only when it is allowed by name."""
        remote = REMOTE.replace("127.0.0.1", "192.0.2.1")
        self.assertIn("oce.url: sends mail in clear text", self.fault(remote))
        self.assertIsNotNone(read(remote.replace("[oce]", "[oce]\nallow_cleartext = true")).oce)

    def test_secrets_in_a_public_file(self) -> None:
        """A secret of a tribe, or the password, in a file that everybody may read is refused."""
        self.assertIn("oce.tribes.friends.secret: everybody may read this file", self.fault(EMBEDDED, public=True))
        self.assertIn("oce.password", self.fault(REMOTE.replace("[oce]", '[oce]\npassword = "x"'), public=True))

    def test_parts_of_a_remote_oce(self) -> None:
        """What only an embedded OCE needs of a tribe is refused beside another OCE, so that nobody trusts in it."""
        self.assertIn("oce.tribes.friends.secret: is for an embedded OCE", self.fault(REMOTE + 'secret = "x"\n'))
