"""`sendmessage` over TLS, on loopback: whom it believes, what it says to whom, and what it does without."""

from __future__ import annotations

import hashlib
import ssl
from typing import Any

import trustme
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, PrivateCertificate
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import TestCase

from mailbridge.sendmail import Kind, Phase, SendFailure, SendResult, Trust, sendmessage
from mailbridge.testing.hostile import MODES, HostileFactory
from tests.test_sendmail import MESSAGE

AUTHORITY, STRANGER = trustme.CA(), trustme.CA()
ROOTS = AUTHORITY.cert_pem.bytes().decode()
LARGE = MESSAGE + b".line\r\n" * 500_000


def options(leaf: trustme.LeafCert, seen: list[Any] | None = None) -> CertificateOptions:
    """A server's TLS with that certificate; `seen` gets the names that clients ask for (SNI)."""
    own = PrivateCertificate.loadPEM(leaf.private_key_pem.bytes() + leaf.cert_chain_pems[0].bytes())
    found = CertificateOptions(own.privateKey.original, own.original)
    if seen is not None:
        found.getContext().set_tlsext_servername_callback(lambda connection: seen.append(connection.get_servername()))
    return found


RIGHT = AUTHORITY.issue_cert("localhost", "127.0.0.1")
OTHER = AUTHORITY.issue_cert("elsewhere.example")
SELF_SIGNED = STRANGER.issue_cert("localhost")
PIN = hashlib.sha256(ssl.PEM_cert_to_DER_cert(SELF_SIGNED.cert_chain_pems[0].bytes().decode())).hexdigest()


class Mute(Protocol):
    """Says nothing: a handshake that never ends."""


