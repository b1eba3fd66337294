"""The router: who may send where. The most important test of this file is that of the open relay."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailbridge.address import NULL, Address, parse_mailbox
from mailbridge.envelope import Origin
from mailbridge.interfaces import IRouter
from mailbridge.reply import BAD_ADDRESS, NO_RELAYING, NO_ROUTE, NO_SUCH_USER, NOT_NOW, REFUSED, Reply
from mailbridge.routing.route import Lanes, Resolution, Route, WayOut
from mailbridge.routing.rules import Rule
from mailbridge.routing.table import Table
from mailbridge.store.changes import People
from tests.routing.people import directory, origin, people

SENDER = parse_mailbox(b"x@elsewhere.example")
OFFICE = "relay:office"
STRANGER, LISTED, LOGGED_IN = origin(), origin(trusted=True), origin(user="bonnie")


def answer(table: Table, recipient: str, session: Origin = STRANGER, sender: Address = SENDER) -> Resolution:
    """What the table answers; twice, so that a remembered answer must be the same."""
    address = parse_mailbox(recipient.encode())
    first = table.route(address, sender, session)
    assert table.route(address, sender, session) == first
    assert table.explain(address, sender, session).answer == first
    return first


def maildrop(*numbers: int) -> Resolution:
    """Routes to these users."""
    return tuple(Route("maildrop", number) for number in numbers)


def table(*rules: Rule, users: str = "bonnie carl", aliases: dict[str, str] | None = None) -> Table:
    """A table of these rules and users, with one relay."""
    return Table(rules, directory(users, aliases), [OFFICE])


def rule(to: str, place: str = "route[0]", **conditions: object) -> Rule:
    """A rule."""
    return Rule.make(place, to, **conditions)  # type: ignore[arg-type]


class LocalTests(SynchronousTestCase):
    """Without any rule."""

    def test_interface(self) -> None:
        """The table is a router."""
        verifyObject(IRouter, table())

    def test_table(self) -> None:
        """Anyone may send to local users; nobody reaches anything else."""
        where = table(aliases={"all": "bonnie carl"})
        for recipient, stranger, trusted in [
            ("bonnie@example.org", maildrop(1), maildrop(1)),
            ("Bonnie+x@EXAMPLE.org", maildrop(1), maildrop(1)),
            ("all@example.org", maildrop(1, 2), maildrop(1, 2)),
            ("nobody@example.org", NO_SUCH_USER, NO_SUCH_USER),
            ("bonnie@elsewhere.example", NO_RELAYING, NO_ROUTE),
            ("bonnie@sub.example.org", NO_RELAYING, NO_ROUTE),
            ("bonnie", BAD_ADDRESS, maildrop(1)),
            ("nobody", BAD_ADDRESS, NO_SUCH_USER),
            ("postmaster", maildrop(1), maildrop(1)),
            ("PostMaster", maildrop(1), maildrop(1)),
            ("postmaster@example.org", maildrop(1), maildrop(1)),
            ("postmaster@[192.0.2.1]", maildrop(1), maildrop(1)),
            ("bonnie@[192.0.2.1]", NO_RELAYING, NO_ROUTE),
            ("postmaster@elsewhere.example", NO_RELAYING, NO_ROUTE),
            ("name@420@fax", BAD_ADDRESS, BAD_ADDRESS),
            ("bonnie@x@example.org", BAD_ADDRESS, BAD_ADDRESS),
            # tricks that once made relays of others (threats.md)
            ("victim%elsewhere.example@example.org", NO_SUCH_USER, NO_SUCH_USER),
            ("elsewhere.example!victim@example.org", NO_SUCH_USER, NO_SUCH_USER),
            ('"victim@elsewhere.example"@example.org', NO_SUCH_USER, NO_SUCH_USER),
            ("=?utf-8?q?victim=40elsewhere.example?=@example.org", NO_SUCH_USER, NO_SUCH_USER),
            ("victim＠elsewhere.example", BAD_ADDRESS, NO_SUCH_USER),
        ]:
            self.assertEqual(answer(where, recipient), stranger, recipient)
            self.assertEqual(answer(where, recipient, LISTED), trusted, recipient)
            self.assertEqual(answer(where, recipient, LOGGED_IN), trusted, recipient)

    def test_null_recipient(self) -> None:
        """`<>` is no recipient."""
        for session in (STRANGER, LISTED):
            self.assertIsInstance(table().route(NULL, SENDER, session), Reply)

    def test_no_users_yet(self) -> None:
        """Before the first user is added, postmaster's mail is asked to wait."""
        self.assertEqual(answer(table(users=""), "postmaster@example.org"), NOT_NOW)
        self.assertEqual(answer(table(users=""), "bonnie@example.org"), NO_SUCH_USER)

    def test_no_domains(self) -> None:
        """Without local domains postmaster still has his mail."""
        where = Table((), directory("bonnie", domains=()))
        self.assertEqual(answer(where, "postmaster"), maildrop(1))
        self.assertEqual(answer(where, "bonnie"), BAD_ADDRESS)
        self.assertEqual(answer(where, "bonnie", LISTED), maildrop(1))
        self.assertEqual(answer(where, "bonnie@example.org", LISTED), NO_ROUTE)

    def test_changes_are_seen(self) -> None:
        """A new user, a new domain and a new rule count from the next recipient on."""
        people_now = directory("bonnie")
        where = Table((), people_now, [OFFICE])
        self.assertEqual(answer(where, "dora@example.org"), NO_SUCH_USER)
        people_now.replace(people("bonnie carl dora"))
        self.assertEqual(answer(where, "dora@example.org"), maildrop(3))
        people_now.reconfigure(["other.example"])
        self.assertEqual(answer(where, "dora@example.org"), NO_RELAYING)
        self.assertEqual(answer(where, "dora@other.example"), maildrop(3))
        where.reconfigure([rule("refuse")])
        self.assertEqual(answer(where, "dora@other.example"), REFUSED)
        people_now.replace(People((), ()))
        where.reconfigure([])
        self.assertEqual(answer(where, "dora@other.example"), NO_SUCH_USER)

    def test_memory_is_bounded(self) -> None:
        """However many recipients are guessed, only so many answers are remembered."""
        where = table()
        for number in range(6000):
            where.route(Address(f"guess{number}", "example.org"), SENDER, STRANGER)
        self.assertLessEqual(len(where._answers), 4096)


