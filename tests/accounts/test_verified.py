"""Logins that need no hash again."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.accounts.passwords import make_credentials
from mailbridge.accounts.verified import VerifiedLogins

from .people import BONNIE, CLYDE


class VerifiedLoginsTests(SynchronousTestCase):
    """What is remembered, and for how long."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.verified = VerifiedLogins(b"k" * 32, self.clock.seconds, largest=3)

    def test_an_hour_after_the_last_use(self) -> None:
        """A mail program that polls every 50 minutes never pays twice; one that stays away for an hour does."""
        token = self.verified.token(BONNIE, b"right")
        self.assertFalse(self.verified.knows(token))
        self.verified.remember(token)
        for _ in range(5):
            self.clock.advance(3000)
            self.assertTrue(self.verified.knows(token))
        self.clock.advance(3601)
        self.assertFalse(self.verified.knows(token))
        self.assertEqual(0, len(self.verified))

    def test_belongs_to_one_password_of_one_user(self) -> None:
        """Another user, another password, or the same password set anew are not known."""
        self.verified.remember(self.verified.token(BONNIE, b"right"))
        changed = evolve(BONNIE, credentials=make_credentials("right"))
        for user, password in ((CLYDE, b"right"), (BONNIE, b"wrong"), (changed, b"right")):
            self.assertFalse(self.verified.knows(self.verified.token(user, password)))

    def test_bounded(self) -> None:
        """Only so many are kept; those that were longest unused go first."""
        tokens = [self.verified.token(BONNIE, b"%d" % number) for number in range(4)]
        for token in tokens[:3]:
            self.verified.remember(token)
        self.verified.knows(tokens[0])
        self.verified.remember(tokens[3])
        self.assertEqual([True, False, True, True], [self.verified.knows(token) for token in tokens])
