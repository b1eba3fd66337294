"""The core: order, splits, budget and limits."""

from __future__ import annotations

from base64 import b64decode, b64encode
from hashlib import md5

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.limits import Limits
from mailbridge.pop3 import authorization, dialogue, transaction
from mailbridge.pop3.server import BUDGET
from mailbridge.pop3.settings import Settings
from tests.pop3.outside import MESSAGES, STAMP, FakeOutside, logged_in
from tests.sasl.test_scram import final

PATIENT = Limits(errors=1 << 30, junk_commands=1 << 30)

commands = st.one_of(
    st.sampled_from([
        b"USER bonnie\r\n", b"PASS tan gerine\r\n", b"STAT\r\n", b"LIST\r\n", b"LIST 2\r\n", b"UIDL\r\n", b"RETR 1\r\n",
        b"RETR 2\r\n", b"TOP 1 1\r\n", b"DELE 1\r\n", b"RSET\r\n", b"NOOP\r\n", b"CAPA\r\n", b"AUTH PLAIN\r\n",
        b"AUTH PLAIN AGJvbm5pZQB0YW4gZ2VyaW5l\r\n", b"QUIT\r\n", b"\n", b"\r", b"RETR \xff\r\n", b"X" * 300,
        b"AUTH PLAIN " + b"A" * 400 + b"\r\n",
    ]),
    st.binary(max_size=20),
)


class TableTests(SynchronousTestCase):
    """What the server can say and do."""

    def test_replies(self) -> None:
        """Each fixed answer is one line of at most 512 octets that begins as RFC 1939 wants it."""
        for name, line in dialogue.wire_table().items():
            self.assertTrue(line.endswith(b"\r\n") and len(line) <= 512 and line.count(b"\r\n") == 1, name)
            self.assertTrue(name == "END" or line.startswith((b"+OK", b"-ERR ")), name)
            self.assertTrue(line.isascii(), name)

    def test_states(self) -> None:
        """Each verb is allowed in the state RFC 1939 gives it, and in no other."""
        before = set(authorization.VERBS)
        after = set(transaction.VERBS)
        self.assertEqual(before, {b"CAPA", b"STLS", b"USER", b"PASS", b"APOP", b"AUTH", b"UTF8", b"QUIT"})
        self.assertEqual(after, {b"CAPA", b"STAT", b"LIST", b"UIDL", b"RETR", b"TOP", b"DELE", b"NOOP", b"RSET",
                                 b"QUIT"})


class SplitTests(SynchronousTestCase):
    """Any octets, in any pieces."""

    @settings(max_examples=150, deadline=None)
    @given(st.lists(commands, max_size=12).map(b"".join), st.lists(st.integers(1, 40), max_size=30), st.booleans())
    def test_split_does_not_matter(self, octets: bytes, cuts: list[int], in_chunks: bool) -> None:
        """The answers are the same however the octets arrive, and none of them is an exception."""
        whole, pieces = FakeOutside(), FakeOutside()
        whole.in_chunks = pieces.in_chunks = in_chunks
        expected = whole.feed(octets)
        answered, at = b"", 0
        for size in cuts:
            answered += pieces.feed(octets[at:at + size])
            at += size
        answered += pieces.feed(octets[at:])
        self.assertEqual(answered, expected)
        self.assertEqual(pieces.closed, whole.closed)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(commands, max_size=12).map(b"".join))
    def test_waiting_does_not_matter(self, octets: bytes) -> None:
        """Answers that come late come in the same order and say the same."""
        quick, slow = FakeOutside(), FakeOutside(slow=True)
        expected = quick.feed(octets)
        answered = slow.feed(octets)
        while slow.pending:
            slow.pending.pop(0)()
            answered += slow.said()
        self.assertEqual(answered, expected)
        self.assertEqual(slow.closed, quick.closed)


