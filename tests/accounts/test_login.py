"""Logging in through any portal, with the throttle in front."""

from __future__ import annotations

from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import IUsernamePassword
from twisted.cred.error import LoginDenied
from twisted.cred.portal import IRealm, Portal
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.logger import LogEvent, formatEvent, globalLogPublisher
from twisted.mail.pop3 import IMailbox
from twisted.mail.smtp import IMessageDelivery
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import Interface, implementer
from zope.interface.verify import verifyObject

from mailbridge.accounts.checkers import Checker, ScramVerifiers
from mailbridge.accounts.login import Avatar, Login, LoginLater, WrongPassword
from mailbridge.accounts.realm import Realm
from mailbridge.accounts.throttle import Throttle
from mailbridge.accounts.verified import VerifiedLogins
from mailbridge.errors import StoreError
from mailbridge.sasl.values import Apop, CramMD5, Credentials, Password, Proof
from mailbridge.store.changes import User

from .people import ManualPool, directory


class LoginTests(SynchronousTestCase):
    """Our own checker and realm."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.pool = ManualPool()
        self.left: list[str] = []
        self.secrets = True
        self.mailbox: Deferred[Avatar] | None = None
        people = directory()
        self.throttle = Throttle(self.clock.seconds)
        self.realm = Realm(people, self.delivery_for, self.mailbox_for)
        portal = Portal(self.realm, [Checker(people, self.pool, VerifiedLogins(b"k" * 32, self.clock.seconds))])
        self.login = Login(portal, self.throttle, "bridge.example.org", lambda size: b"\1" * size,
                           ScramVerifiers(people, b"s" * 32), lambda: self.secrets)

    def delivery_for(self, user: User) -> Avatar:
        return IMessageDelivery, f"delivery of {user.name}", lambda: self.left.append(user.name)

    def mailbox_for(self, user: User) -> Avatar | Deferred[Avatar]:
        return self.mailbox or (IMailbox, f"mailbox of {user.name}", lambda: None)

    def attempt(self, credentials: Credentials, peer: str = "192.0.2.1",
                interface: type[Interface] = IMessageDelivery) -> Deferred[Avatar]:
        answer = self.login.login(credentials, peer, interface)
        self.pool.work_off()
        return answer

    def test_avatars(self) -> None:
        """SMTP gets a delivery and POP3 a mailbox of the user who logged in."""
        verifyObject(IRealm, self.realm)
        right = Password(b"bonnie", b"right")
        self.assertEqual("delivery of bonnie", self.successResultOf(self.attempt(right))[1])
        self.assertEqual("mailbox of bonnie", self.successResultOf(self.attempt(right, interface=IMailbox))[1])
        self.assertEqual("delivery of clyde", self.successResultOf(self.attempt(Proof(b"clyde", True)))[1])
        self.failureResultOf(self.attempt(right, interface=Interface), NotImplementedError)

    def test_wrong_password_then_later(self) -> None:
        """Five wrong passwords in any spelling of the name, then even the right one has to wait; elsewhere it works."""
        for name in (b"bonnie", b"Bonnie", b"bonnie@example.org", b"bonnie@x", b"bon\xc2\xadnie"):
            self.failureResultOf(self.attempt(Password(name, b"wrong")), WrongPassword)
        right = Password(b"bonnie", b"right")
        self.assertEqual(1, self.failureResultOf(self.attempt(right), LoginLater).value.seconds)
        self.successResultOf(self.attempt(right, peer="192.0.2.2"))
        self.clock.advance(1)
        self.successResultOf(self.attempt(right))

    def test_right_password_resets(self) -> None:
        """Who gets it right may be wrong four times again."""
        for _ in range(5):
            for _ in range(4):
                self.failureResultOf(self.attempt(Password(b"bonnie", b"wrong")), WrongPassword)
            self.successResultOf(self.attempt(Password(b"bonnie", b"right")))
            self.clock.advance(3600)

    def test_guesses_side_by_side(self) -> None:
        """Twenty guesses at once tell a guesser no more than five: the rest get no verdict, right or wrong."""
        answers = [self.login.login(Password(b"bonnie", b"%d" % n), "192.0.2.1", IMessageDelivery) for n in range(19)]
        answers.append(self.login.login(Password(b"bonnie", b"right"), "192.0.2.1", IMessageDelivery))
        self.pool.work_off()
        failures = [self.failureResultOf(answer, WrongPassword, LoginLater).type for answer in answers]
        self.assertEqual([WrongPassword] * 5 + [LoginLater] * 15, failures)
        self.assertEqual(["bonnie"], self.left, "the avatar that was not handed out is closed")

    def test_wrong_proofs(self) -> None:
        """SCRAM guesses count like others, and the exchange stops telling right from wrong."""
        may_try = self.login.mechanisms("192.0.2.1").may_try
        self.assertTrue(may_try(b"bonnie"))
        for _ in range(5):
            self.failureResultOf(self.attempt(Proof(b"bonnie", False)), WrongPassword)
        self.assertFalse(may_try(b"BONNIE@example.org"))
        self.assertTrue(self.login.mechanisms("192.0.2.2").may_try(b"bonnie"))

    def test_acting_as_another(self) -> None:
        """The right password does not let anyone act as somebody else."""
        self.failureResultOf(self.attempt(Password(b"bonnie", b"right", b"clyde")), WrongPassword)
        self.successResultOf(self.attempt(Password(b"bonnie", b"right", b"BONNIE")))

    def test_digest_without_secret(self) -> None:
        """A program that tries CRAM-MD5 first is not held to be a guesser, known user or not."""
        for _ in range(20):
            for name in (b"bonnie", b"ghost"):
                self.failureResultOf(self.attempt(CramMD5(name, b"<1@x>", b"0" * 32)), WrongPassword)
        self.successResultOf(self.attempt(Password(b"bonnie", b"right")))

    def test_wrong_digests_count(self) -> None:
        """Guessing a kept secret through APOP is throttled as any other guessing."""
        for _ in range(5):
            self.failureResultOf(self.attempt(Apop(b"clyde", b"<1@x>", b"0" * 32)), WrongPassword)
        self.failureResultOf(self.attempt(Password(b"clyde", b"gun")), LoginLater)

    def test_our_own_fault(self) -> None:
        """A failing store is neither a wrong password nor counted as one."""
        for _ in range(9):
            self.mailbox = fail(StoreError("no disk"))
            self.failureResultOf(self.attempt(Password(b"bonnie", b"right"), interface=IMailbox), StoreError)
        self.mailbox = succeed((IMailbox, "back", lambda: None))
        answer = self.attempt(Password(b"bonnie", b"right"), interface=IMailbox)
        self.assertEqual("back", self.successResultOf(answer)[1])

    def test_log_of_wrong_passwords(self) -> None:
        """The log names the user who was tried, and never a name that nobody has: it may be a password."""
        events: list[LogEvent] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        wrong: tuple[Credentials, ...] = (
            Password(b"BONNIE@example.org", b"guess"), Password(b"open sesame", b"guess"), Proof(b"clyde", False),
            Proof(b"open sesame", False), Apop(b"clyde", b"<1@x>", b"0" * 32),
        )
        for credentials in wrong:
            self.failureResultOf(self.attempt(credentials), WrongPassword)
        told = [formatEvent(event) for event in events]
        names = ("user 'bonnie'", "an unknown name", "user 'clyde'", "an unknown name", "user 'clyde'")
        self.assertEqual(told, [f"wrong password for {name} from 192.0.2.1" for name in names])
        self.assertNotRegex(repr(events), "sesame|guess")

    def test_too_much_to_do(self) -> None:
        """When too many hashes wait, a client is told to come back, and it does not count as a guess."""
        self.pool.room = 0
        for _ in range(9):
            self.failureResultOf(self.attempt(Password(b"bonnie", b"wrong")), LoginLater)
        self.pool.room = 1
        self.successResultOf(self.attempt(Password(b"bonnie", b"right")))

    def test_mechanisms(self) -> None:
        """SCRAM comes first, passwords in clear only under TLS, CRAM-MD5 only while somebody can use it."""
        names = self.login.mechanisms("192.0.2.1").names
        self.assertEqual(("SCRAM-SHA-256", "PLAIN", "LOGIN", "CRAM-MD5"), names(True))
        self.assertEqual(("SCRAM-SHA-256", "CRAM-MD5"), names(False))
        self.assertTrue(self.login.takes_apop)
        self.secrets = False
        self.assertEqual(("SCRAM-SHA-256",), self.login.mechanisms("192.0.2.1").names(False))
        self.assertFalse(self.login.takes_apop)


@implementer(IRealm)
class AnyRealm:
    """A stock realm that gives the avatar id back, or denies it."""

    def requestAvatar(self, avatarId: bytes, mind: object, *interfaces: type[Interface]) -> Avatar:
        """The avatar is the name."""
        if avatarId == b"barred":
            raise LoginDenied("not today")
        return interfaces[0], avatarId, lambda: None


class PasswordsOnly:
    """A foreign checker that knows nothing of digests."""

    credentialInterfaces = (IUsernamePassword,)


class ForeignPortalTests(SynchronousTestCase):
    """Code written for twisted.cred, unchanged."""

    def setUp(self) -> None:
        checker = InMemoryUsernamePasswordDatabaseDontUse(bonnie=b"right", barred=b"right")
        self.login = Login(Portal(AnyRealm(), [checker]), Throttle(Clock().seconds), "x.org", lambda size: b"\1" * size)

    def test_mechanisms(self) -> None:
        """Only what its checkers can judge is offered: no SCRAM, and no digests where they are unknown."""
        self.assertEqual(("PLAIN", "LOGIN", "CRAM-MD5"), self.login.mechanisms("x").names(True))
        portal = Portal(AnyRealm(), [PasswordsOnly()])  # type: ignore[list-item]
        login = Login(portal, Throttle(Clock().seconds), "x.org", lambda size: b"\1" * size)
        self.assertEqual(("PLAIN", "LOGIN"), login.mechanisms("x").names(True))
        self.assertFalse(login.takes_apop)

    def test_logins(self) -> None:
        """Password and digest are judged by the foreign checker; its refusals are wrong passwords."""
        digest = CramMD5(b"bonnie", b"<1@x>", CramMD5(b"", b"<1@x>", b"").expected(b"right"))
        for credentials in (Password(b"bonnie", b"right"), digest):
            self.assertEqual(b"bonnie", self.successResultOf(self.login.login(credentials, "x", IMessageDelivery))[1])
        for credentials in (Password(b"bonnie", b"wrong"), Password(b"ghost", b"right")):
            self.failureResultOf(self.login.login(credentials, "x", IMessageDelivery), WrongPassword)

    def test_denied(self) -> None:
        """A realm that refuses a login for its own reason is heard, and no password was wrong."""
        for _ in range(9):
            self.failureResultOf(self.login.login(Password(b"barred", b"right"), "x", IMessageDelivery), LoginDenied)
