"""The SMTP edge over random sessions: what it says of a message is true, and nothing makes it fall over."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreError
from mailbridge.limits import Limits

from .smtp_world import LOOPBACK, PLAIN, STRANGER, TRUSTED, World

PIECES = [
    b"EHLO x\r\n", b"MAIL FROM:<bonnie@example.org>\r\n", b"MAIL FROM:<>\r\n", b"RCPT TO:<bonnie@example.org>\r\n",
    b"RCPT TO:<sales@example.org>\r\n", b"RCPT TO:<nobody@example.org>\r\n", b"DATA\r\n", b".\r\n", b"\r\n",
    b"a: b\r\n", b"received: c\r\n", b"BDAT 4 LAST\r\n", b"BDAT 9\r\n", b"RSET\r\n", PLAIN, b"AUTH LOGIN\r\n",
    b"STARTTLS\r\n", b"\n", b"\r", b"\0\xff", b"x" * 3000, b"NOOP\r\n",
    b"EHLO x\r\nMAIL FROM:<>\r\nRCPT TO:<clyde@example.org>\r\nDATA\r\na: b\r\n\r\nbody\r\n.\r\n",
]
STEPS = st.lists(st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=9).map(b"".join),
    st.sampled_from(["hold", "let go", "fail", "slow", "catch up", "full", "lose", "goodbye"]),
), max_size=12)


class RandomSessionTests(SynchronousTestCase):
    """Random commands, a store with a will of its own, connections that break."""

    @settings(max_examples=150, deadline=None)
    @given(STEPS, st.sampled_from([STRANGER, TRUSTED, LOOPBACK]), st.booleans())
    def test_true_to_its_word(self, steps: list[bytes | str], peer: str, normalise: bool) -> None:
        """As many messages lie in the store as were answered with 250 while somebody listened, none with a bare CR
        or LF; replies are well-formed, and no fault is logged but the store's own."""
        world = World(Limits(hops=2, header_size=2500, errors=100), normalise=normalise)
        client = world.connect(peer)
        said, lost = b"", False
        for step in steps:
            if isinstance(step, bytes):
                if not (client.closed or lost):
                    said += client.say(step)
            elif step == "hold":
                world.store.hold = True
            elif step == "let go":
                world.store.let_go()
            elif step == "fail":
                world.store.let_go(StoreError("disk"))
            elif step in ("slow", "catch up"):
                world.store.slow = step == "slow"
                while world.store.behind:
                    world.store.behind.pop(0).callback(None)
            elif step == "full":
                world.store.free = 0
            elif step == "goodbye":
                world.sessions.goodbye()
            elif not lost:
                client.lose()
                lost = True
            said += client.read()
        world.store.let_go()
        said += client.read()
        if not lost:
            client.lose()
        self.assertIsNotNone(re.fullmatch(rb"(?:[2-5][0-9]{2}[ -][ -~]*\r\n)*", said), said)
        stored = {content for name in ("bonnie", "clyde") for content in world.mail(name)}
        told = len(re.findall(rb"^250 2\.0\.0 Stored as", said, re.MULTILINE))
        self.assertLessEqual(told, len(stored))
        if not lost:
            self.assertEqual(told, len(stored))
        for content in stored:
            self.assertTrue(content.startswith(b"Received: "))
            self.assertNotRegex(content.replace(b"\r\n", b""), rb"[\r\n]")
        self.assertEqual(len(world.sessions), 0)
        self.flushLoggedErrors(StoreError)
        self.assertEqual(self.flushLoggedErrors(), [])
