"""What the rooms of the OCE are told by a configuration."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.internet.testing import MemoryReactorClock
from twisted.python.usage import UsageError
from twisted.trial.unittest import SynchronousTestCase

from mailbridge import ocetap
from mailbridge.config import tribal
from mailbridge.config.load import load_text
from mailbridge.config.model import Config
from mailbridge.errors import StartError

EMBEDDED = """hostname = "a.example"
state = "state"
[users]
domains = ["a.example"]
[oce]
embedded = true
name = "home"
key = "AAAA0000AAAA0000"
member = "harold"
registrars = ["harold"]
groups = { family = ["bonnie"] }
[oce.tribes.Friends]
key = "BBBB1111BBBB1111"
url = "https://friends.example.org:1895/"
secret = "hush"
"""
REMOTE = """hostname = "a.example"
[[smtp]]
listen = "tcp:2525"
[oce]
url = "%s"
member = "Harold"
"""


def read(text: str) -> Config:
    """The configuration in `text`."""
    return load_text(text, "mailbridge.toml", Path("/nowhere"))


class TribalTests(SynchronousTestCase):
    """Values made of `[oce]`."""

    def test_way(self) -> None:
        """A tribe has one lane, by its name and by its key; our own name and key are our own tribe."""
        oce = read(EMBEDDED).oce
        assert oce is not None
        way = tribal.way(oce, "")
        self.assertEqual(way.tribes, {"friends": "friends", "bbbb1111bbbb1111": "friends"})
        self.assertEqual((way.own, way.embedded), (frozenset({"home", "aaaa0000aaaa0000"}), True))

    def test_identity(self) -> None:
        """A member registers the bridge elsewhere; to its own OCE it is itself, and no user can have that name."""
        config = read(EMBEDDED)
        assert config.oce is not None
        self.assertEqual(tribal.identity(config.oce, "a.example").member, "mailbridge@a.example")
        for url, interval in (("http://127.0.0.1:1895/", 0.0), ("https://oce.example.org/", tribal.POLITE_SECONDS)):
            oce = read(REMOTE % url).oce
            assert oce is not None
            identity = tribal.identity(oce, "a.example")
            self.assertEqual((identity.member, identity.interval), ("Harold", interval))

    def test_places(self) -> None:
        """Where other tribes are; an authority that cannot be read is no start."""
        oce = read(EMBEDDED).oce
        assert oce is not None
        self.assertEqual(tribal.places(oce)["Friends"].url, "https://friends.example.org:1895/")
        self.assertEqual(tribal.peerings(oce, MemoryReactorClock())["Friends"].secret, b"hush")
        bad = evolve(oce, tribes={"friends": evolve(oce.tribes["Friends"], ca=Path(self.mktemp()))})
        with self.assertRaises(StartError) as raised:
            tribal.places(bad)
        self.assertIn("oce.tribes.friends", str(raised.exception))

    def test_smtp_port(self) -> None:
        """The OCE is told the port of the first listener that has one."""
        self.assertEqual(tribal.smtp_port(read(REMOTE % "http://127.0.0.1/")), 2525)
        self.assertEqual(tribal.smtp_port(read(EMBEDDED)), 0)

    def test_member_domain(self) -> None:
        """Users log in as name@oce where there is an OCE, and not where there is none."""
        self.assertEqual(tribal.member_domain(read(EMBEDDED)), "oce")
        self.assertEqual(tribal.member_domain(read('hostname = "a.example"\n')), "")


class PlanTests(SynchronousTestCase):
    """`twist mailbridge-oce`."""

    def test_plan(self) -> None:
        """The OCE alone is what the same table says of an embedded one."""
        plan = ocetap.plan(read(EMBEDDED))
        (tribe,) = plan.oce.tribes
        assert tribe.place is not None
        self.assertEqual((tribe.tribe.name, tribe.place.url), ("Friends", "https://friends.example.org:1895/"))
        self.assertEqual((plan.oce.key, plan.oce.settings.member, plan.oce.tls, plan.domains),
                         ("AAAA0000AAAA0000", "harold", None, ("a.example",)))
        self.assertNotIn("hush", repr(plan))

    def test_no_embedded_oce(self) -> None:
        """A file without an OCE of our own is refused with the key to set."""
        for text in ('hostname = "a.example"\n', REMOTE % "http://127.0.0.1/"):
            path = Path(self.mktemp())
            path.write_text(text)
            options = ocetap.Options()
            with self.assertRaises(UsageError) as raised:
                options.parseOptions(["--config", str(path)])
            self.assertIn("oce.embedded", str(raised.exception))
