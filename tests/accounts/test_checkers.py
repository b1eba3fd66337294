"""Who the bridge believes."""

from __future__ import annotations

from attrs import evolve
from twisted.cred.checkers import ICredentialsChecker
from twisted.cred.credentials import ICredentials, IUsernamePassword, UsernamePassword
from twisted.cred.error import UnauthorizedLogin
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailbridge.accounts.checkers import Checker, NothingToCompare, ScramVerifiers
from mailbridge.accounts.credentials import IProof, for_portal
from mailbridge.accounts.passwords import make_credentials
from mailbridge.accounts.pool import PoolFull
from mailbridge.accounts.verified import VerifiedLogins
from mailbridge.sasl.values import Apop, CramMD5, Credentials, Password, Proof
from mailbridge.store.changes import People

from .people import BONNIE, CLYDE, ManualPool, directory


class CheckerTests(SynchronousTestCase):
    """Avatar ids for credentials."""

    def setUp(self) -> None:
        self.pool = ManualPool()
        self.directory = directory()
        self.checker = Checker(self.directory, self.pool, VerifiedLogins(b"k" * 32, Clock().seconds))

    def ask(self, credentials: Credentials) -> bytes | tuple[()]:
        """The answer, after all hashing is done."""
        answer = self.checker.requestAvatarId(for_portal(credentials))
        self.pool.work_off()
        return self.successResultOf(answer)

    def test_interface(self) -> None:
        """It is a cred checker like any other, for plain values that are cred credentials."""
        verifyObject(ICredentialsChecker, self.checker)
        for value in (Password(b"a", b"b"), CramMD5(b"a", b"b", b"c"), Proof(b"a", True)):
            self.assertTrue(ICredentials.providedBy(for_portal(value)))
            self.assertEqual(for_portal(value, "192.0.2.1").peer, "192.0.2.1")  # type: ignore[attr-defined]
            self.assertNotIn("b'b'", repr(for_portal(value)))
        verifyObject(IUsernamePassword, for_portal(Password(b"a", b"b")))
        verifyObject(IProof, for_portal(Proof(b"a", True)))

    def test_password(self) -> None:
        """Name and password in any case of the name, with a local domain or without, give the user's id."""
        for name in (b"bonnie", b"BONNIE", b"bonnie@example.org", b"\xef\xbd\x82onnie"):
            self.assertEqual(b"7", self.ask(Password(name, b"right")), name)

    def test_wrong(self) -> None:
        """A wrong password, an unknown name and a name that is no text fail alike, at the price of one hash each."""
        for name, password in ((b"bonnie", b"wrong"), (b"ghost", b"right"), (b"\xff", b"right"),
                               (b"bonnie@else.org", b"right")):
            answer = self.checker.requestAvatarId(for_portal(Password(name, password)))
            self.assertEqual(1, self.pool.work_off(), name)
            self.failureResultOf(answer, UnauthorizedLogin)

    def test_second_login_is_free(self) -> None:
        """A verified login needs no hash again; a wrong password needs one each time."""
        self.ask(Password(b"bonnie", b"right"))
        again = self.checker.requestAvatarId(for_portal(Password(b"bonnie", b"right")))
        self.assertEqual(b"7", self.successResultOf(again))
        self.checker.requestAvatarId(for_portal(Password(b"bonnie", b"wrong"))).addErrback(lambda _: None)
        self.assertEqual(1, len(self.pool.waiting))
        self.pool.work_off()

    def test_many_at_once(self) -> None:
        """Twenty sessions that log in at the same moment cost one hash; one that hangs up disturbs no other."""
        answers = [self.checker.requestAvatarId(for_portal(Password(b"bonnie", b"right"))) for _ in range(20)]
        answers[3].addErrback(lambda _: None).cancel()
        self.assertEqual(1, self.pool.work_off())
        del answers[3]
        self.assertEqual([b"7"] * 19, [self.successResultOf(answer) for answer in answers])

    def test_password_changed_or_user_removed(self) -> None:
        """A new password or a removed user forgets the old login at once, even one that is being verified."""
        self.ask(Password(b"bonnie", b"right"))
        changed = evolve(BONNIE, credentials=make_credentials("new"))
        for people in (People((changed,), ()), People((), ())):
            self.directory.replace(people)
            answer = self.checker.requestAvatarId(for_portal(Password(b"bonnie", b"right")))
            self.pool.work_off()
            self.failureResultOf(answer, UnauthorizedLogin)
        self.directory.replace(People((BONNIE,), ()))
        answer = self.checker.requestAvatarId(for_portal(Password(b"bonnie@example.org", b"right")))
        self.assertEqual(b"7", self.successResultOf(answer))

    def test_removed_while_verifying(self) -> None:
        """A user who is removed while the hash is being made does not get in."""
        answer = self.checker.requestAvatarId(for_portal(Password(b"bonnie", b"right")))
        self.directory.replace(People((), ()))
        self.pool.work_off()
        self.failureResultOf(answer, UnauthorizedLogin)

    def test_digests(self) -> None:
        """CRAM-MD5 and APOP work for a user whose secret is kept; for others there is nothing to compare with."""
        for scheme in (CramMD5, Apop):
            digest = scheme(b"clyde", b"<1@x>", scheme(b"", b"<1@x>", b"").expected(b"gun"))
            self.assertEqual(b"8", self.ask(digest))
            with self.assertRaises(UnauthorizedLogin):
                self.checker.requestAvatarId(for_portal(evolve(digest, digest=b"0" * 32)))
            for name in (b"bonnie", b"ghost"):
                with self.assertRaises(NothingToCompare):
                    self.checker.requestAvatarId(for_portal(evolve(digest, username=name)))

    def test_proof(self) -> None:
        """A proof counts as what it says, for users who exist."""
        self.assertEqual(b"7", self.ask(Proof(b"Bonnie", True)))
        for proof in (Proof(b"bonnie", False), Proof(b"ghost", True)):
            with self.assertRaises(UnauthorizedLogin):
                self.checker.requestAvatarId(for_portal(proof))

    def test_queue_is_full(self) -> None:
        """While too many hashes wait the next is not taken; verified logins still go through."""
        self.ask(Password(b"bonnie", b"right"))
        self.pool.room = 0
        self.failureResultOf(self.checker.requestAvatarId(for_portal(Password(b"bonnie", b"wrong"))), PoolFull)
        self.assertEqual(b"7", self.ask(Password(b"bonnie", b"right")))
        self.pool.room = 1
        answer = self.checker.requestAvatarId(for_portal(Password(b"bonnie", b"wrong")))
        self.pool.work_off()
        self.failureResultOf(answer, UnauthorizedLogin)

    def test_turns(self) -> None:
        """The pool hears whose try it is, an IPv6 client by its /64; two clients never wait for one hash."""
        for peer in ("192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8::2", ""):
            self.checker.requestAvatarId(for_portal(Password(b"bonnie", b"wrong"), peer)).addErrback(lambda _: None)
        self.checker.requestAvatarId(UsernamePassword(b"bonnie", b"wrong")).addErrback(lambda _: None)
        self.assertEqual(self.pool.whose, [
            ("192.0.2.1", b"bonnie"), ("192.0.2.2", b"bonnie"), ("20010db800000000", b"bonnie"), ("", b"bonnie"),
        ])

    def test_damaged_hash(self) -> None:
        """A stored hash that cannot be read is our fault, not a wrong password."""
        broken = evolve(BONNIE, credentials=evolve(BONNIE.credentials, scrypt="?"))
        self.directory.replace(People((broken,), ()))
        answer = self.checker.requestAvatarId(for_portal(Password(b"bonnie", b"right")))
        self.pool.work_off()
        self.failureResultOf(answer, ValueError)


