"""POP3 over real sockets on loopback: STLS and implicit TLS with Python's poplib, and long answers over both."""

from __future__ import annotations

import poplib
import socket
import ssl
from typing import Any

import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.ssl import CertificateOptions, KeyPair, PrivateCertificate
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailbridge.edge.pop3 import POP3ServerFactory
from mailbridge.edge.transport import CurrentTLS, implicit_tls, listen
from mailbridge.pop3 import dialogue
from mailbridge.pop3.settings import Settings
from tests.edge.pop3_world import MESSAGE, PASSWORDS, World
from tests.edge.test_pop3_stock import ListMailbox

BIG = b"Subject: big\r\n\r\n" + b".dots and lines\r\n" * 200_000


class TLSTests(TestCase):
    """Two listeners, one certificate."""

    timeout = 60

    async def setUp(self) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        pem = issued.private_key_pem.bytes() + issued.cert_chain_pems[0].bytes()
        certificate = PrivateCertificate.loadPEM(pem)
        assert isinstance(certificate.privateKey, KeyPair)
        tls = CurrentTLS(CertificateOptions(certificate.privateKey.original, certificate.original))
        self.world = World(tls=tls)
        stored = self.world.mailbox
        self.world.realm.mailbox = lambda name: stored(name) if name == b"bonnie" else ListMailbox([MESSAGE, BIG])
        self.world.deposit(MESSAGE, BIG)
        self.client_tls = ssl.create_default_context()
        authority.configure_trust(self.client_tls)
        secure = POP3ServerFactory(Settings("mail.example", starttls="require"), self.world.sessions, self.world.clock,
                                   lambda size: b"r" * size, self.world.login, None, implicit_tls=True)
        self.world.factory.settings = Settings("mail.example", starttls="require")
        self.plain = await self.listening(self.world.factory)
        self.secure = await self.listening(implicit_tls(tls, secure))

    async def listening(self, factory: Any) -> int:
        """The port on which `factory` listens until the end of the test."""
        port = await listen(TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1"), factory)
        self.addCleanup(port.stopListening)
        return port.getHost().port

    def in_thread(self, talk: Any) -> Deferred[Any]:
        """`talk()` in a thread, with the clock of the world going on."""
        ticking = LoopingCall(self.world.clock.advance, 0)
        ticking.start(0.005)
        return deferToThread(talk).addBoth(lambda result: (ticking.stop(), result)[1])

    def fetch(self, client: poplib.POP3, user: str = "bonnie") -> tuple[bytes, bytes]:
        """Both messages; the second is deleted."""
        client.user(user)
        client.pass_(PASSWORDS[user.encode()].decode())
        sizes = [int(line.split()[1]) for line in client.list()[1]]
        first, second = (b"".join(line + b"\r\n" for line in client.retr(number)[1]) for number in (1, 2))
        assert [len(first), len(second)] == sizes, sizes
        client.dele(2)
        client.quit()
        return first, second

    async def test_stls(self) -> None:
        """A client that says STLS gets its messages, octet for octet, and nothing without."""

        def talk() -> tuple[bytes, bytes]:
            client = poplib.POP3("127.0.0.1", self.plain, timeout=30)
            self.assertRaises(poplib.error_proto, client.user, "bonnie")
            client.stls(self.client_tls)
            return self.fetch(client)

        first, second = await self.in_thread(talk)
        self.assertTrue(first.endswith(MESSAGE))
        self.assertTrue(second.endswith(BIG))

    async def test_implicit(self) -> None:
        """The same with TLS from the first octet."""

        def talk() -> tuple[bytes, bytes]:
            return self.fetch(poplib.POP3_SSL("127.0.0.1", self.secure, context=self.client_tls, timeout=30))

        first, second = await self.in_thread(talk)
        self.assertTrue(first.endswith(MESSAGE))
        self.assertTrue(second.endswith(BIG))

    async def test_in_pieces(self) -> None:
        """A large message that is sent piece by piece arrives whole, by either kind of TLS."""

        def talk() -> list[bytes]:
            client = poplib.POP3("127.0.0.1", self.plain, timeout=30)
            client.stls(self.client_tls)
            implicit = poplib.POP3_SSL("127.0.0.1", self.secure, context=self.client_tls, timeout=30)
            return [self.fetch(client, "clyde")[1], self.fetch(implicit, "clyde")[1]]

        self.assertEqual(await self.in_thread(talk), [BIG, BIG])

    async def test_injection(self) -> None:
        """What an injector put behind STLS in clear is refused, and the connection ends."""

        def talk() -> bytes:
            with socket.create_connection(("127.0.0.1", self.plain), timeout=30) as client:
                client.sendall(b"STLS\r\nUSER eve\r\n")
                octets = b""
                while more := client.recv(4096):
                    octets += more
                return octets

        octets = await self.in_thread(talk)
        self.assertTrue(octets.endswith(dialogue.INJECTED))
        self.assertNotIn(dialogue.BEGIN_TLS, octets)
