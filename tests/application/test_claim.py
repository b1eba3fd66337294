"""Claims: every documented form of an address, who may use an application, and what is read out."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge import reply
from mailbridge.address import NULL, Address, parse_mailbox, parse_path
from mailbridge.application.claim import Claim, Claimed, Passed, Refused
from mailbridge.errors import AddressError
from tests.routing.people import origin

ANN = parse_mailbox(b"ann@shop.example")
LISTED, LOGGED_IN, STRANGER = origin(trusted=True), origin(user="ann"), origin()
LOCAL_WORK = origin(trusted=True, peer="")

SMS = (r"(?P<number>\+?\d+)@sms(?:\.domain\.example)?", r"(?P<name>[^/@]+)@(?P<number>\+?\d+)[.@]sms")
_COMPANY = r"(?P<name>[^/@]*)(?:/(?P<company>[^/@]+)(?:/(?P<dept>[^/@]+))?)?@"
FAX = (
    r"(?:(?P<name>[^/@]+)/(?:(?P<company>[^/@]+)/(?:(?P<dept>[^/@]+)/)?)?)?(?P<number>[+i]?\d+)@fax(?:\.fax)?",
    _COMPANY + r"(?P<number>[+i]?\d+)@fax",
    _COMPANY + r"(?P<number>\d+)\.fax",
)
PAGE_0 = r"?(P<number>\+?[\d]+)@fax"
PAGE_1 = r" (?:(?P<name>[^/]+)/(?:(?P<company>[^/]+)/(?:(?P<dept>[^/]+)/)?)?)?(?P<number>[+i]?\d+)@fax$"


def claim(*addresses: str, **settings: object) -> Claim:
    """A claim of these patterns."""
    return Claim.make("app", addresses or SMS, **settings)  # type: ignore[arg-type]


def mailbox(text: str) -> Address:
    """An address as RCPT would read it."""
    return parse_path(b"<" + text.encode() + b">")[0]


class FormTests(SynchronousTestCase):
    """Every documented form (reference: smtp-receiver.md 4.1)."""

    def _check(self, taker: Claim, forms: list[tuple[str, dict[str, str] | None]]) -> None:
        for written, groups in forms:
            for text in (written, written.upper()):
                decision = taker.decide(mailbox(text), ANN, LISTED)
                found = dict(decision.groups) if isinstance(decision, Claimed) else None
                if found is not None and groups is not None:
                    self.assertEqual({key: value.lower() for key, value in found.items()},
                                     {key: value.lower() for key, value in groups.items()}, text)
                self.assertEqual(found is None, groups is None, text)

    def test_sms(self) -> None:
        """Number and name forms of SMS, Lotus's two @, a subdomain, quotes; in any case."""
        self._check(claim(), [
            ("101@sms", {"number": "101"}),
            ("+420603280030@sms", {"number": "+420603280030"}),
            ("101@sms.domain.example", {"number": "101"}),
            ("user_name@202.sms", {"name": "user_name", "number": "202"}),
            ("user_name@+420202.sms", {"name": "user_name", "number": "+420202"}),
            ('"user name"@202.sms', {"name": "user name", "number": "202"}),
            ("name@0604234427@SMS", {"name": "name", "number": "0604234427"}),
            ("name@+420604234427@sms", {"name": "name", "number": "+420604234427"}),
            ('"user name@0604234427"@sms', {"name": "user name", "number": "0604234427"}),
            ("x101@sms", None), ("101@smsx", None), ("101@sms.evil.example", None), ("name@sms", None),
            ("a/b@101.sms", None), ('" 101"@sms', None), ("\u0661\u0662@sms", None), ("101", None),
        ])

    def test_fax(self) -> None:
        """All seven forms of fax."""
        self._check(claim(*FAX), [
            ("Brouzda/Datasys@61388454.fax", {"name": "Brouzda", "company": "Datasys", "number": "61388454"}),
            ("Brouzda@61388454.fax", {"name": "Brouzda", "number": "61388454"}),
            ("B/D/Dev@61388454.fax", {"name": "B", "company": "D", "dept": "Dev", "number": "61388454"}),
            ("/Datasys/Development@61388454.fax",
             {"name": "", "company": "Datasys", "dept": "Development", "number": "61388454"}),
            ("Brouzda/Datasys@61388454@fax", {"name": "Brouzda", "company": "Datasys", "number": "61388454"}),
            ("Brouzda/Datasys@+42061388454@fax", {"name": "Brouzda", "company": "Datasys", "number": "+42061388454"}),
            ("/Datasys@61388454@fax", {"name": "", "company": "Datasys", "number": "61388454"}),
            ('"Brouzda/Datasys@61388454"@fax', {"name": "Brouzda", "company": "Datasys", "number": "61388454"}),
            ('"Carl Orff/Music INC/Composers@61388454"@fax',
             {"name": "Carl Orff", "company": "Music INC", "dept": "Composers", "number": "61388454"}),
            ("61388454@fax", {"number": "61388454"}),
            ("61388454@fax.fax", {"number": "61388454"}),
            ("i123@fax", {"number": "i123"}),
            ("Brouzda/Datasys/61388454@fax", {"name": "Brouzda", "company": "Datasys", "number": "61388454"}),
            ("B/D/Dev/61388454@fax", {"name": "B", "company": "D", "dept": "Dev", "number": "61388454"}),
            ("B/+42061388454@fax", {"name": "B", "number": "+42061388454"}),
            ("a/b/c/d/1@fax", None), ("x1@fax", None), ("1@faxmachine.example", None), ("B@+420613.fax", None),
            ("\u0661@fax", None),
        ])

    def test_pages_patterns(self) -> None:
        """The page's second pattern works with its blank, its $ and broken over two lines; its first is a misprint."""
        for text in (PAGE_1, PAGE_1.replace("/(?:(?P<dept>", "/\n(?:(?P<dept>"), PAGE_1 + "\r\n"):
            self._check(claim(text), [
                ("John/Smith_Flowers/Sales/5464521@fax",
                 {"name": "John", "company": "Smith_Flowers", "dept": "Sales", "number": "5464521"}),
                ("5464521@fax", {"number": "5464521"}), ("i12@fax", {"number": "i12"}), ("5464521@fax.fax", None),
            ])
        error = str(self.assertRaises(ValueError, claim, PAGE_1, PAGE_0))
        self.assertTrue(error.startswith('addresses[1]: bad pattern "?(P<number>'), error)
        self.assertTrue(error.endswith(r"write (?P<number>\+?\d+)@fax"), error)
        self._check(claim(r"(?P<number>\+?[\d]+)@fax"), [
            ("+61388454@fax", {"number": "+61388454"}), ("61388454@faxmachine.example", None),
        ])

    def test_no_trailing_newline(self) -> None:
        """A newline or NUL can neither be written in an address nor slip past a `$`."""
        for text in (b'"1@fax\n"', b'"a\n"@1.fax', b"1@fax\n", b'"1\\\n"@fax', b'"\x00"@fax', b'"\xc2\x85"@fax'):
            self.assertRaises(AddressError, parse_mailbox, text)
        for address in (Address("1", "fax\n"), Address("1\n", "fax"), Address("a\n/1", "fax"), Address("1\x00", "fax")):
            decision = claim(r"(?:(?P<name>\w+)/)?(?P<number>\d+)@fax$").decide(address, ANN, LISTED)
            self.assertIsInstance(decision, Passed)

    def test_first_pattern_counts(self) -> None:
        """Patterns are asked in their order, and the one that took the recipient is named."""
        decision = claim(*FAX).decide(mailbox("a@1.fax"), ANN, LISTED)
        assert isinstance(decision, Claimed)
        self.assertEqual((decision.application, decision.by), ("app", "addresses[2]"))

    written = st.builds("".join, st.lists(st.sampled_from(
        ["1", "23", "+", "i", "a", "/", "@", ".", "fax", "sms", '"', "\\", " ", "_", "\n", "\r", "\x00", ";", "[to]",
         "\u0661", "\u017f", "=", "\u2028"]
    ), max_size=14))

    @given(written)
    def test_no_injection(self, text: str) -> None:
        """Whatever can be an address, no group ends a line and a number is a number."""
        try:
            recipient = parse_mailbox(text.encode())
        except AddressError:
            return
        broad = claim(r"(?P<number>.*)@.*|(?P<name>.*)", needs_number=False)
        for taker in (claim(), claim(*FAX), claim(PAGE_1), broad):
            groups = taker.groups(recipient)
            decision = taker.decide(recipient, ANN, LISTED)
            if isinstance(decision, Claimed):
                self.assertEqual(groups, decision.groups)
            for key, value in (groups or {}).items():
                self.assertNotRegex(value, "[\x00-\x1f\x7f-\x9f\u2028\u2029]")
                if key == "number":
                    self.assertRegex(value, r"\A[+i]?[0-9]{1,20}\Z")

    @given(st.from_regex(r"[A-Za-z_]{1,9}", fullmatch=True), st.from_regex(r"\+?[0-9]{1,20}", fullmatch=True))
    def test_number_comes_back(self, name: str, number: str) -> None:
        """What a sender writes as name and number is what the job gets, in each form."""
        for form, groups in [
            (f"{number}@sms", {"number": number}), (f"{name}@{number}@sms", {"name": name, "number": number}),
            (f'"{name} x@{number}"@sms', {"name": f"{name} x", "number": number}),
            (f"{name}@{number}.sms", {"name": name, "number": number}),
        ]:
            self.assertEqual(claim().groups(mailbox(form)), groups, form)


