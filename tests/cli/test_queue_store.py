"""`mailbridge queue` as a process: on the store while no bridge runs, and through the socket of one that does."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from mailbridge.address import parse_mailbox
from mailbridge.admin.control import listen
from mailbridge.content import Content
from mailbridge.envelope import Envelope, Origin
from mailbridge.store.changes import Accept, LaneState, Queued, SetLane
from mailbridge.store.sqlite import open_store
from tests.admin.queue_world import QueueWorld
from tests.cli import test_connect

CONFIG = 'hostname = "b.example.org"\nstate = "state"\n'
RECEIVED = 1_000_000.0


class QueueProcessTests(TestCase):
    """Real processes."""

    timeout = 120
    mailbridge = test_connect.CommandTests.mailbridge

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mailbridge-"))  # trial's own may be too deep for a socket
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "mailbridge.toml").write_text(CONFIG)

    async def fill(self) -> None:
        """A store with two messages for three recipients, and a route that paused itself."""
        died: Deferred[object] = Deferred()
        store = open_store(self.folder / "state", reactor, on_death=died.errback)
        origin = Origin("smtp[0]", "10.0.0.1", "pc", None, None, RECEIVED, "ESMTP")
        for queue_id, sender, recipients in (("aaaa", "bonnie@example.org", ("x@one.example", "y@two.example")),
                                             ("bbbb", "clyde@example.org", ("x@one.example",))):
            envelope = Envelope(queue_id, parse_mailbox(sender.encode()), (), origin, Content.of(b"Subject: x\r\n\r\n"))
            queued = tuple(Queued(recipient, "relay:mx", recipient[2:], RECEIVED) for recipient in recipients)
            await store.commit(Accept(envelope, (), queued))
        lanes = await store.lanes()
        await store.commit(SetLane(lanes[0].id, LaneState.PAUSED, "535 5.7.8 no"))
        await store.close()

    async def test_without_a_bridge(self) -> None:
        """While no bridge runs the commands work on the store itself, with the same words and exit codes."""
        await self.fill()
        code, out, err = await self.mailbridge("queue", "list", "--sender", "@EXAMPLE.org", "--json")
        self.assertEqual((0, ["aaaa", "aaaa", "bbbb"], ""),
                         (code, [json.loads(line)["queue_id"] for line in out.splitlines()], err))
        code, out, _ = await self.mailbridge("queue", "stats")
        self.assertIn("ALARM: relay:mx is paused for one.example: 535 5.7.8 no; 2 deliveries wait", out)
        self.assertIn("Subject: x", (await self.mailbridge("queue", "show", "aaaa"))[1])
        told = await self.mailbridge("queue", "remove", "--recipient", "x@one.example", typed=b"y\n")
        self.assertEqual((0, True), (told[0], told[1].endswith("2 deliveries are removed\n")), told)
        told = await self.mailbridge("clearqueue")
        self.assertEqual((1, True), (told[0], "nothing was removed" in told[2]), told)
        self.assertEqual("1 delivery is removed\n", (await self.mailbridge("clearqueue", "--yes"))[1])
        self.assertEqual("nothing waits\n", (await self.mailbridge("queue", "list"))[1])

    async def test_through_the_socket(self) -> None:
        """While a bridge runs it is asked, page by page, and its store is left alone."""
        world = QueueWorld()
        world.accept("aaaa", "a@b", *((f"u{number}@x", "relay:mx", "x") for number in range(1200)))
        state = self.folder / "state"
        state.mkdir()
        (state / "mail.db").touch()
        asked: list[str] = []

        async def run(command: str, arguments: dict[str, object]) -> object:
            asked.append(command)
            return await world.ask(command, arguments)

        port = listen(reactor, state, run)  # type: ignore[arg-type]
        self.addCleanup(port.stopListening)
        code, out, err = await self.mailbridge("queue", "list")
        self.assertEqual((0, 1201, ""), (code, len(out.splitlines()), err))
        self.assertEqual(["queue list"] * 3, asked)
        code, _, err = await self.mailbridge("queue", "hold")
        self.assertEqual((64, True), (code, "--all" in err), err)
        self.assertEqual((1, "0 deliveries are released\n", ""), await self.mailbridge("queue", "release", "--all"))
