"""Applications among the router's steps: their place in the order, what they refuse, and invariant 5."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL, parse_mailbox
from mailbridge.application.claim import Claim
from mailbridge.envelope import Origin
from mailbridge.reply import (
    BAD_ADDRESS,
    CLIENT_NOT_YET,
    NO_ANONYMOUS,
    NO_NUMBER,
    NO_RELAYING,
    NO_ROUTE,
    NO_SUCH_USER,
    NOT_YOUR_APPLICATION,
    NUMBER_REFUSED,
    REFUSED,
    SENDER_REFUSED,
    Reply,
)
from mailbridge.routing.route import Resolution, Route, WayOut
from mailbridge.routing.rules import Rule
from mailbridge.routing.table import Table
from tests.routing.people import directory, origin
from tests.routing.test_table import LISTED, LOGGED_IN, OFFICE, SENDER, STRANGER, answer, maildrop, rule

SMS = (r"(?P<number>\+?\d+)@sms", r"(?P<name>[^/@]+)@(?P<number>\+?\d+)[.@]sms")
TO_SMS, TO_OTHER = (Route("application:sms"),), (Route("application:other"),)
RELAY = [WayOut(OFFICE, default=True)]


def claim(name: str = "sms", *addresses: str, **settings: object) -> Claim:
    """A claim, of the SMS forms unless others are given."""
    return Claim.make(name, addresses or SMS, **settings)  # type: ignore[arg-type]


def table(*claims: Claim, rules: Iterable[Rule] = (), aliases: dict[str, str] | None = None) -> Table:
    """A table with a default relay, to which everything goes that nobody takes."""
    return Table(rules, directory("bonnie carl", aliases), (), RELAY, claims)


class OrderTests(SynchronousTestCase):
    """After the rules; before users and the default relay."""

    def test_claimed(self) -> None:
        """Who is entitled reaches the application, in every form of address; strangers are told to log in."""
        where = table(claim())
        for recipient in ("1@sms", "+420603280030@SMS", "a@1.sms", "a@1@sms", '"a b@1"@sms', '"a b"@1.sms'):
            self.assertEqual(answer(where, recipient, LISTED), TO_SMS, recipient)
            self.assertEqual(answer(where, recipient, LOGGED_IN), TO_SMS, recipient)
            self.assertEqual(answer(where, recipient), NOT_YOUR_APPLICATION, recipient)
        for recipient, stranger, trusted in [
            ("x@sms", NO_RELAYING, (Route(OFFICE),)), ("a@b@sms", BAD_ADDRESS, BAD_ADDRESS),
            ("bonnie@example.org", maildrop(1), maildrop(1)), ("x@example.org", NO_SUCH_USER, NO_SUCH_USER),
        ]:
            self.assertEqual(answer(where, recipient), stranger, recipient)
            self.assertEqual(answer(where, recipient, LISTED), trusted, recipient)

    def test_rules_come_first(self) -> None:
        """A rule takes a recipient away from an application."""
        where = table(claim(), rules=[rule("refuse", recipient=r"900\d*@sms"),
                                      rule("maildrop:carl", "route[1]", recipient=r"1@sms")])
        for recipient, expected in [("9001@sms", REFUSED), ("1@sms", maildrop(2)), ("2@sms", TO_SMS)]:
            self.assertEqual(answer(where, recipient, LISTED), expected, recipient)

    def test_users_come_later(self) -> None:
        """An application takes the address of a user from those who are entitled to it; nobody else loses the user."""
        where = table(claim("sms", r"(?P<name>.*)@example\.org", needs_number=False), aliases={"all": "bonnie carl"})
        for recipient, stranger in [("bonnie@example.org", maildrop(1)), ("all@example.org", maildrop(1, 2)),
                                    ("bonnie+x@example.org", maildrop(1)), ("x@example.org", NOT_YOUR_APPLICATION)]:
            self.assertEqual(answer(where, recipient, LISTED), TO_SMS, recipient)
            self.assertEqual(answer(where, recipient), stranger, recipient)
            self.assertEqual(answer(where, recipient, LISTED, NULL), stranger if stranger != NOT_YOUR_APPLICATION
                             else NO_ANONYMOUS, recipient)

    def test_catch_all(self) -> None:
        """What an application refuses is not gathered by a catch-all, where nobody would look for it."""
        where = table(claim("sms", r"(?P<number>\d+)@example\.org"), aliases={"@example.org": "carl"})
        self.assertEqual(answer(where, "12@example.org"), NOT_YOUR_APPLICATION)
        self.assertEqual(answer(where, "x@example.org"), maildrop(2))

    def test_postmaster(self) -> None:
        """No pattern takes postmaster's mail; a rule can, but its refusals are passed over."""
        broad = claim("sms", r"(?P<name>.*)@.*|postmaster", needs_number=False)
        for recipient in ("postmaster@example.org", "postmaster", "PostMaster@[192.0.2.1]"):
            for session in (STRANGER, LISTED, LOGGED_IN):
                self.assertEqual(answer(table(broad), recipient, session), maildrop(1), recipient)
        where = table(claim(), rules=[rule("application:sms", recipient=".*")])
        self.assertEqual(answer(where, "postmaster@example.org", LISTED), maildrop(1))
        where = table(broad, rules=[rule("application:sms", recipient="postmaster.*")])
        self.assertEqual(answer(where, "postmaster@example.org", LISTED), TO_SMS)
        self.assertEqual(answer(where, "postmaster@example.org"), maildrop(1))

    def test_bare_names(self) -> None:
        """A stranger's name without a domain is no address, even where a pattern would take it."""
        where = table(claim("sms", r"(?P<number>\d+)(@example\.org)?"))
        self.assertEqual(answer(where, "12"), BAD_ADDRESS)
        self.assertEqual(answer(where, "12", LISTED), TO_SMS)
        broad = table(claim("sms", ".*", needs_number=False))
        self.assertEqual(answer(broad, "bonnie"), BAD_ADDRESS)

    def test_follows_changes(self) -> None:
        """A new configuration, and a new address of a host, count from the next recipient on."""
        where = table(claim(clients=["cxhlpsrv"]))
        for hosts, expected in [(None, CLIENT_NOT_YET), (frozenset({"192.0.2.7"}), TO_SMS),
                                (frozenset({"192.0.2.8"}), NOT_YOUR_APPLICATION), (frozenset({STRANGER.peer}), TO_SMS)]:
            if hosts is not None:
                where.follow_hosts({"cxhlpsrv": hosts})
            self.assertEqual(answer(where, "1@sms"), expected, hosts)
        where.reconfigure((), (), RELAY, [claim(clients=["cxhlpsrv"]), claim("other")])
        self.assertEqual(answer(where, "1@sms"), TO_SMS)
        where.reconfigure((), (), RELAY)
        self.assertEqual(answer(where, "1@sms", LISTED), (Route(OFFICE),))

    def test_sessions_are_kept_apart(self) -> None:
        """Remembered answers depend on client, login and sender."""
        where = table(claim(clients=["203.0.113.0/24"], from_disabled=[".*@gsm"]))
        gsm = parse_mailbox(b"1@gsm")
        for _ in range(2):
            for session, sender, expected in [
                (STRANGER, SENDER, NOT_YOUR_APPLICATION), (origin(peer="203.0.113.9"), SENDER, TO_SMS),
                (origin(peer="203.0.113.9"), gsm, SENDER_REFUSED), (LISTED, SENDER, NOT_YOUR_APPLICATION),
                (LOGGED_IN, SENDER, TO_SMS), (LOGGED_IN, gsm, SENDER_REFUSED), (LOGGED_IN, NULL, NO_ANONYMOUS),
            ]:
                self.assertEqual(answer(where, "1@sms", session, sender), expected, (session, sender))


