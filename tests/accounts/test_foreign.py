"""Logins by a checker that the operator names."""

from __future__ import annotations

from pathlib import Path

from twisted.cred.checkers import FilePasswordDB, ICredentialsChecker, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.credentials import ICredentials, IUsernamePassword
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.mail.pop3 import IMailbox
from twisted.mail.smtp import IMessageDelivery
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from mailbridge.accounts.foreign import PATIENCE, CheckerFailed, foreign_login, load_checker, sends_as_himself
from mailbridge.accounts.login import Avatar, Login, LoginLater, WrongPassword
from mailbridge.accounts.throttle import Throttle
from mailbridge.address import Address
from mailbridge.errors import StartError
from mailbridge.sasl.values import CramMD5, Password

HERE = "tests.accounts.foreign_checkers"


@implementer(ICredentialsChecker)
class Told:
    """A checker that gives what it is told to."""

    credentialInterfaces = (IUsernamePassword,)

    def __init__(self, answer: object) -> None:
        self.answer = answer

    def requestAvatarId(self, credentials: ICredentials) -> Deferred[bytes | tuple[()]]:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer  # type: ignore[return-value]


class LoadTests(SynchronousTestCase):
    """The dotted name of `authentication_lib`."""

    def test_found(self) -> None:
        """An object, a class and a function are taken, from modules that were not imported before as well."""
        for name in ("memory", "Made", "make"):
            checker = load_checker(f"{HERE}.{name}")
            self.assertTrue(verifyObject(ICredentialsChecker, checker))

    def test_not_found(self) -> None:
        """What cannot be used stops the start with one line: the setting, the name and the reason."""
        for dotted, reason in [
            ("", "written like"), ("memory", "written like"), ("a..b", "written like"), ("os/../x.y", "written like"),
            ("no_such_module.checker", "No module named 'no_such_module'"), (f"{HERE}.nothing", "has no nothing"),
            ("tests.accounts.nowhere.checker", "has no nowhere"), (f"{HERE}.number", "ICredentialsChecker"),
            (f"{HERE}.broken", "OSError: no data base"), (f"{HERE}.anonymous", "IUsernamePassword"),
            ("twisted.cred.checkers.FilePasswordDB", "TypeError"), ("os.getcwd", "ICredentialsChecker"),
        ]:
            with self.assertRaises(StartError) as caught:
                load_checker(dotted)
            text = str(caught.exception)
            self.assertTrue(text.startswith("receiver.authentication_lib: "))
            self.assertIn(dotted, text)
            self.assertIn(reason, text)
            self.assertNotIn("\n", text)


