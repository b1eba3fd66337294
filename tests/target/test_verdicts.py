"""Which exception is which trouble."""

from twisted.internet import error as net
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.names import error as dns
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.edge.connection import EarlyAnswer, Interrupted, TLSFailed, TooSlow
from mailbridge.edge.sending import TLSRefused
from mailbridge.errors import StoreError, StoreFull
from mailbridge.outcome import PermanentFailure, RouteFailure, TransientFailure
from mailbridge.queue.verdict import Trouble, Way
from mailbridge.smtp.answer import Answer, AnswerError
from mailbridge.smtp.client import LoginFailed, Refused, Unable
from mailbridge.smtp.steps import Phase
from mailbridge.target.verdicts import ROWS, outcome, trouble, try_next

CASES = (
    (Interrupted(Phase.MAIL, "gone", False), Trouble.DROPPED),
    (Interrupted(Phase.END, "gone", True), Trouble.AFTER_CONTENT),
    (Interrupted(Phase.HELLO, "gone", False), Trouble.AT_THE_START),
    (TooSlow(Phase.GREETING, "slow", False), Trouble.AT_THE_START),
    (TooSlow(Phase.RCPT, "slow", False), Trouble.TOO_SLOW),
    (TooSlow(Phase.END, "slow", True), Trouble.AFTER_CONTENT),
    (Unable("5.3.4", "large"), Trouble.TOO_LARGE),
    (Unable("5.6.7", "utf8"), Trouble.UTF8),
    (Unable("5.6.3", "8 bit"), Trouble.EIGHT_BIT),
    (Unable("5.6.0", "other"), Trouble.UNABLE),
    (LoginFailed("no mechanism"), Trouble.LOGIN_FAILED),
    (TLSFailed("expired"), Trouble.TLS_FAILED),
    (TLSRefused("not offered"), Trouble.TLS_REFUSED),
    (AnswerError("nonsense"), Trouble.NOT_SMTP),
    (StoreError("unreadable"), Trouble.STORE),
    (StoreFull("full"), Trouble.STORE),
    (dns.DNSNameError("x"), Trouble.NO_DOMAIN),
    (dns.DNSServerError("x"), Trouble.DNS_FAILED),
    (dns.DNSQueryTimeoutError("x"), Trouble.DNS_TIMEOUT),
    (dns.ResolverError("x"), Trouble.DNS_FAILED),
    (net.DNSLookupError("x"), Trouble.DNS_FAILED),
    (net.ConnectionRefusedError("x"), Trouble.UNREACHABLE),
    (net.TimeoutError("x"), Trouble.UNREACHABLE),
    (net.ConnectionLost("x"), Trouble.DROPPED),
    (CancelledError(), Trouble.STOPPED),
    (TimeoutError("x"), Trouble.TIME),
    (OSError(24, "too many open files"), Trouble.SYSTEM),
    (ZeroDivisionError("password=hush"), Trouble.OWN_FAULT),
    (MemoryError(), Trouble.OWN_FAULT),
)


class VerdictsTests(SynchronousTestCase):
    """trouble, outcome and try_next."""

    def test_table(self):
        """Each exception of the client, DNS, the network, the store and of our bugs is the trouble it should be."""
        for error, expected in CASES:
            self.assertIs(trouble(error), expected, repr(error))

    def test_every_row_is_walked(self):
        """No row of the table is without a case above."""
        for kinds, _ in ROWS:
            self.assertTrue(any(isinstance(error, kinds) for error, _ in CASES), kinds)

    def test_attempt_time(self):
        """A Deferred that ran into its time limit is out of time, not out of order."""
        clock, found = Clock(), []
        Deferred().addTimeout(5, clock).addErrback(lambda failure: found.append(failure.value))
        clock.advance(6)
        self.assertIs(trouble(found[0]), Trouble.TIME)

    def test_answers(self):
        """A refusal is judged by its phase and code; one that came amid the content as the end of it."""
        answer = Answer(550, "5.1.1", ("no",))
        self.assertIsInstance(outcome(Refused(Phase.RCPT, answer), Way.MX), PermanentFailure)
        self.assertIsInstance(outcome(Refused(Phase.GREETING, Answer(554, "", ("go",))), Way.MX), TransientFailure)
        self.assertIsInstance(outcome(EarlyAnswer(Answer(552, "", ("big",))), Way.MX), PermanentFailure)
        self.assertIsInstance(outcome(LoginFailed("no", Answer(535, "", ("no",))), Way.SMART_HOST), RouteFailure)
        self.assertIsInstance(outcome(LoginFailed("no", Answer(454, "", ("later",))), Way.SMART_HOST), TransientFailure)

    def test_bugs_tell_nothing(self):
        """The text of an unknown exception goes to nobody: it could hold a secret."""
        self.assertNotIn("hush", repr(outcome(ZeroDivisionError("password=hush"), Way.MX)))

    def test_try_next(self):
        """Another server is tried when this one cannot be had, not when it has spoken or may have the message."""
        self.assertTrue(try_next(net.ConnectionRefusedError()))
        self.assertTrue(try_next(Refused(Phase.GREETING, Answer(554, "", ()))))
        self.assertFalse(try_next(Refused(Phase.RCPT, Answer(550, "", ()))))
        self.assertFalse(try_next(Interrupted(Phase.END, "gone", True)))
        self.assertFalse(try_next(LoginFailed("no", Answer(535, "", ()))))