class RefusalTests(SynchronousTestCase):
    """What an application refuses never leaves the bridge."""

    def test_not_forwarded(self) -> None:
        """Mail of prohibited senders, and to numbers that are not allowed, is not passed to the default relay."""
        where = table(claim(from_disabled=[".*@gsm"], allowed_numbers=r"\d{3}"))
        for recipient, sender, expected in [
            ("101@sms", "1@gsm", SENDER_REFUSED), ("101@sms", "", NO_ANONYMOUS),
            ("1@sms", "a@b.example", NUMBER_REFUSED),
            ("101@sms", "a@b.example", TO_SMS), ("a@101@sms", "1@gsm", SENDER_REFUSED),
            ("x@elsewhere.example", "1@gsm", (Route(OFFICE),)),
        ]:
            for session in (LISTED, LOGGED_IN):
                from_whom = parse_mailbox(sender.encode()) if sender else NULL
                self.assertEqual(answer(where, recipient, session, from_whom), expected, (recipient, sender))

    def test_another_application(self) -> None:
        """An application later in the order may still take it; the first one that takes it has it."""
        gsm = parse_mailbox(b"1@gsm")
        where = table(claim(from_disabled=[".*@gsm"]), claim("other", clients=["203.0.113.9"]))
        for session, sender, expected in [
            (LISTED, SENDER, TO_SMS), (LISTED, gsm, SENDER_REFUSED), (origin(peer="203.0.113.9"), gsm, TO_OTHER),
            (STRANGER, SENDER, NOT_YOUR_APPLICATION), (LOGGED_IN, gsm, TO_OTHER),
        ]:
            self.assertEqual(answer(where, "1@sms", session, sender), expected, (session.peer, sender.text))

    def test_transient_refusal(self) -> None:
        """While one application does not know its clients yet, the client is asked to try again."""
        where = table(claim(), claim("other", clients=["host.example"]))
        self.assertEqual(answer(where, "1@sms"), CLIENT_NOT_YET)