class RuleOrderTests(SynchronousTestCase):
    """With rules."""

    def test_first_match_answers(self) -> None:
        """The first rule that matches answers, before any user does."""
        where = table(
            rule("refuse", "route[0]", sender=r".*@spam\.example", reply="550 5.7.1 No spam"),
            rule("maildrop:carl", "route[1]", recipient=r"bonnie@.*"),
            rule("maildrop:bonnie", "route[2]", recipient=r".*@example\.org"),
        )
        spam = parse_mailbox(b"a@SPAM.example")
        self.assertEqual(str(answer(where, "bonnie@example.org", sender=spam)), "550 5.7.1 No spam")
        self.assertEqual(answer(where, "bonnie@example.org"), maildrop(2))
        self.assertEqual(answer(where, "nobody@example.org"), maildrop(1))
        self.assertEqual(answer(where, "nobody@shop.example"), NO_SUCH_USER)

    def test_maildrop(self) -> None:
        """`maildrop` gives a foreign domain the users of this bridge, and leaves local domains their aliases."""
        where = table(rule("maildrop", recipient=r".*@(old\.example|shop\.example)"),
                      aliases={"bonnie@shop.example": "carl"})
        self.assertEqual(answer(where, "bonnie@old.example"), maildrop(1))
        self.assertEqual(answer(where, "bonnie+x@old.example"), maildrop(1))
        self.assertEqual(answer(where, "nobody@old.example"), NO_SUCH_USER)
        self.assertEqual(answer(where, "bonnie@shop.example"), maildrop(2))
        self.assertEqual(answer(where, "x@420@old.example"), NO_SUCH_USER)

    def test_owner_is_gone(self) -> None:
        """Mail for a rule whose user does not exist waits at the client: the fault is ours."""
        where = table(rule("maildrop:gone", recipient=r"fax@example\.org"))
        self.assertEqual(answer(where, "fax@example.org"), NOT_NOW)
        self.assertIn('there is no user "gone"', where.check()[0])
        self.assertEqual(table(rule("maildrop:bonnie")).check(), [])

    def test_double_at(self) -> None:
        """An address with two @ goes where a rule matches all of it."""
        where = table(rule("maildrop:carl", recipient=r"[^@]*@[+]?[0-9]+@fax"))
        self.assertEqual(answer(where, "name@+420@fax"), maildrop(2))
        self.assertEqual(answer(where, "name@x@fax"), BAD_ADDRESS)
        self.assertEqual(answer(table(rule("maildrop:carl")), "name@+420@fax"), BAD_ADDRESS)

    def test_session(self) -> None:
        """Rules see the user, the client and the listener; remembered answers do not mix sessions up."""
        where = table(
            rule("maildrop:carl", "route[0]", user="Bonnie"),
            rule("refuse", "route[1]", clients=["203.0.113.0/24"]),
            rule("maildrop:carl", "route[2]", listener="smtp[7]"),
        )
        for session, expected in [
            (LOGGED_IN, maildrop(2)), (STRANGER, maildrop(1)), (origin(user="carl"), maildrop(1)),
            (origin(user="BONNIE@example.org"), maildrop(2)), (origin(user="gone"), maildrop(1)),
            (origin(peer="203.0.113.9"), REFUSED), (origin(listener="smtp[7]"), maildrop(2)), (STRANGER, maildrop(1)),
        ]:
            self.assertEqual(answer(where, "bonnie@example.org", session), expected, session)

    def test_postmaster_is_deliverable(self) -> None:
        """No rule refuses postmaster's mail, except from clients it lists; a rule may lead it elsewhere."""
        for made, recipient, expected in [
            (rule("refuse"), "postmaster@example.org", maildrop(1)),
            (rule("refuse", recipient=".*"), "postmaster", maildrop(1)),
            (rule("refuse", sender=".*"), "postmaster@[192.0.2.1]", maildrop(1)),
            (rule(OFFICE), "postmaster@example.org", maildrop(1)),
            (rule("maildrop:gone"), "postmaster@example.org", maildrop(1)),
            (rule("maildrop:carl"), "postmaster@example.org", maildrop(2)),
            (rule("maildrop:carl", recipient=r"postmaster@example\.org"), "postmaster", maildrop(2)),
            (rule("refuse", clients=["192.0.2.7"]), "postmaster@example.org", REFUSED),
            (rule("refuse"), "postmaster@elsewhere.example", REFUSED),
            (rule("refuse"), "bonnie@example.org", REFUSED),
        ]:
            self.assertEqual(answer(table(made), recipient), expected, (made.to, recipient))

    def test_completed_name(self) -> None:
        """A name without a domain, from a trusted client, meets the rules with the first local domain."""
        where = table(rule("maildrop:carl", recipient=r"fax@example\.org"))
        self.assertEqual(answer(where, "fax", LISTED), maildrop(2))
        self.assertEqual(answer(where, "fax", STRANGER), BAD_ADDRESS)