class TLSTests(TestCase):
    """Servers with right and wrong certificates."""

    timeout = 60

    async def serve(self, factory: Any) -> int:
        """The port on which `factory` listens until the end of the test."""
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        return port.getHost().port

    async def send(self, server: Any, **more: Any) -> SendResult | SendFailure:
        """The outcome of one message to localhost."""
        settings: dict[str, Any] = {
            "servers": "localhost", "originator": "a@x.example", "recipients": "b@y.example", "timeout": 20.0, **more,
        }
        port = await self.serve(server)
        try:
            return await sendmessage(reactor, settings.pop("message", MESSAGE), ports=port, **settings)
        except SendFailure as failure:
            return failure

    def server(self, leaf: trustme.LeafCert = RIGHT, seen: list[Any] | None = None) -> HostileFactory:
        """One that offers STARTTLS."""
        return HostileFactory(reactor, {}, options(leaf, seen))

    async def test_right(self) -> None:
        """A server with the right name from the right authority: STARTTLS with SNI, a second EHLO, large content."""
        seen: list[Any] = []
        server = self.server(seen=seen)
        result = await self.send(server, tls="require", trust=Trust(authorities=ROOTS), message=LARGE)
        self.assertIsInstance(result, SendResult, result)
        self.assertIn("TLS", result.tls)
        self.assertEqual(seen, [b"localhost"])
        self.assertEqual([line[:4] for line in server.commands[:4]], [b"EHLO", b"STAR", b"EHLO", b"MAIL"])
        self.assertTrue(server.messages[0][1].endswith(LARGE[-1_000_000:]))

    async def test_implicit(self) -> None:
        """TLS from the first octet, also to a server that is named by its address."""
        for host in ("localhost", "127.0.0.1"):
            server = HostileFactory(reactor)
            wrapped = TLSMemoryBIOFactory(options(RIGHT), False, server)
            result = await self.send(wrapped, servers=host, tls="implicit", trust=Trust(authorities=ROOTS))
            self.assertIsInstance(result, SendResult, result)
            self.assertIn("TLS", result.tls)

    async def test_wrong(self) -> None:
        """Another's name, an unknown authority, another pin: a failure of TLS; neither login nor message is told."""
        for leaf, trust in (
            (OTHER, Trust(authorities=ROOTS)), (SELF_SIGNED, Trust(authorities=ROOTS)), (RIGHT, Trust()),
            (RIGHT, Trust(pin=PIN)), (OTHER, Trust(pin=PIN)),
        ):
            for tls in ("require", "opportunistic"):
                server = self.server(leaf)
                failure = await self.send(server, tls=tls, trust=trust, username="u", password="hidden")
                self.assertIsInstance(failure, SendFailure)
                self.assertIs(failure.kind, Kind.TLS, failure)
                self.assertFalse([line for line in server.commands if line[:4] in (b"AUTH", b"MAIL")])

    async def test_pin(self) -> None:
        """A pinned certificate is believed whoever made it and whatever name it has."""
        pin = ":".join(PIN[at:at + 2] for at in range(0, 64, 2)).upper()
        result = await self.send(self.server(SELF_SIGNED), tls="require", servers="127.0.0.1", trust=Trust(pin=pin))
        self.assertIsInstance(result, SendResult, result)

    async def test_opportunistic(self) -> None:
        """Without a login any certificate is better than none; with `verify` the policy decides."""
        result = await self.send(self.server(SELF_SIGNED))
        self.assertIn("TLS", result.tls)
        asked: list[str] = []
        for answer, kind in (("insecure", SendResult), ("secure", SendFailure)):
            outcome = await self.send(
                self.server(SELF_SIGNED), tls_policy=lambda code, text, answer=answer: (asked.append(text), answer)[1]
            )
            self.assertIsInstance(outcome, kind, outcome)
            self.assertIsNone(getattr(outcome, "tls", None))
        self.assertIn("certificate verify failed", asked[0])
        result = await self.send(self.server(SELF_SIGNED), tls="require", trust=Trust(verify=False))
        self.assertIn("TLS", result.tls)

    async def test_client_certificate(self) -> None:
        """The server sees our certificate; EXTERNAL may follow."""
        own = AUTHORITY.issue_cert("client.example")
        identity = (own.private_key_pem.bytes() + own.cert_chain_pems[0].bytes()).decode()
        wanted = options(RIGHT)
        shown: list[Any] = []
        demand = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        wanted.getContext().set_verify(demand, lambda *seen: shown.append(1) or True)
        trust = Trust(authorities=ROOTS, identity=identity)
        self.assertNotIn("PRIVATE", repr(trust))
        result = await self.send(HostileFactory(reactor, {}, wanted), tls="require", trust=trust)
        self.assertIsInstance(result, SendResult, result)
        self.assertTrue(shown)

    async def test_hanging_handshake(self) -> None:
        """A handshake that never ends is ended; implicit TLS to a plain server is a failure of TLS."""
        failure = await self.send(Factory.forProtocol(Mute), tls="implicit", limits={Phase.TLS: 0.2})
        self.assertIs(failure.kind, Kind.TIMEOUT)
        failure = await self.send(HostileFactory(reactor), tls="implicit", trust=Trust(verify=False))
        self.assertIs(failure.kind, Kind.TLS)
        script = MODES["STARTTLS hanging in the handshake"]
        failure = await self.send(HostileFactory(reactor, script), tls="require", limits={Phase.TLS: 0.2})
        self.assertIs(failure.kind, Kind.TIMEOUT)

    async def test_injected(self) -> None:
        """A reply that came in clear behind the 220 of STARTTLS ends it, on sockets too."""
        for mode in ("injected plaintext after STARTTLS", "part of a reply after STARTTLS"):
            server = HostileFactory(reactor, MODES[mode], options(RIGHT))
            failure = await self.send(server, tls="require", trust=Trust(verify=False), username="u", password="p")
            self.assertIs(failure.kind, Kind.SERVER)
            self.assertIn("before it was asked", failure.line)

    async def test_cancelled(self) -> None:
        """Cancelled while connecting, in the handshake and in the content: nothing is left in the reactor."""
        for server, tls, seconds in (
            (Factory.forProtocol(Mute), "implicit", 0.05), (Factory.forProtocol(Mute), "off", 0.0),
            (HostileFactory(reactor, MODES["deaf at DATA"], options(RIGHT)), "require", 0.3),
        ):
            sending = sendmessage(
                reactor, LARGE, servers="localhost", ports=await self.serve(server), originator="a@x", tls=tls,
                recipients="b@y", trust=Trust(verify=False),
            )
            waiting: Deferred[None] = Deferred()
            reactor.callLater(seconds, waiting.callback, None)  # type: ignore[attr-defined]
            await waiting
            sending.cancel()
            await self.assertFailure(sending, CancelledError)
