"""POP3 sessions over TLS on loopback: whom they believe, and what they say to whom; and with a bridge of our own."""

from __future__ import annotations

import hashlib
import os
import shutil
import smtplib
import ssl
from typing import Any

import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.internet.task import deferLater
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from mailbridge.edge.clienttls import Trust
from mailbridge.edge.upstream import Upstream, open_upstream
from mailbridge.edge.upstreamsession import UpstreamSession
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.pop3.upstream import UpstreamLimits, UpstreamLogin
from mailbridge.testing.acting import Script
from mailbridge.testing.hostile_pop3 import MESSAGES, OK, HostilePOP3Factory
from tests.running import BASIC, RunningBridge, short_folder

AUTHORITY, STRANGER = trustme.CA(), trustme.CA()
ROOTS = AUTHORITY.cert_pem.bytes().decode()
RIGHT = AUTHORITY.issue_cert("localhost", "127.0.0.1")
OTHER = AUTHORITY.issue_cert("elsewhere.example")
SELF_SIGNED = STRANGER.issue_cert("localhost")
PIN = hashlib.sha256(ssl.PEM_cert_to_DER_cert(SELF_SIGNED.cert_chain_pems[0].bytes().decode())).hexdigest()
LARGE = b"Subject: large\r\n\r\n" + b".0123456789abcdef\r\n" * 100_000
LOGIN = UpstreamLogin("bonnie", "correct horse")


def options(leaf: trustme.LeafCert) -> CertificateOptions:
    """A server's TLS with that certificate."""
    own = PrivateCertificate.loadPEM(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())
    return CertificateOptions(own.privateKey.original, own.original)


async def collect(session: UpstreamSession) -> list[bytes]:
    """All messages, deleted then."""
    sizes = await session.list()
    pieces: dict[int, list[bytes]] = {number: [] for number in sizes}
    await gatherResults([session.retrieve(number, found.append) for number, found in pieces.items()])
    await gatherResults([session.delete(number) for number in pieces])
    await session.quit()
    return [b"".join(found) for found in pieces.values()]


class Mute(Protocol):
    """Says nothing: a handshake that never ends."""