class OpenRelayTests(SynchronousTestCase):
    """Invariant 5: not an open relay, whatever the rules."""

    def test_needs_trust(self) -> None:
        """A way out is open to listed clients and logins, and closed to strangers."""
        where = table(rule(OFFICE))
        self.assertEqual(answer(where, "a@b.example", LISTED), (Route(OFFICE),))
        self.assertEqual(answer(where, "a@b.example", LOGGED_IN), (Route(OFFICE),))
        self.assertEqual(answer(where, "a@b.example"), NO_RELAYING)

    def test_rule_for_strangers(self) -> None:
        """`anyone` opens the domains it names, and only these."""
        where = table(rule(OFFICE, recipient=r".*@(a\.org|b\.org)", anyone=True))
        self.assertEqual(answer(where, "x@a.org"), (Route(OFFICE),))
        self.assertEqual(answer(where, "x@B.ORG"), (Route(OFFICE),))
        self.assertEqual(answer(where, "x@c.org"), NO_RELAYING)
        wide = table(rule(OFFICE, recipient=r".*|x@a\.org", anyone=True))
        self.assertEqual(answer(wide, "x@a.org"), (Route(OFFICE),))
        self.assertEqual(answer(wide, "x@c.org"), NO_RELAYING)

    def test_a_matching_session_is_no_trust(self) -> None:
        """Neither a sender's address nor a client list of a rule makes a stranger trusted."""
        for made in (rule(OFFICE, sender=".*"), rule(OFFICE, clients=["192.0.2.7"]), rule(OFFICE, listener="smtp[0]")):
            self.assertEqual(answer(table(made), "a@b.example"), NO_RELAYING)

    def test_unknown_target(self) -> None:
        """A rule for a target that does not exist cannot be loaded, so it can never be answered."""
        for to in ("relay:home", "oce", "relay", "application:x", ""):
            error = self.assertRaises(ValueError, Table, [rule(to)], directory("bonnie"), [OFFICE])
            self.assertIn(f"route[0].to: there is no target {to}", str(error))
        where = table()
        self.assertRaises(ValueError, where.reconfigure, [rule(OFFICE)], [])
        self.assertEqual(answer(where, "bonnie@example.org"), maildrop(1))

    patterns = st.sampled_from([None, ".*", r".*@a\.org", r".*@(a\.org|b\.org)", r".*|x@a\.org", r"bonnie@.*",
                                r".*@example\.org", r".*@fax", "postmaster.*"])
    rules = st.builds(
        dict, to=st.sampled_from([OFFICE, OFFICE, "maildrop", "maildrop:carl", "maildrop:gone", "refuse"]),
        recipient=patterns, sender=st.sampled_from([None, ".*", "", r".*@example\.org"]),
        user=st.sampled_from([None, None, "bonnie"]),
        clients=st.sampled_from([(), (), ("192.0.2.0/24",), ("0.0.0.0/0",)]),
        listener=st.sampled_from([None, None, "smtp[0]"]), anyone=st.booleans(),
    )
    recipients = st.sampled_from([
        "x@a.org", "x@A.ORG.", "x@b.org", "x@c.org", "bonnie@example.org", "bonnie", "postmaster", "bonnie@c.org",
        "postmaster@[192.0.2.1]", "n@420@fax", "n@420@a.org", "x@a.org.evil.example", '"x@a.org"@c.org',
        "x%a.org@c.org",
    ])

    ways = st.lists(st.builds(WayOut, st.sampled_from([OFFICE, "relay:mx"]), st.sampled_from(Lanes), st.booleans()),
                    max_size=2, unique_by=(lambda way: way.target, lambda way: way.default))

    @given(st.lists(rules, max_size=6), recipients, st.sampled_from(["", "x@elsewhere.example", "bonnie@example.org"]),
           ways)
    def test_any_rules(
        self, described: list[dict[str, object]], recipient: str, sender: str, ways: list[WayOut]
    ) -> None:
        """In any order of any rules that load, a stranger's mail leaves only by `anyone` and a domain it writes out."""
        made = []
        for number, conditions in enumerate(described):
            try:
                made.append(Rule.make(f"route[{number}]", **conditions))  # type: ignore[arg-type]
            except ValueError:
                continue
        where = Table(made, directory("bonnie carl"), [OFFICE], ways)
        from_whom = parse_mailbox(sender.encode()) if sender else NULL
        found = answer(where, recipient, STRANGER, from_whom)
        if isinstance(found, Reply):
            self.assertFalse(found.is_positive)
            return
        domain = parse_mailbox(recipient.encode()).domain.lower()
        if not domain or domain.startswith("["):  # postmaster of this host: completed
            domain = "example.org"
        for route in found:
            if route.target == "maildrop":
                self.assertIn(route.user, (1, 2))
            else:
                self.assertEqual(route.target, OFFICE)
                self.assertIn(domain, set().union(*(one.anyone for one in made)))
                self.assertIn(domain, ("a.org", "b.org", "fax", "example.org"))


