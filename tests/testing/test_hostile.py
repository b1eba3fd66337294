"""Hostile servers against `sendmessage`: nothing hangs, grows, tells a secret, or is reported sent when it was not."""

from __future__ import annotations

import tracemalloc
from base64 import b64encode
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.edge.connection import MOST_WAITING, Connection
from mailbridge.sendmail import Kind, SendFailure, SendResult, sendmessage
from mailbridge.smtp.answer import LONGEST_LINE, MOST_OCTETS
from mailbridge.testing.hostile import MODES, Endless, HostileFactory
from mailbridge.testing.network import Network

SERVER = ("hostile.example", 25)
PASSWORD = "Tr0ub4dor&3-secret"
TOKEN = "ya29.A0ARrdaM-token-that-nobody-may-see"
MESSAGE = b"Subject: hello\r\n\r\nfirst line\r\n.second\r\n"
LARGE = MESSAGE + b"0123456789abcdef\r\n" * 20_000
MIB = 1024 * 1024

WITHOUT_LOGIN_SENT = {
    "garbage after the last reply", "flood of 250 after the dot", "STARTTLS stripped", "STARTTLS refused",
    "lies about AUTH", "AUTH that never ends", "AUTH that goes on after *", "AUTH that is repeated aloud",
    "AUTH that is repeated as a challenge", "AUTH that is repeated as nonsense",
    "STARTTLS hanging in the handshake", "STARTTLS hanging", "250 during the content",
}
"""Modes that do no harm to a small message of one who has no password and takes any TLS or none."""


class Attempt:
    """One message sent to a server of one mode, with a clock."""

    def __init__(self, mode: str, message: bytes = MESSAGE, **options: Any) -> None:
        self.network = Network()
        self.server = HostileFactory(self.network, MODES[mode])
        self.network.servers[SERVER] = self.server
        self.outcomes: list[Any] = []
        self.lines: list[str] = []
        settings: dict[str, Any] = {
            "servers": SERVER[0], "originator": "a@b.example", "recipients": ["c@d.example", "e@d.example"],
            "client_name": "us.example", "transaction_log": self.lines.append, "timeout": 1000.0, **options,
        }
        self.deferred = sendmessage(self.network, message, **settings)
        self.deferred.addBoth(self.outcomes.append)

    def wait(self, seconds: float) -> None:
        """Let at most `seconds` pass."""
        while not self.outcomes and seconds > 0:
            self.network.advance(1.0)
            seconds -= 1

    @property
    def outcome(self) -> SendResult | SendFailure:
        """The one outcome."""
        assert len(self.outcomes) == 1, self.outcomes
        found = self.outcomes[0]
        return found.value if isinstance(found, Failure) else found

    @property
    def client(self) -> Connection:
        """The client's last connection."""
        found = self.network.ends[-1][0].protocol
        return found if isinstance(found, Connection) else found._wrappedProtocol

    @property
    def left(self) -> list[Any]:
        """Delayed calls that are not the server's."""
        return [call for call in self.network.getDelayedCalls() if "HostileServer" not in repr(call.func)]

    def texts(self) -> str:
        """Everything that somebody might read."""
        outcome = self.outcome
        failure = self.outcomes[0]
        shown = [repr(outcome), str(outcome), *self.lines, repr(getattr(outcome, "transcript", ""))]
        if isinstance(failure, Failure):
            shown += [failure.getTraceback(), failure.getErrorMessage(), repr(vars(failure.value))]
        return "\n".join(shown)


LOGIN = {"username": "bonnie", "password": PASSWORD, "password_in_clear": True, "tls": "off"}