class ClientTests(SynchronousTestCase):
    """Who may use an application."""

    def test_table(self) -> None:
        """A login; else a client on its own list; without one on the receiver's; without both one that is trusted."""
        here, there = ["192.0.2.0/24"], ["203.0.113.0/24"]
        for own, shared, session, allowed in [
            ([], [], STRANGER, False), ([], [], LISTED, True), ([], [], LOGGED_IN, True), ([], [], LOCAL_WORK, True),
            (here, [], STRANGER, True), (there, [], STRANGER, False), (there, [], LISTED, False),
            (there, [], LOGGED_IN, True), (there, [], LOCAL_WORK, True),
            ([], here, STRANGER, True), ([], there, LISTED, False), (there, here, LISTED, False),
            (here, there, STRANGER, True), (there, here, origin(peer=""), False), ([], [], origin(peer=""), False),
        ]:
            decision = claim(clients=own, receiver_clients=shared).decide(mailbox("1@sms"), ANN, session)
            self.assertIsInstance(decision, Claimed if allowed else Refused, (own, shared, session))
            if isinstance(decision, Refused):
                self.assertEqual(decision.reply, reply.NOT_YOUR_APPLICATION)

    def test_host_names(self) -> None:
        """A host on the list may use it at the address it has now; before that is known, it is asked to wait."""
        taker = claim(clients=["localhost,cxhlpsrv"], receiver_clients=["other"])
        self.assertEqual(taker.host_names, {"cxhlpsrv"})
        for hosts, expected in [
            ({"cxhlpsrv": frozenset({"192.0.2.7"})}, None), ({"cxhlpsrv": frozenset({"192.0.2.8"})}, 550),
            ({"cxhlpsrv": frozenset()}, 550), ({}, 451),
        ]:
            decision = taker.decide(mailbox("1@sms"), ANN, STRANGER, hosts)  # type: ignore[arg-type]
            self.assertEqual(decision.reply.code if isinstance(decision, Refused) else None, expected, hosts)
        self.assertIsInstance(taker.decide(mailbox("1@sms"), ANN, origin(peer="127.0.0.1")), Claimed)

    def test_reasons(self) -> None:
        """The operator is told which list a client is not on."""
        for settings, why in [
            ({"clients": ["10.0.0.1"]}, "client 192.0.2.7 is not on clients"),
            ({"receiver_clients": ["10.0.0.1"]}, "client 192.0.2.7 is not on [receiver] clients"),
            ({}, "the client is neither logged in nor listed"),
            ({"clients": ["h.example"]}, "h.example on clients has not been looked up yet"),
        ]:
            decision = claim(**settings).decide(mailbox("1@sms"), ANN, STRANGER)
            self.assertEqual(decision.why if isinstance(decision, Refused) else None, why)