class DefaultRelayTests(SynchronousTestCase):
    """Step 5: mail for domains that are nobody's here."""

    def test_takes_what_is_not_local(self) -> None:
        """Listed clients and logins reach the rest of the world by the default relay; strangers never do."""
        where = Table((), directory("bonnie"), (), [WayOut(OFFICE, default=True), WayOut("relay:other")])
        for recipient, stranger, trusted in [
            ("a@b.example", NO_RELAYING, (Route(OFFICE),)),
            ("a@[192.0.2.9]", NO_RELAYING, (Route(OFFICE),)),
            ("bonnie@example.org", maildrop(1), maildrop(1)),
            ("nobody@example.org", NO_SUCH_USER, NO_SUCH_USER),
            ("nobody", BAD_ADDRESS, NO_SUCH_USER),
            ("postmaster@[192.0.2.9]", maildrop(1), maildrop(1)),
            ("postmaster@b.example", NO_RELAYING, (Route(OFFICE),)),
            ("name@420@fax", BAD_ADDRESS, BAD_ADDRESS),
        ]:
            self.assertEqual(answer(where, recipient), stranger, recipient)
            self.assertEqual(answer(where, recipient, LISTED), trusted, recipient)
            self.assertEqual(answer(where, recipient, LOGGED_IN), trusted, recipient)

    def test_lanes(self) -> None:
        """Direct delivery has a lane for each domain, in one spelling; a smart host has one for all."""
        for lanes, recipient, sender, destination in [
            (Lanes.ONE, "a@B.example", "x@elsewhere.example", ""),
            (Lanes.RECIPIENT, "a@B.example", "x@elsewhere.example", "b.example"),
            (Lanes.RECIPIENT, "a@xn--bcher-kva.example", "x@elsewhere.example", "bücher.example"),
            (Lanes.RECIPIENT, "a@[192.0.2.9]", "x@elsewhere.example", "[192.0.2.9]"),
            (Lanes.SENDER, "a@b.example", "x@Elsewhere.example", "elsewhere.example"),
            (Lanes.SENDER, "a@b.example", "", "b.example"),
        ]:
            from_whom = parse_mailbox(sender.encode()) if sender else NULL
            for where in (
                Table((), directory("bonnie"), (), [WayOut(OFFICE, lanes, True)]),
                Table([rule(OFFICE)], directory("bonnie"), (), [WayOut(OFFICE, lanes)]),
            ):
                expected = (Route(OFFICE, destination=destination),)
                self.assertEqual(answer(where, recipient, LISTED, from_whom), expected, (lanes, recipient))

    def test_senders_are_not_mixed_up(self) -> None:
        """A remembered answer for one sender is not given for another, where the sender chooses the server."""
        where = Table((), directory("bonnie"), (), [WayOut(OFFICE, Lanes.SENDER, True)])
        for domain in ("one.example", "two.example", "one.example"):
            found = answer(where, "a@b.example", LISTED, Address("x", domain))
            self.assertEqual(found, (Route(OFFICE, destination=domain),))

    def test_rules_come_first(self) -> None:
        """A rule leads mail past the default relay, to another one."""
        where = Table([rule("relay:mx", recipient=r".*@direct\.example")], directory("bonnie"), (),
                      [WayOut(OFFICE, default=True), WayOut("relay:mx", Lanes.RECIPIENT)])
        self.assertEqual(answer(where, "a@direct.example", LISTED), (Route("relay:mx", destination="direct.example"),))
        self.assertEqual(answer(where, "a@b.example", LISTED), (Route(OFFICE),))

    def test_no_default(self) -> None:
        """With relays but no default one, other mail goes nowhere."""
        where = Table((), directory("bonnie"), (), [WayOut(OFFICE), WayOut("relay:mx")])
        self.assertEqual(answer(where, "a@b.example", LISTED), NO_ROUTE)
        self.assertEqual(answer(where, "a@b.example"), NO_RELAYING)

    def test_two_defaults(self) -> None:
        """Two default relays cannot be loaded."""
        ways = [WayOut(OFFICE, default=True), WayOut("relay:mx", default=True)]
        self.assertRaises(ValueError, Table, (), directory("bonnie"), (), ways)

    def test_reconfigured(self) -> None:
        """A relay that comes or goes with a reload counts from the next recipient on."""
        where = Table((), directory("bonnie"))
        self.assertEqual(answer(where, "a@b.example", LISTED), NO_ROUTE)
        where.reconfigure((), (), [WayOut(OFFICE, default=True)])
        self.assertEqual(answer(where, "a@b.example", LISTED), (Route(OFFICE),))
        where.reconfigure(())
        self.assertEqual(answer(where, "a@b.example", LISTED), NO_ROUTE)