class EveryModeTests(SynchronousTestCase):
    """Each mode, with and without a login, for a small and a large message."""

    def _ends(self, mode: str, **options: Any) -> Attempt:
        attempt = Attempt(mode, **options)
        attempt.wait(1100)
        self.assertEqual(len(attempt.outcomes), 1, f"{mode}: does not end")
        self.assertIsInstance(attempt.outcome, SendResult | SendFailure, mode)
        attempt.network.advance(0)
        self.assertEqual(attempt.left, [], f"{mode}: a delayed call is left")
        self.assertFalse([pair for pair in attempt.network.ends if pair[0].connected], f"{mode}: still connected")
        return attempt

    def test_without_login(self) -> None:
        """Sent where the server takes it, a failure everywhere else, and never twice."""
        for mode in MODES:
            with self.subTest(mode):
                attempt = self._ends(mode)
                sent = isinstance(attempt.outcome, SendResult)
                self.assertEqual(sent, mode in WITHOUT_LOGIN_SENT, f"{mode}: {attempt.outcome}")
                self.assertLessEqual(len(attempt.server.messages), 1, mode)
                if sent:
                    self.assertEqual(len(attempt.server.messages), 1, mode)
                elif attempt.server.messages:  # told for sure, or known to be in doubt
                    self.assertTrue(attempt.outcome.maybe_sent != (attempt.outcome.code >= 400), mode)

    def test_with_login(self) -> None:
        """The password stands in no text, whatever the server does with it."""
        for mode in MODES:
            for secret in ({"password": PASSWORD}, {"password": None, "token": TOKEN}):
                with self.subTest(mode):
                    attempt = self._ends(mode, **{**LOGIN, **secret})
                    texts = attempt.texts()
                    for hidden in self._forms(PASSWORD) + self._forms(TOKEN):
                        self.assertNotIn(hidden, texts, mode)

    @staticmethod
    def _forms(secret: str) -> list[str]:
        plain = b64encode(f"\0bonnie\0{secret}".encode()).decode()
        return [secret, b64encode(secret.encode()).decode(), plain, plain[8:24]]

    def test_large_message(self) -> None:
        """A message of many segments is never reported sent when its end did not arrive."""
        for mode in MODES:
            with self.subTest(mode):
                attempt = self._ends(mode, message=LARGE)
                if isinstance(attempt.outcome, SendResult):
                    self.assertEqual(len(attempt.server.messages), 1, mode)
                    self.assertTrue(attempt.server.messages[0][1].endswith(LARGE[-100_000:]), mode)
                self.assertLessEqual(len(attempt.server.messages), 1, mode)

    def test_memory(self) -> None:
        """No mode makes the client keep more than its limits, and none reaches 8 MiB."""
        for mode in MODES:
            with self.subTest(mode):
                tracemalloc.start()
                attempt = Attempt(mode)
                most = 0
                for _ in range(1100):
                    if attempt.outcomes:
                        break
                    attempt.network.advance(1.0)
                    if attempt.network.ends:
                        most = max(most, attempt.client.buffered)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                self.assertLessEqual(most, MOST_WAITING + MOST_OCTETS + LONGEST_LINE, mode)
                self.assertLess(peak, 8 * MIB, mode)

    def test_overall_timeout(self) -> None:
        """The overall time-out holds whatever the server does, from before the connect."""
        for mode in MODES:
            with self.subTest(mode):
                attempt = Attempt(mode, timeout=20.0)
                for _ in range(21):
                    attempt.network.advance(1.0)
                self.assertEqual(len(attempt.outcomes), 1, mode)
                self.assertEqual(attempt.left, [], mode)

    def test_cancelled_at_any_moment(self) -> None:
        """Cancelled at any turn: one outcome, the connection is closed at once and no delayed call is left."""
        for mode in ("silence", "deaf at DATA", "AUTH that never ends", "STARTTLS hanging", "DATA unanswered",
                     "flood of 250 after the dot", "STARTTLS hanging in the handshake", "slow drip at the end"):
            for turns in range(12):
                with self.subTest(mode=mode, turns=turns):
                    options = {} if "STARTTLS" in mode else LOGIN
                    attempt = Attempt(mode, LARGE, **options)
                    for _ in range(turns):
                        attempt.network.advance(0.0005)
                    over = bool(attempt.outcomes)
                    attempt.deferred.cancel()
                    self.assertEqual(len(attempt.outcomes), 1)
                    taken = any(line.startswith(b"QUIT") for line in attempt.server.commands)
                    if not over and not taken:
                        self.assertIsInstance(attempt.outcome, CancelledError)
                    self.assertEqual(attempt.left, [])
                    self.assertTrue(all(end.aborted for end, _ in attempt.network.ends))