class SenderTests(SynchronousTestCase):
    """Who may send to it."""

    def _why(self, taker: Claim, sender: str) -> tuple[int, str] | None:
        decision = taker.decide(mailbox("1@sms"), mailbox(sender) if sender else NULL, LISTED)
        return (decision.reply.code, decision.why) if isinstance(decision, Refused) else None

    def test_lists(self) -> None:
        """from_disabled wins; a missing from_enabled is everybody, an empty one nobody; the page's samples work."""
        page = {"from_enabled": [".*"], "from_disabled": [".*@fax$", ".*@gsm$"]}
        nobody = "from_enabled is empty: nobody may send"
        for settings, sender, why in [
            ({}, "a@b.example", None), ({"from_enabled": []}, "a@b.example", nobody),
            (page, "a@b.example", None), (page, "1@FAX", "sender is on from_disabled '.*@fax$'"),
            (page, "1@gsm", "sender is on from_disabled '.*@gsm$'"), (page, "1@gsm.example", None),
            (page, "x@1@gsm", "sender is on from_disabled '.*@gsm$'"),
            (page, '"a b"@gsm', "sender is on from_disabled '.*@gsm$'"),
            ({"from_enabled": [r".*@b\.example", "c@d"]}, "A@B.example", None),
            ({"from_enabled": [r".*@b\.example", "c@d"]}, "c@d", None),
            ({"from_enabled": [r".*@b\.example"]}, "a@b.example.org", "sender is not on from_enabled"),
            ({"from_disabled": ["a@b"], "from_enabled": ["a@b"]}, "a@b", "sender is on from_disabled 'a@b'"),
        ]:
            found = self._why(claim(**settings), sender)
            self.assertEqual(found, None if why is None else (550, why), (settings, sender))

    def test_null_sender(self) -> None:
        """process_anonymous alone decides about <>, our own notices too."""
        refused = (550, "the sender is <> and process_anonymous is off")
        for settings, why in [
            ({}, refused), ({"from_enabled": [".*"]}, refused), ({"process_anonymous": True}, None),
            ({"process_anonymous": True, "from_enabled": [], "from_disabled": [".*", ""]}, None),
        ]:
            self.assertEqual(self._why(claim(**settings), ""), why, settings)
            notice = claim(**settings).decide(mailbox("1@sms"), NULL, LOCAL_WORK)
            self.assertIsInstance(notice, Claimed if why is None else Refused)


