"""The relay and our own SMTP server, over real sockets on loopback."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.trial.unittest import TestCase

from mailbridge.edge.clienttls import Trust
from mailbridge.edge.sending import Manner, Server
from mailbridge.edge.transport import listen
from mailbridge.outcome import Delivered, PermanentFailure
from mailbridge.store.changes import Delivery, Lane, LaneState, Message
from mailbridge.store.memory import MemoryStore
from mailbridge.target.mx import MailExchangers
from mailbridge.target.relay import Relay, RelayPlan
from tests.edge.smtp_world import World
from tests.target.relay_world import Names

LANE = Lane(1, "relay:x", "", LaneState.OPEN, "", 0.0, None, 0)


class LoopbackTests(TestCase):
    """Mail arrives octet for octet."""

    timeout = 20

    async def setUp(self) -> None:
        """A bridge that listens, and a relay that leads there."""
        self.world = World()
        port = await listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), self.world.factory)
        self.addCleanup(port.stopListening)
        server = Server("127.0.0.1", port.getHost().port, "off", trust=Trust(verify=False))
        self.store = MemoryStore(reactor)  # type: ignore[arg-type]
        exchangers = MailExchangers(Names(), reactor, lambda hosts: None)  # type: ignore[arg-type]
        self.relay = Relay(RelayPlan("x", Manner("us.example"), (server,)), reactor, self.store, exchangers)
        self.addCleanup(self.relay.close)

    async def send(self, octets: bytes, *recipients: str) -> dict[int, Any]:
        """The outcomes of one message."""
        writer = self.store.content()
        for at in range(0, len(octets), 65536):
            writer.write(octets[at:at + 65536])
        message = Message(1, "0" * 20, "a@us.example", "{}", 0.0, writer.finish())
        return await self.relay.attempt(
            message, [Delivery(number, 1, each, 1, 0, 1) for number, each in enumerate(recipients, 1)], LANE)

    def arrived(self) -> list[bytes]:
        """What bonnie got, without the trace line."""
        return [octets[octets.index(b"Subject:"):] for octets in self.world.mail("bonnie")]

    async def test_octets(self) -> None:
        """Dots, long lines, 8-bit octets and a large message are the same on the other side, over one connection."""
        messages = [
            b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n\r\n.\r\n", b"Subject: 8\r\n\r\n\xe9\xff\r\n",
            b"Subject: long\r\n\r\n" + b"x" * 200_000 + b"\r\n", b"Subject: no end\r\n\r\nlast line",
            b"Subject: big\r\n\r\n" + b".line of text\r\n" * 100_000,
        ]
        for octets in messages:
            outcomes = await self.send(octets, "bonnie@example.org")
            self.assertIsInstance(outcomes[1], Delivered, outcomes)
        self.assertEqual(self.arrived(), messages)
        self.assertEqual(len(self.world.sessions), 1)

    async def test_each_recipient(self) -> None:
        """Each recipient has its own outcome; the message comes once to those who are taken."""
        outcomes = await self.send(b"Subject: x\r\n\r\nbody\r\n", "bonnie@example.org", "nobody@example.org",
                                   "clyde@example.org", "x@elsewhere.example")
        self.assertEqual([type(outcomes[id]) for id in (1, 2, 3, 4)],
                         [Delivered, PermanentFailure, Delivered, PermanentFailure])
        self.assertEqual((len(self.world.mail("bonnie")), len(self.world.mail("clyde"))), (1, 1))

    async def test_server_stops(self) -> None:
        """Messages after the server ended its sessions go over a new connection."""
        self.assertIsInstance((await self.send(b"Subject: 1\r\n\r\n\r\n", "bonnie@example.org"))[1], Delivered)
        [session] = list(self.world.sessions._open)
        session.transport.abortConnection()  # type: ignore[attr-defined]
        self.assertIsInstance((await self.send(b"Subject: 2\r\n\r\n\r\n", "bonnie@example.org"))[1], Delivered)
        self.assertEqual(self.arrived(), [b"Subject: 1\r\n\r\n\r\n", b"Subject: 2\r\n\r\n\r\n"])
