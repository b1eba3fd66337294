"""How values are written in rows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL
from mailbridge.content import Content
from mailbridge.envelope import Envelope, MailParameters, Origin
from mailbridge.store.changes import Message
from mailbridge.store.rows import origin_text

TEXT = st.none() | st.text(max_size=20)


class OriginTests(SynchronousTestCase):
    """The origin of a message and what MAIL declared, in one text."""

    @given(st.booleans(), st.booleans(), TEXT, TEXT, TEXT, st.text(max_size=20))
    def test_declared_comes_back(self, body_8bit: bool, utf8: bool, ret: str | None, envid: str | None,
                                 user: str | None, helo: str) -> None:
        """Whatever MAIL declared but the size is what a stored message says of itself."""
        origin = Origin("smtp[0]", "192.0.2.1", helo, user, None, 1.0, "ESMTP")
        envelope = Envelope("0123", NULL, (), origin, Content.of(b""), body_8bit, utf8, ret, envid)
        message = Message(1, "0123", "", origin_text(envelope), 1.0, envelope.content)
        self.assertEqual(message.declared, MailParameters(None, body_8bit, utf8, ret, envid))