class NumberTests(SynchronousTestCase):
    """What is made of the number."""

    def test_normalized(self) -> None:
        """The number is normalised first, then compared with allowed_numbers."""
        taker = claim(normalize=True, allowed_numbers=r"\+420[67]\d{8}")
        self.assertEqual(taker.groups(mailbox("0604234427@sms")), {"number": "+420604234427"})
        for written, why in [
            ("+49301234567@sms", "number +49301234567 is not on allowed_numbers"),
            ("112@sms", "number 112 is not on allowed_numbers"),
        ]:
            self.assertEqual(taker.decide(mailbox(written), ANN, LISTED), Refused(reply.NUMBER_REFUSED, why))
            self.assertIsNone(taker.groups(mailbox(written)))
        other = claim(normalize=True, state_prefix="49", national_prefix="0")
        self.assertEqual(other.groups(mailbox("0301234567@sms")), {"number": "+49301234567"})

    def test_no_number(self) -> None:
        """A pattern that takes letters for a number, or leaves it out, gets no job."""
        for pattern, written in [(r"(?P<number>.*)@sms", "abc@sms"), (r"(?P<number>\d+)?.*@sms", "abc@sms"),
                                 (r"(?P<number>\d+)@sms", "123456789012345678901@sms")]:
            decision = claim(pattern).decide(mailbox(written), ANN, LISTED)
            self.assertEqual(decision.reply if isinstance(decision, Refused) else None, reply.NO_NUMBER, written)

    def test_job_without_number(self) -> None:
        """An application that is not about numbers takes addresses without one."""
        taker = claim(r"(?P<name>.*)@tickets", needs_number=False)
        self.assertEqual(taker.groups(mailbox("ann@tickets")), {"name": "ann"})
        self.assertEqual(taker.groups(mailbox("ann@else")), {})
        self.assertEqual(taker.groups(mailbox("12@else")), {"number": "12"})

    def test_by_rule(self) -> None:
        """A rule replaces the address alone: clients, senders and numbers count; the local part may be the number."""
        taker = claim(clients=["192.0.2.7"], from_disabled=[".*@gsm"], allowed_numbers=r"\d{3}")
        away = origin(peer="203.0.113.9", trusted=True)
        gsm = mailbox("x@gsm")
        for written, sender, session, anyone, expected in [
            ("101@sms", ANN, STRANGER, False, {"number": "101"}),
            ("a@101.sms", ANN, STRANGER, False, {"name": "a", "number": "101"}),
            ("101@example.org", ANN, STRANGER, False, {"number": "101"}),
            ("bonnie@example.org", ANN, STRANGER, False, reply.NO_NUMBER),
            ("1@example.org", ANN, STRANGER, False, reply.NUMBER_REFUSED),
            ("101@example.org", ANN, away, False, reply.NOT_YOUR_APPLICATION),
            ("101@example.org", ANN, away, True, {"number": "101"}),
            ("101@example.org", gsm, STRANGER, True, reply.SENDER_REFUSED),
            ("101@example.org", NULL, STRANGER, True, reply.NO_ANONYMOUS),
        ]:
            decision = taker.by_rule(mailbox(written), sender, session, anyone=anyone)
            found = dict(decision.groups) if isinstance(decision, Claimed) else decision.reply
            self.assertEqual(found, expected, (written, sender.text, session.peer))
            if isinstance(decision, Claimed):
                self.assertEqual(taker.groups(mailbox(written)), decision.groups)
        self.assertIsInstance(taker.decide(mailbox("101@example.org"), ANN, STRANGER), Passed)