class RuleTests(SynchronousTestCase):
    """`to = "application:sms"`."""

    def test_by_rule(self) -> None:
        """A rule leads any address to an application, which keeps its conditions; the number is in the address."""
        where = table(claim(from_disabled=[".*@gsm"]), rules=[rule("application:sms", recipient=r".*@pager\.example")])
        for recipient, session, sender, expected in [
            ("101@pager.example", LISTED, SENDER, TO_SMS), ("+420101@pager.example", LOGGED_IN, SENDER, TO_SMS),
            ("bonnie@pager.example", LISTED, SENDER, NO_NUMBER), ("101@pager.example", STRANGER, SENDER,
                                                                   NOT_YOUR_APPLICATION),
            ("101@pager.example", LISTED, parse_mailbox(b"1@gsm"), SENDER_REFUSED),
        ]:
            self.assertEqual(answer(where, recipient, session, sender), expected, (recipient, session, sender))

    def test_anyone(self) -> None:
        """`anyone` opens an application to strangers for the domains it writes out, and no others."""
        where = table(claim(clients=["203.0.113.9"]),
                      rules=[rule("application:sms", recipient=r".*@(a\.org|sms)", anyone=True)])
        self.assertEqual(answer(where, "101@a.org"), TO_SMS)
        self.assertEqual(answer(where, "101@sms"), TO_SMS)
        self.assertEqual(answer(where, "a@101.sms"), NOT_YOUR_APPLICATION)
        wide = table(claim(), rules=[rule("application:sms", recipient=r".*|x@a\.org", anyone=True)])
        self.assertEqual(answer(wide, "101@a.org"), TO_SMS)
        self.assertEqual(answer(wide, "101@b.org"), NOT_YOUR_APPLICATION)

    def test_unknown(self) -> None:
        """A rule for an application that does not exist cannot be loaded."""
        error = self.assertRaises(ValueError, table, claim(), rules=[rule("application:fax")])
        self.assertIn("route[0].to: there is no target application:fax", str(error))


class ExplainTests(SynchronousTestCase):
    """What `mailbridge route` shows of applications."""

    def _lines(self, where: Table, recipient: str, session: Origin = LISTED, sender: bytes = b"1@gsm") -> list[str]:
        return where.explain(parse_mailbox(recipient.encode()), parse_mailbox(sender), session).lines()

    def test_steps(self) -> None:
        """Each application says why it does not take the recipient, and the one that does what it reads out of it."""
        where = table(claim("fax", r"(?P<number>\d+)@fax"), claim(from_disabled=[".*@gsm"]), claim("other"))
        self.assertEqual(self._lines(where, '"a b@101"@sms'), [
            '1. application.fax: 1@gsm to "a b@101"@sms: does not claim it: the recipient is none of its addresses',
            """2. application.sms: 1@gsm to "a b@101"@sms: refuses it: sender is on from_disabled '.*@gsm'""",
            """3. application.other: 1@gsm to "a b@101"@sms: claims it by addresses[1] (name='a b', number='101'): """
            "goes to application:other",
            "answer: application:other",
        ])

    def test_refused(self) -> None:
        """What is refused is said to go nowhere else, or to whom it goes."""
        where = table(claim("sms", r"(?P<number>\d+)@example\.org|bonnie@.*"))
        why = "refuses it: the client is neither logged in nor listed"
        self.assertEqual(self._lines(where, "1@example.org", STRANGER), [
            f"1. application.sms: 1@gsm to 1@example.org: {why}",
            f"2. end: 1@example.org: what an application refuses goes nowhere else: {NOT_YOUR_APPLICATION}",
            f"answer: {NOT_YOUR_APPLICATION}",
        ])
        self.assertEqual(self._lines(where, "bonnie@example.org", STRANGER), [
            f"1. application.sms: 1@gsm to bonnie@example.org: {why}",
            "2. local: bonnie@example.org: user: maildrop of bonnie",
            "answer: maildrop of user 1",
        ])

    def test_rule(self) -> None:
        """A rule's step shows the groups, or the reason for the refusal and the reply."""
        where = table(claim(), rules=[rule("application:sms", recipient=r".*@a\.org")])
        self.assertEqual(self._lines(where, "101@a.org")[0],
                         "1. route[0]: 1@gsm to 101@a.org: goes to application:sms by the local part (number='101')")
        self.assertEqual(
            self._lines(where, "x@a.org")[0],
            f"1. route[0]: 1@gsm to x@a.org: application:sms refuses it: the local part gives no number: {NO_NUMBER}",
        )

    def test_record(self) -> None:
        """Programs get the groups of the application that takes it, and null where none does."""
        where = table(claim())
        record = where.explain(parse_mailbox(b"a@101.sms"), SENDER, LISTED).record()
        self.assertEqual((record["answer"], record["groups"]), ("application:sms", {"name": "a", "number": "101"}))
        self.assertIsNone(where.explain(parse_mailbox(b"bonnie@example.org"), SENDER, LISTED).record()["groups"])