class TLSTests(TestCase):
    """Servers with right and wrong certificates."""

    timeout = 60

    async def serve(self, factory: Any) -> int:
        """The port on which `factory` listens until the end of the test."""
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        found: int = port.getHost().port
        return found

    def server(self, leaf: trustme.LeafCert = RIGHT, script: Script | None = None) -> HostilePOP3Factory:
        """One that offers STLS."""
        clock: IReactorTime = reactor
        messages = [*MESSAGES, ("uid-4", LARGE)]
        return HostilePOP3Factory(clock, script or {}, messages, options(leaf))

    async def open(self, factory: Any, tls: str, trust: Trust, host: str = "localhost") -> UpstreamSession:
        """A session with it."""
        port = await self.serve(factory)
        limits = UpstreamLimits(tls=2.0, reply=10.0)
        return await open_upstream(reactor, Upstream(host, port, tls, trust), LOGIN, os.urandom, limits)

    async def fails(self, factory: Any, tls: str, trust: Trust) -> UpstreamError:
        """Why there is no session with it."""
        try:
            await self.open(factory, tls, trust)
        except UpstreamError as error:
            return error
        raise AssertionError("there was a session")

    async def test_right(self) -> None:
        """STLS with the right certificate: asked for capabilities again, and large messages come whole."""
        server = self.server()
        session = await self.open(server, "require", Trust(authorities=ROOTS))
        self.assertIn("TLS", session.tls or "")
        self.assertEqual(server.commands[:4], [b"CAPA", b"STLS", b"CAPA", b"AUTH PLAIN"])
        self.assertEqual(await collect(session), [text for _, text in (*MESSAGES, ("uid-4", LARGE))])
        self.assertEqual(server.deleted, ["uid-1", "uid-2", "uid-3", "uid-4"])

    async def test_back_pressure(self) -> None:
        """A slow caller slows the server down under TLS too, and everything arrives."""
        session = await self.open(self.server(), "require", Trust(authorities=ROOTS))
        pieces: list[bytes] = []
        waiting: list[int] = []

        def write(octets: bytes) -> Deferred[None]:
            pieces.append(octets)
            waiting.append(1)
            self.assertEqual(len(waiting), 1)
            return deferLater(reactor, 0.0005, waiting.pop).addCallback(lambda _: None)

        self.assertEqual(await session.retrieve(4, write), len(LARGE))
        self.assertEqual(b"".join(pieces), LARGE)
        session.abort()

    async def test_implicit(self) -> None:
        """TLS from the first octet, also to a server that is named by its address."""
        for host in ("localhost", "127.0.0.1"):
            wrapped = TLSMemoryBIOFactory(options(RIGHT), False, HostilePOP3Factory(reactor))
            session = await self.open(wrapped, "implicit", Trust(authorities=ROOTS), host)
            self.assertEqual(await collect(session), [text for _, text in MESSAGES])

    async def test_wrong(self) -> None:
        """Another's name, an unknown authority, another pin: a failure of TLS, and nothing is told."""
        for leaf, trust in (
            (OTHER, Trust(authorities=ROOTS)), (SELF_SIGNED, Trust(authorities=ROOTS)), (RIGHT, Trust()),
            (RIGHT, Trust(pin=PIN)), (OTHER, Trust(pin=PIN)),
        ):
            for tls in ("require", "opportunistic"):
                server = self.server(leaf)
                self.assertIs((await self.fails(server, tls, trust)).kind, Kind.TLS)
                self.assertEqual(server.commands, [b"CAPA", b"STLS"])

    async def test_pin(self) -> None:
        """A pinned certificate is believed whoever made it."""
        session = await self.open(self.server(SELF_SIGNED), "require", Trust(pin=PIN), "127.0.0.1")
        await session.quit()

    async def test_injected(self) -> None:
        """Octets in clear behind the answer to STLS are no answers: with the handshake or before it."""
        for script in ({"STLS": (OK + OK,)}, {"STLS": (OK + b"+O",)}):
            server = self.server(script=script)
            error = await self.fails(server, "require", Trust(authorities=ROOTS))
            self.assertIn(error.kind, (Kind.PROTOCOL, Kind.TLS))
            self.assertEqual(server.commands, [b"CAPA", b"STLS"])

    async def test_handshake_that_hangs(self) -> None:
        """A handshake has its own limit."""
        error = await self.fails(Factory.forProtocol(Mute), "implicit", Trust(authorities=ROOTS))
        self.assertIs(error.kind, Kind.TIME)
        self.assertIn("handshake", str(error))


class OwnServerTests(TestCase):
    """A bridge of our own as the server."""

    timeout = 60

    async def test_collect(self) -> None:
        """Mail that was sent to it is collected and deleted, by SCRAM."""
        folder = short_folder()
        self.addCleanup(shutil.rmtree, folder, True)
        bridge = RunningBridge(folder, BASIC)
        self.addCleanup(bridge.stop)
        bridge.start()
        bridge.ask("user add", name="bonnie", password="correct horse")
        bodies = [b"Subject: %d\r\n\r\n.\r\n..\r\n" % number + b"text\r\n" * number for number in range(50)]
        with smtplib.SMTP("127.0.0.1", bridge.ports[0]) as client:
            for body in bodies:
                client.sendmail("a@example.net", ["bonnie@example.org"], body)
        for expected in (bodies, []):
            server = Upstream("127.0.0.1", bridge.ports[1], "off")
            session = await open_upstream(reactor, server, LOGIN, os.urandom)
            self.assertEqual(session.login, "SCRAM-SHA-256")
            self.assertIn("PIPELINING", session.capabilities)
            uids = await session.uidl()
            self.assertEqual(len(set((uids or {}).values())), len(expected))
            texts = await collect(session)
            self.assertEqual([text[text.index(b"Subject: "):] for text in texts], expected)