class ScramVerifiersTests(SynchronousTestCase):
    """Verifiers by name."""

    def setUp(self) -> None:
        self.verifiers = ScramVerifiers(directory(), b"s" * 32)

    def test_true_one(self) -> None:
        """A user's own verifier is found under each spelling of the name."""
        for name in ("bonnie", "Bonnie@EXAMPLE.org"):
            self.assertEqual(BONNIE.credentials.scram, self.verifiers.scram(name).text)

    def test_false_one(self) -> None:
        """An unknown name has one verifier in all its spellings, and a different one elsewhere, as a user would."""
        false = self.verifiers.scram("ghost")
        self.assertEqual(false, self.verifiers.scram("GHOST@example.org"))
        self.assertNotEqual(false, self.verifiers.scram("ghost@elsewhere.org"))
        self.assertEqual(self.verifiers.scram("bonnie").iterations, false.iterations)
        self.assertEqual(len(self.verifiers.scram("bonnie").salt), len(false.salt))

    def test_damaged_one(self) -> None:
        """A stored verifier that cannot be read makes SCRAM fail for that user and is logged; nothing breaks."""
        broken = evolve(CLYDE, credentials=evolve(CLYDE.credentials, scram="?"))
        with capturedLogs() as events:
            false = ScramVerifiers(directory(broken), b"s" * 32).scram("clyde")
        self.assertEqual(4096, false.iterations)
        self.assertEqual([("clyde", "error")], [(event["name"], event["log_level"].name) for event in events])
