"""A dry run: what would become of each message, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.fetch.preview import MOST_MESSAGES, preview
from mailbridge.pop3.failure import Kind, UpstreamError
from tests.fetch.bridge_world import BridgeWorld
from tests.fetch.upstream import ADDRESSING, FakeSession, Mailbox, account, message


class TopSession(FakeSession):
    """With TOP."""

    def top(self, number: int, lines: int, write: Callable[[bytes], Any], limit: int | None = None) -> Deferred[int]:
        """The header."""
        octets = self._box.messages[self._listed[number]]
        write(octets[:octets.index(b"\r\n\r\n") + 4])
        return succeed(0)


class NoTopSession(FakeSession):
    """A server that does not know TOP."""

    def top(self, number: int, lines: int, write: Callable[[bytes], Any], limit: int | None = None) -> Deferred[int]:
        """-ERR."""
        return fail(UpstreamError(Kind.REFUSED, "TOP: unknown command"))

    def retrieve(self, number: int, write: Callable[[bytes], Any], limit: int | None = None) -> Deferred[int]:
        """Without a limit."""
        return super().retrieve(number, write, limit)


class PreviewTests(SynchronousTestCase):
    """preview."""

    def setUp(self) -> None:
        self.world = BridgeWorld()
        self.addCleanup(self.world.close)
        self.box = Mailbox()

    def look(self, session: Any = TopSession, bridge: bool = True, **changes: Any) -> dict[str, Any]:
        """The preview of the mailbox."""
        world = self.world
        intake = world.intake if bridge else None
        looking = preview(account(self.box, **changes), lambda _: succeed(session(self.box)), world.store, intake,
                          world.clock.seconds)
        found = self.successResultOf(Deferred.fromCoroutine(looking))
        self.assertEqual((world.commits, self.box.deleted), ([], []))
        return found

    def test_decisions(self) -> None:
        """Each message with its recipients and their routes, the caretaker, what nobody could have; by TOP or RETR."""
        self.box.messages = {
            "a": message(1), "b": message(2, b"nobody@example.org"), "c": message(3, b"x@elsewhere.example"),
        }
        for session, retrieved in ((TopSession, 0), (NoTopSession, 3)):
            found = self.look(session)
            self.assertEqual(len(self.box.retrieved), retrieved)
            self.assertEqual([(each["action"], each["header"]) for each in found["messages"]], [
                ("delivered", "to"), ("caretaker", "to"), ("caretaker", "caretaker")])
            self.assertEqual(found["messages"][0]["recipients"], [
                {"address": "bonnie@example.org", "route": "maildrop"}])
            self.assertEqual(found["messages"][2]["text"], "no-local-recipient")
        found = self.look(addressing=evolve(ADDRESSING, caretaker=None))
        self.assertEqual([each["action"] for each in found["messages"]], ["delivered", "dud", "dud"])

    def test_smtp_server(self) -> None:
        """Where an SMTP server will decide, the recipients are all that can be said."""
        self.box.fill(1)
        (only,) = self.look(bridge=False)["messages"]
        self.assertEqual((only["action"], only["recipients"]), (
            "fetch", [{"address": "bonnie@example.org", "route": ""}]))

    def test_limits(self) -> None:
        """What is too large is not looked at; of many messages the first thousand are shown and all counted."""
        self.box.fill(MOST_MESSAGES + 5)
        found = self.look(size_limit=10)
        self.assertEqual((len(found["messages"]), found["listed"]), (MOST_MESSAGES, MOST_MESSAGES + 5))
        self.assertEqual({each["action"] for each in found["messages"]}, {"too large"})

    def test_failure(self) -> None:
        """What the server refuses is told with what was found out before."""
        refusal = UpstreamError(Kind.LOGIN, "refused")
        looking = preview(account(self.box), lambda _: fail(refusal), self.world.store, None, self.world.clock.seconds)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(looking))["error"], "refused")
