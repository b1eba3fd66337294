"""What a sender is told of one recipient."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.outcome import Delivered, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.queue import fate
from mailbridge.queue.fate import Action, Fate
from mailbridge.reply import Reply
from mailbridge.store.changes import NO_WISHES, Wishes

ENHANCED = st.sampled_from(["", "5.1.1", "4.2.2", "2.0.0", "5.1", "5.1.1.1", "5.1.9999", "x", "5.1.1\r\n"])


class FateTests(SynchronousTestCase):
    """Of deliveries by hand."""

    def test_wants(self) -> None:
        """Without NOTIFY a sender hears of failures and delays; with it, of what it names and nothing else."""
        for notify, heard in (((), "FAILURE DELAY"), (("NEVER",), ""), (("SUCCESS",), "SUCCESS"),
                              (("DELAY", "SUCCESS"), "DELAY SUCCESS"), (("FAILURE",), "FAILURE")):
            found = [word for word in ("FAILURE", "DELAY", "SUCCESS") if fate.wants(Wishes(notify), word)]
            self.assertEqual(found, heard.split(), notify)

    def test_words(self) -> None:
        """A server is quoted with its code, our own words stand alone, a fault of our route is not told."""
        refused = Reply(550, "5.1.1", "no")
        for outcome, words in ((PermanentFailure(refused, server="mx"), ("mx", "550 5.1.1 no")),
                               (PermanentFailure(refused), ("", "no")),
                               (RouteFailure("the password geheim"), ("", "no server has taken the message"))):
            found = fate.failed("bob@x", NO_WISHES, outcome, 1.0)
            self.assertEqual((found.server, found.said), words)

    def test_success(self) -> None:
        """One's own mailbox is `delivered`, a list `expanded`, all else `relayed`."""
        wishes = Wishes((), "rfc822;a@b")
        self.assertEqual(fate.delivered("b@x", wishes, Delivered("250 ok", "mx"), 1.0),
                         Fate("b@x", Action.RELAYED, "2.0.0", "rfc822;a@b", "mx", "250 ok", 1.0))
        self.assertEqual(fate.delivered("b@x", wishes, Delivered("file 7", final=True), 1.0),
                         Fate("b@x", Action.DELIVERED, "2.0.0", "rfc822;a@b", attempted=1.0))
        self.assertEqual([fate.arrived("b@x", wishes, count, 1.0).action for count in (1, 2)],
                         [Action.DELIVERED, Action.EXPANDED])

    @given(ENHANCED | st.text(st.characters(max_codepoint=127), max_size=10), st.integers(400, 599))
    def test_status(self, enhanced: str, code: int) -> None:
        """Whatever status a server gives: a failure has one of its class, well formed."""
        reply = Reply(code, enhanced, "text")
        permanent = fate.failed("b@x", NO_WISHES, PermanentFailure(reply, server="mx"), 1.0)
        self.assertRegex(permanent.status, r"\A5\.[0-9]{1,3}\.[0-9]{1,3}\Z")
        late = fate.delayed("b@x", NO_WISHES, TransientFailure(reply, server="mx"), 1.0, 2.0)
        self.assertRegex(late.status, r"\A4\.[0-9]{1,3}\.[0-9]{1,3}\Z")
        self.assertEqual(fate.failed("b@x", NO_WISHES, TransientFailure(reply, server="mx"), 1.0).status, "4.4.7")