class OpenApplicationTests(SynchronousTestCase):
    """Invariant 5: no configuration that loads lets strangers use an application."""

    addresses = st.lists(st.sampled_from([
        ".*", r"(?P<number>\d+)@sms", r"(?P<name>.*)@.*", r".*@example\.org", r".*@a\.org", r"(?P<number>\d+).*",
        r"(?P<name>[^@]*)@(?P<number>\d+)@fax", "",
    ]), max_size=3)
    settings = st.builds(
        dict, addresses=addresses, clients=st.sampled_from([(), (), ("203.0.113.0/24",), ("host.example",)]),
        receiver_clients=st.sampled_from([(), ("localhost",)]), from_enabled=st.sampled_from([None, (), (".*",)]),
        from_disabled=st.sampled_from([(), (".*@gsm",)]), process_anonymous=st.booleans(), needs_number=st.booleans(),
    )
    rules = st.builds(
        dict, to=st.sampled_from(["application:app0", "application:app1", OFFICE, "maildrop"]),
        recipient=st.sampled_from([None, ".*", r".*@a\.org", r".*|x@a\.org", r".*@example\.org", r".*@(sms|fax)"]),
        sender=st.sampled_from([None, "", ".*"]), clients=st.sampled_from([(), ("192.0.2.0/24",)]),
        anyone=st.booleans(),
    )
    recipients = st.sampled_from([
        "1@sms", "1@a.org", "x@a.org", "1@b.org", "1@example.org", "bonnie@example.org", "bonnie", "1", "postmaster",
        "n@420@fax", "a@1.sms", '"1@a.org"@c.org', "1@a.org.evil.example",
    ])

    @given(st.lists(settings, min_size=2, max_size=2), st.lists(rules, max_size=3), recipients,
           st.sampled_from(["", "x@elsewhere.example", "1@gsm", "bonnie@example.org"]))
    def test_any_configuration(
        self, applications: list[dict[str, object]], described: list[dict[str, object]], recipient: str, sender: str
    ) -> None:
        """A stranger reaches an application only by `anyone` and a domain it writes out; what is refused stays here."""
        claims, made = [], []
        for number, settings in enumerate(applications):
            try:
                claims.append(Claim.make(f"app{number}", **settings))  # type: ignore[arg-type]
            except ValueError:
                claims.append(Claim.make(f"app{number}"))
        for number, conditions in enumerate(described):
            try:
                made.append(Rule.make(f"route[{number}]", **conditions))  # type: ignore[arg-type]
            except ValueError:
                continue
        where = Table(made, directory("bonnie carl"), (), RELAY, claims)
        where.follow_hosts({"host.example": frozenset({"203.0.113.1"})})
        from_whom = parse_mailbox(sender.encode()) if sender else NULL
        opened = set().union(*(one.anyone for one in made))
        domain = parse_mailbox(recipient.encode()).domain or "example.org"
        self._check(answer(where, recipient, STRANGER, from_whom), domain in opened)
        trusted = where.explain(parse_mailbox(recipient.encode()), from_whom, LOGGED_IN)
        if any("refuses it" in step.result for step in trusted.steps) and not isinstance(trusted.answer, Reply):
            self.assertNotIn(Route(OFFICE), trusted.answer)

    def _check(self, found: Resolution, opened: bool) -> None:
        if not isinstance(found, Reply) and any(route.target != "maildrop" for route in found):
            self.assertTrue(opened, found)

    def test_without_applications(self) -> None:
        """Strangers who are refused by the default relay are told so, not about applications."""
        self.assertEqual(answer(Table((), directory("bonnie")), "1@sms", LISTED), NO_ROUTE)