class ParticularTests(SynchronousTestCase):
    """What is said about some of the modes."""

    def _kind(self, mode: str, **options: Any) -> SendFailure:
        attempt = Attempt(mode, **options)
        attempt.wait(1100)
        failure = attempt.outcome
        assert isinstance(failure, SendFailure), failure
        return failure

    def test_kinds(self) -> None:
        """Each failure has the key that its reason has."""
        for mode, kind in (
            ("silence", Kind.TIMEOUT), ("endless banner", Kind.SERVER), ("1yz", Kind.SERVER),
            ("deaf at DATA", Kind.TIMEOUT), ("close after the dot", Kind.CONNECTION),
            ("552 during the content", Kind.SERVER),
            ("injected plaintext after STARTTLS", Kind.SERVER), ("250 during the content", Kind.SERVER),
        ):
            with self.subTest(mode):
                self.assertIs(self._kind(mode, message=LARGE).kind, kind, mode)

    def test_maybe_sent(self) -> None:
        """A connection that ends after the last octet leaves a doubt, and the failure says so."""
        self.assertTrue(self._kind("close after the dot").maybe_sent)
        self.assertTrue(self._kind("close after a part of the last reply").maybe_sent)
        self.assertTrue(self._kind("slow drip at the end").maybe_sent)
        self.assertTrue(self._kind("slow drip at the end", timeout=20.0).maybe_sent)
        self.assertFalse(self._kind("close after DATA", message=LARGE).maybe_sent)
        self.assertFalse(self._kind("deaf at DATA", message=LARGE).maybe_sent)
        self.assertFalse(self._kind("1yz").maybe_sent)

    def test_stripped_starttls_with_a_login(self) -> None:
        """A login is not shown to a server that has lost its STARTTLS, nor is the message."""
        for mode in ("STARTTLS stripped", "STARTTLS refused"):
            attempt = Attempt(mode, username="bonnie", password=PASSWORD)
            attempt.wait(10)
            self.assertIs(attempt.outcome.kind, Kind.TLS)
            self.assertFalse([line for line in attempt.server.commands if line.startswith((b"AUTH", b"MAIL"))])

    def test_starttls_required(self) -> None:
        """`require` never goes on in clear, whatever the policy would say."""
        for mode in ("STARTTLS stripped", "STARTTLS refused", "STARTTLS hanging", "STARTTLS hanging in the handshake",
                     "injected plaintext after STARTTLS", "part of a reply after STARTTLS"):
            attempt = Attempt(mode, tls="require", tls_policy=lambda code, text: "insecure")
            attempt.wait(1100)
            self.assertIsInstance(attempt.outcome, SendFailure, mode)
            self.assertFalse([line for line in attempt.server.commands if line.startswith(b"MAIL")], mode)

    def test_wrong_password_is_shown_once(self) -> None:
        """PLAIN and LOGIN are one guess, not two."""
        attempt = Attempt("AUTH that is repeated aloud", **LOGIN)
        attempt.wait(10)
        self.assertIs(attempt.outcome.kind, Kind.LOGIN)
        verbs = [line.split(b" ")[1] for line in attempt.server.commands if line.startswith(b"AUTH")]
        self.assertEqual(verbs, [b"CRAM-MD5", b"PLAIN"])

    def test_next_server(self) -> None:
        """A hostile greeting or a dead host costs nothing but its time: the next server gets the message."""
        for mode in ("silence", "no SMTP", "endless banner", "mixed codes"):
            network = Network({("dead.example", 25): None})
            bad, good = HostileFactory(network, MODES[mode]), HostileFactory(network)
            network.servers.update({("bad.example", 25): bad, ("good.example", 2525): good})
            sending = sendmessage(
                network, MESSAGE, servers=["dead.example", "bad.example", "good.example"], ports=[25, 25, 2525],
                originator="a@b.example", recipients="c@d.example", timeout=1000.0,
            )
            for _ in range(400):
                network.advance(1.0)
            result = self.successResultOf(sending)
            self.assertEqual(result.server, "good.example:2525")
            self.assertEqual(len(good.messages), 1)

    def test_endless_modes_are_endless(self) -> None:
        """The fake does go on: a client that reads everything gets more every second."""
        for mode, script in MODES.items():
            if not any(isinstance(action, Endless) for action in script.get("connect", ())):
                continue
            network = Network()
            reader = _Reader()
            network.join(reader, HostileFactory(network, script)())
            network.advance(10.0)
            first = reader.octets
            network.advance(10.0)
            self.assertGreater(reader.octets, first, mode)


class _Reader:
    octets = 0

    def makeConnection(self, transport: object) -> None:
        """Nothing is said."""

    def dataReceived(self, data: bytes) -> None:
        """Counted."""
        self.octets += len(data)

    def connectionLost(self, reason: object) -> None:
        """It was not."""