class WorkTests(SynchronousTestCase):
    """How much is done at once."""

    def test_one_write_for_a_segment(self) -> None:
        """The answers to pipelined commands leave in one write."""
        outside = logged_in(FakeOutside())
        outside.core.receive(b"STAT\r\nRETR 1\r\nDELE 1\r\nLIST\r\nNOOP\r\n")
        self.assertEqual(len(outside.written), 1)

    def test_budget(self) -> None:
        """A client with thousands of commands gets a hundred of them answered in a turn."""
        outside = logged_in(FakeOutside(limits=PATIENT))
        outside.core.receive(b"STAT\r\n" * 1000)
        self.assertEqual(b"".join(outside.written).count(b"\r\n"), BUDGET)
        outside.core.receive(b"STAT\r\n" * 1000)
        self.assertEqual((b"".join(outside.written).count(b"\r\n"), outside.turns), (BUDGET, 1))
        self.assertEqual(outside.said().count(b"\r\n"), 2000)

    def test_octets_in_a_turn(self) -> None:
        """Pipelined RETRs of big messages do not pile up their answers in one turn."""
        outside = logged_in(FakeOutside((b"x" * 30_000 + b"\r\n",)))
        outside.core.receive(b"RETR 1\r\n" * 50)
        self.assertLess(sum(map(len, outside.written)), 100_000)
        self.assertEqual(outside.said().count(b"+OK"), 50)

    def test_deep_pipeline_of_waits(self) -> None:
        """A thousand commands whose answers come at once from outside need no deep stack."""
        outside = logged_in(FakeOutside(tuple(MESSAGES[0] for _ in range(2000)), limits=PATIENT))
        self.assertEqual(outside.feed(b"LIST\r\n" * 1000).count(b"+OK"), 1000)

    def test_paused(self) -> None:
        """Nothing is answered while the client does not read, and everything afterwards."""
        outside = logged_in(FakeOutside())
        outside.core.pause()
        self.assertEqual(outside.feed(b"STAT\r\nLIST 1\r\n"), b"")
        self.assertEqual(outside.event("resume"), b"+OK 3 105\r\n+OK 1 52\r\n")


class LimitTests(SynchronousTestCase):
    """What is cut off."""

    def test_long_line(self) -> None:
        """A command line of 255 octets passes; a longer one, ended or not, is the last."""
        exact = FakeOutside()
        self.assertIn(b"send PASS", exact.feed(b"USER " + b"a" * 248 + b"\r\n"))
        for octets in (b"USER " + b"a" * 249 + b"\r\n", b"a" * 256):
            outside = FakeOutside()
            self.assertIn(dialogue.LINE_TOO_LONG, outside.feed(octets))
            self.assertTrue(outside.closed)
            self.assertEqual(outside.core.backlog, 0)

    def test_long_auth_line(self) -> None:
        """A response in an AUTH exchange may be long, but not endless."""
        outside = FakeOutside()
        outside.feed(b"AUTH PLAIN\r\n")
        self.assertEqual(outside.feed(b64encode(b"\0a\0" + b"b" * 3000) + b"\r\n"), dialogue.WRONG_PASSWORD)
        outside.feed(b"AUTH PLAIN\r\n")
        self.assertEqual(outside.feed(b"A" * 12_300), dialogue.LINE_TOO_LONG)
        self.assertTrue(outside.closed)

    def test_junk(self) -> None:
        """A hundred commands without mail in a row end the session; reading mail in between does not."""
        outside = logged_in(FakeOutside())
        for _ in range(3):
            self.assertEqual(outside.feed(b"NOOP\r\n" * 90).count(b"+OK\r\n"), 90)
            outside.feed(b"RETR 1\r\n")
        self.assertTrue(outside.feed(b"NOOP\r\n" * 100).endswith(dialogue.TOO_MANY_COMMANDS))
        self.assertTrue(outside.closed)

    def test_nothing_after_the_end(self) -> None:
        """What comes behind QUIT is neither answered nor kept."""
        outside = logged_in(FakeOutside())
        self.assertEqual(outside.feed(b"QUIT\r\nSTAT\r\nDELE 1\r\n"), dialogue.BYE)
        self.assertTrue(outside.closed)
        self.assertEqual((outside.deleted, outside.core.backlog), ([], 0))

    def test_lost_before_quit(self) -> None:
        """A connection that ends before QUIT deletes nothing."""
        outside = logged_in(FakeOutside())
        outside.feed(b"DELE 1\r\nDELE 2\r\n")
        outside.core.lost()
        outside.core.receive(b"QUIT\r\n")
        self.assertEqual(outside.deleted, [])