class ForeignLoginTests(SynchronousTestCase):
    """A listener whose clients a foreign checker judges."""

    def setUp(self) -> None:
        self.clock = Clock()

    def login(self, checker: ICredentialsChecker) -> Login:
        return foreign_login(checker, self.delivery_for, Throttle(self.clock.seconds), "bridge.example.org",
                             lambda size: b"\1" * size, self.clock)

    def delivery_for(self, address: str) -> Avatar:
        return IMessageDelivery, f"delivery of {address}", lambda: None

    def attempt(self, login: Login, name: bytes, password: bytes) -> Deferred[Avatar]:
        return login.login(Password(name, password), "192.0.2.1", IMessageDelivery)

    def test_in_memory(self) -> None:
        """Twisted's checker in memory lets the right password in, and only that."""
        login = self.login(InMemoryUsernamePasswordDatabaseDontUse(**{"lamp@plant.example": b"right"}))
        avatar = self.successResultOf(self.attempt(login, b"lamp@plant.example", b"right"))
        self.assertEqual(avatar[1], "delivery of lamp@plant.example")
        self.failureResultOf(self.attempt(login, b"lamp@plant.example", b"wrong"), WrongPassword)
        self.failureResultOf(self.attempt(login, b"nobody@plant.example", b"right"), WrongPassword)

    def test_password_file(self) -> None:
        """So does its checker of a file."""
        path = Path(self.mktemp())
        path.write_bytes(b"lamp@plant.example:right\n")
        login = self.login(FilePasswordDB(str(path)))
        avatar = self.successResultOf(self.attempt(login, b"lamp@plant.example", b"right"))
        self.assertEqual(avatar[1], "delivery of lamp@plant.example")
        self.failureResultOf(self.attempt(login, b"lamp@plant.example", b"wrong"), WrongPassword)

    def test_mechanisms(self) -> None:
        """Only what shows the password is offered, even where the checker takes digests too."""
        login = self.login(InMemoryUsernamePasswordDatabaseDontUse())
        self.assertEqual(login.mechanisms("192.0.2.1").names(True), ("PLAIN", "LOGIN"))
        self.assertFalse(login.takes_apop)
        digest = login.login(CramMD5(b"lamp", b"challenge", b"0" * 32), "192.0.2.1", IMessageDelivery)
        self.failureResultOf(digest)

    def test_guesses(self) -> None:
        """Who guesses has to wait, also for the right password."""
        login = self.login(InMemoryUsernamePasswordDatabaseDontUse(lamp=b"right"))
        for _ in range(5):
            self.failureResultOf(self.attempt(login, b"lamp", b"wrong"), WrongPassword)
        self.failureResultOf(self.attempt(login, b"lamp", b"right"), LoginLater)
        self.clock.advance(1)
        self.successResultOf(self.attempt(login, b"lamp", b"right"))

    def test_later(self) -> None:
        """A checker may answer later."""
        answer: Deferred[bytes] = Deferred()
        waiting = self.attempt(self.login(Told(answer)), b"lamp", b"right")
        self.assertNoResult(waiting)
        answer.callback(b"lamp@plant.example")
        self.assertEqual(self.successResultOf(waiting)[1], "delivery of lamp@plant.example")

    def test_never(self) -> None:
        """A checker that never answers is a fault of this side after half a minute."""
        waiting = self.attempt(self.login(Told(Deferred())), b"lamp", b"right")
        self.clock.advance(PATIENCE)
        self.failureResultOf(waiting, CheckerFailed)

    def test_odd_answers(self) -> None:
        """A name as text is a name; no name, and everybody's, is a wrong password."""
        named = self.successResultOf(self.attempt(self.login(Told("lamp")), b"x", b"y"))
        self.assertEqual(named[1], "delivery of lamp")
        for odd in ((), b"", "", None, 7):
            self.failureResultOf(self.attempt(self.login(Told(odd)), b"x", b"y"), WrongPassword)

    def test_no_password_in_the_log(self) -> None:
        """What a checker says when it breaks may hold the password: only its type is told."""
        login = self.login(Told(KeyError("hunter2")))
        failure = self.failureResultOf(self.attempt(login, b"x", b"hunter2"), CheckerFailed)
        self.assertIn("KeyError", str(failure.value))
        self.assertNotIn("hunter2", failure.getTraceback())

    def test_no_mailbox(self) -> None:
        """Who is known to a foreign checker only has no mailbox."""
        login = self.login(InMemoryUsernamePasswordDatabaseDontUse(lamp=b"right"))
        self.failureResultOf(login.login(Password(b"lamp", b"right"), "192.0.2.1", IMailbox), NotImplementedError)


class SenderTests(SynchronousTestCase):
    """Whom a client may send as."""

    def test_table(self) -> None:
        """The address that was the login, in any case, and no other."""
        for login, sender, allowed in [
            ("lamp@plant.example", Address("lamp", "plant.example"), True),
            ("Lamp@PLANT.example", Address("lAmp", "plant.EXAMPLE"), True), ("lamp", Address("lamp"), True),
            ("lamp", Address("lamp", "plant.example"), False), ("lamp@plant.example", Address("lamp"), False),
            ("lamp@plant.example", Address(""), False),
            ("lamp@plant.example", Address("lamp+x", "plant.example"), False),
        ]:
            self.assertEqual(sends_as_himself(login, sender), allowed, (login, sender))