class MakeTests(SynchronousTestCase):
    """Settings."""

    def test_errors(self) -> None:
        """Each error names its key, its place in the list and, for a pattern, what is wrong where."""
        for settings, begins, holds in [
            ({"addresses": ["(?P<number>1)", r"(?P<number>\d+)(?=@)"]}, "addresses[1]: bad pattern", "character 16: "),
            ({"addresses": [r"(?P<number>\d+)@sms\Z"]}, "addresses[0]: bad pattern", "leave it out"),
            ({"addresses": [r"(?P<number>\d)(?P<number>\d)"]}, "addresses[0]: bad pattern", "is there twice"),
            ({"addresses": [r"\d+@sms"]}, "addresses[0]: ", r"write (?P<number>\+?\d+)"),
            ({"from_enabled": ["a", "("]}, "from_enabled[1]: bad pattern", "missing )"),
            ({"from_disabled": ["a++"]}, "from_disabled[0]: bad pattern", "leave the second + out"),
            ({"clients": ["localhost", "10.0.0.300"]}, "clients[1]: ", "10.0.0.300"),
            ({"receiver_clients": ["a b"]}, "receiver.clients[0]: ", "or a host name"),
            ({"allowed_numbers": "["}, "allowed_numbers: bad pattern", "missing ]"),
            ({"state_prefix": "x"}, "state_prefix: ", "country code"),
            ({"national_prefix": "x"}, "national_prefix: ", "three digits"),
            ({"name": "a/b"}, '"a/b" is no name', "ASCII"), ({"name": ""}, '"" is no name', "ASCII"),
        ]:
            error = str(self.assertRaises(ValueError, lambda given=settings: Claim.make(**{"name": "app", **given})))
            self.assertTrue(error.startswith(begins), error)
            self.assertIn(holds, error)

    def test_no_addresses(self) -> None:
        """An application without addresses claims nothing; a rule can lead to it."""
        taker = Claim.make("app")
        self.assertEqual(taker.decide(mailbox("1@sms"), ANN, LISTED),
                         Passed("it has no addresses; only a [[route]] leads to it"))
        self.assertIsInstance(taker.by_rule(mailbox("1@sms"), ANN, LISTED), Claimed)