class SecurityTests(SynchronousTestCase):
    """TLS, passwords in clear, APOP, SCRAM."""

    def test_stls(self) -> None:
        """STLS begins a handshake after its answer, and forgets the USER said in clear."""
        outside = FakeOutside(can_tls=True)
        self.assertIn(b"\r\nSTLS\r\n", outside.feed(b"CAPA\r\n"))
        self.assertEqual(outside.feed(b"USER bonnie\r\nSTLS\r\n"), dialogue.SEND_PASS + dialogue.BEGIN_TLS)
        self.assertTrue(outside.handshaking)
        self.assertEqual(outside.feed(b"PASS tan gerine\r\n"), dialogue.NEED_USER)
        self.assertNotIn(b"STLS", outside.feed(b"CAPA\r\n"))
        self.assertEqual(outside.feed(b"STLS\r\n"), dialogue.TLS_ALREADY)

    def test_stls_injection(self) -> None:
        """Octets behind STLS are neither run nor kept for after the handshake."""
        for octets in (b"STLS\r\nUSER eve\r\n", b"STLS\r\nx", b"STLS\r\n\x16\x03\x01"):
            outside = FakeOutside(can_tls=True)
            outside.feed(b"")
            self.assertEqual(outside.feed(octets), dialogue.INJECTED)
            self.assertTrue(outside.closed)
            self.assertFalse(outside.handshaking)

    def test_clear(self) -> None:
        """Without TLS a password is taken from loopback only, or where the operator says so."""
        require = Settings("mail.example", starttls="require")
        liberal = Settings("mail.example", login_in_clear=True)
        for outside, allowed in (
            (FakeOutside(), True), (FakeOutside(loopback=False), False), (FakeOutside(settings=require), False),
            (FakeOutside(loopback=False, settings=liberal), True), (FakeOutside(loopback=False, tls=True), True),
            (FakeOutside(tls=True, settings=require), True),
        ):
            outside.feed(b"")
            self.assertEqual(b"\r\nUSER\r\n" in outside.feed(b"CAPA\r\n"), allowed)
            for command in (b"USER bonnie\r\n", b"PASS tan gerine\r\n", b"AUTH PLAIN AGJvbm5pZQB0YW4gZ2VyaW5l\r\n"):
                if not allowed:
                    self.assertEqual(outside.feed(command), dialogue.USE_STLS)
            if not allowed:
                self.assertNotIn("login", outside.calls)

    def test_apop(self) -> None:
        """APOP works with the stamp of the greeting (the example of RFC 1939 has another password)."""
        outside = FakeOutside(stamp=STAMP)
        self.assertTrue(outside.feed(b"").endswith(b" " + STAMP + b"\r\n"))
        self.assertEqual(outside.feed(b"APOP bonnie " + b"0" * 32 + b"\r\n"), dialogue.WRONG_PASSWORD)
        self.assertEqual(outside.feed(b"APOP bonnie\r\n"), dialogue.SYNTAX)
        digest = md5(STAMP + b"tan gerine").hexdigest().encode()
        self.assertIn(b"+OK 3 messages", outside.feed(b"APOP bonnie " + digest + b"\r\n"))

    def test_scram(self) -> None:
        """SCRAM-SHA-256 logs in without the password on the wire, from anywhere."""
        outside = FakeOutside(loopback=False)
        outside.feed(b"")
        first = b"n=bonnie,r=abc"
        server_first = outside.feed(b"AUTH SCRAM-SHA-256 " + b64encode(b"n,," + first) + b"\r\n")
        proof = final("tan gerine", first, b64decode(server_first[2:-2]))
        server_final = outside.feed(b64encode(proof) + b"\r\n")
        self.assertTrue(b64decode(server_final[2:-2]).startswith(b"v="))
        self.assertIn(b"+OK 3 messages", outside.feed(b"\r\n"))
