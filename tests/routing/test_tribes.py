"""Mail for members of tribes: where it goes, and who may send it."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL, Address, parse_mailbox
from mailbridge.envelope import Origin
from mailbridge.reply import NO_RELAYING, NO_SUCH_TRIBE, NO_SUCH_USER, Reply
from mailbridge.routing.directory import Directory
from mailbridge.routing.route import MAILDROP, OCE, Lanes, Route, WayOut
from mailbridge.routing.rules import Rule
from mailbridge.routing.table import Table
from mailbridge.routing.tribes import OCEWay
from mailbridge.store.changes import Credentials, People, User

STRANGER = Origin("smtp[0]", "192.0.2.1", "x", None, None, 0.0, "ESMTP")
BONNIE = evolve(STRANGER, user="bonnie", trusted=True)
WAY = OCEWay({"friends": "friends", "bbbb": "friends"}, frozenset({"home", "aaaa"}), embedded=True)
SENDER = Address("bonnie", "oce")


def directory(member_domain: str = "oce") -> Directory:
    """Two users of example.org."""
    found = Directory(("example.org",), member_domain=member_domain)
    found.replace(People((User(1, "bonnie", Credentials("", "")), User(2, "harold", Credentials("", ""))), ()))
    return found


def table(way: OCEWay | None = WAY, *rules: Rule) -> Table:
    """A router with a default relay and an OCE."""
    return Table(rules, directory(), (), (WayOut("relay:office", Lanes.ONE, True),), (), way)


class TribeTests(SynchronousTestCase):
    """`OCEWay` in a `Table`."""

    def answer(self, text: str, origin: Origin = BONNIE, way: OCEWay | None = WAY) -> object:
        """What the router says of a recipient."""
        answer = table(way).route(parse_mailbox(text.encode()), SENDER, origin)
        return answer if isinstance(answer, Reply) else answer[0]

    def test_ways(self) -> None:
        """Members of our tribe and of known tribes are reached through the OCE, by name or by key, in any case."""
        for text, answer in (
            ("harold@oce", Route(OCE)), ("Harold@OCE", Route(OCE)), ("harold@home.oce", Route(OCE)),
            ("harold@AAAA.oce", Route(OCE)), ("edgar@friends.oce", Route(OCE, destination="friends")),
            ("edgar@Friends.OCE", Route(OCE, destination="friends")), ("e@BBBB.oce", Route(OCE, destination="friends")),
            ("edgar@nobody.oce", NO_SUCH_TRIBE), ("edgar@a.friends.oce", NO_SUCH_TRIBE), ("nobody@oce", NO_SUCH_USER),
            ("harold@oce.example.org", Route("relay:office")), ("harold@example.org", Route(MAILDROP, 2)),
        ):
            self.assertEqual(self.answer(text), answer, text)

    def test_strangers(self) -> None:
        """The OCE is a way out: strangers do not get there, whatever they write as FROM (invariant 5)."""
        for text in ("harold@oce", "edgar@friends.oce", "nobody@oce", "x@nobody.oce"):
            self.assertEqual(self.answer(text, STRANGER), NO_RELAYING, text)

    def test_without_an_oce(self) -> None:
        """Without an OCE such addresses are like all others."""
        self.assertEqual(self.answer("harold@oce", way=None), Route("relay:office"))

    def test_remote_oce(self) -> None:
        """Only a remote OCE knows its members, so any name goes there."""
        self.assertEqual(self.answer("nobody@oce", way=evolve(WAY, embedded=False)), Route(OCE))

    def test_rules(self) -> None:
        """A rule may lead mail for other addresses to the OCE."""
        rule = Rule.make("route[0]", "oce", recipient=r".*@tribe\.example\.org")
        answer = table(WAY, rule).route(Address("harold", "tribe.example.org"), SENDER, BONNIE)
        self.assertEqual(answer, (Route(OCE),))
        self.assertRaises(ValueError, table, None, rule)

    def test_explained(self) -> None:
        """The explanation names the tribe, or those that are known."""
        lines = table().explain(Address("x", "nobody.oce"), SENDER, BONNIE).lines()
        self.assertIn("known: friends", lines[-2])


class MemberTests(SynchronousTestCase):
    """A user as a member: one account for all."""

    def test_login(self) -> None:
        """A member logs in as name@oce, and as before."""
        for text in ("bonnie@oce", "Bonnie@OCE", "bonnie", "bonnie@example.org"):
            self.assertIsNotNone(directory().login(text), text)
        self.assertIsNone(directory("").login("bonnie@oce"))
        self.assertIsNone(directory().login("bonnie@friends.oce"))

    def test_sends_as_himself(self) -> None:
        """A member sends as name@oce, and as no other member."""
        people = directory()
        user = people.user("bonnie")
        assert user is not None
        for address, may in ((Address("bonnie", "oce"), True), (Address("harold", "oce"), False), (NULL, True),
                             (Address("bonnie", "friends.oce"), False)):
            self.assertEqual(people.owns(user, address), may, address)

    def test_mail_is_not_local(self) -> None:
        """Mail for name@oce goes through the OCE, not straight into the maildrop."""
        self.assertIsNone(directory().find(Address("bonnie", "oce")))
