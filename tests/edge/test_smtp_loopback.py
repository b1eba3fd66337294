"""The SMTP edge over real sockets, with the standard library's client at the other end."""

from __future__ import annotations

import smtplib
import socket
import ssl as stdlib_ssl
from collections.abc import Callable
from typing import Any

import trustme
from twisted.internet import reactor, ssl
from twisted.internet.defer import inlineCallbacks, succeed
from twisted.internet.endpoints import serverFromString
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from mailbridge.edge.transport import CurrentTLS, implicit_tls, listen
from mailbridge.limits import Limits

from .smtp_world import World

AUTHORITY = trustme.CA()
MESSAGE = b"Subject: much\r\n\r\n" + b".".join(b"line %d\r\n" % n for n in range(300_000))


def server_tls() -> CurrentTLS:
    """TLS with a certificate for localhost."""
    made = AUTHORITY.issue_cert("localhost")
    pem = made.private_key_pem.bytes() + made.cert_chain_pems[0].bytes()
    return CurrentTLS(ssl.PrivateCertificate.loadPEM(pem).options())


def client_tls() -> stdlib_ssl.SSLContext:
    """A context that trusts it."""
    context = stdlib_ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


class LoopbackTests(TestCase):
    """Whole sessions; when the client has gone, the session has."""

    timeout = 30

    @inlineCallbacks
    def talk(self, world: World, talk: Callable[[int], Any]) -> Any:
        """Run `talk(port)` in a thread, against that world."""
        world.pool.run = lambda work, client, name: succeed(work())  # type: ignore
        factory: Any = implicit_tls(world.tls, world.factory) if world.implicit_tls else world.factory
        port: Any = yield listen(serverFromString(reactor, "tcp:0:interface=127.0.0.1"), factory)
        self.addCleanup(port.stopListening)
        result = yield deferToThread(talk, port.getHost().port)
        yield world.sessions.goodbye()  # fires when the last session has gone: none may stay
        return result

    @inlineCallbacks
    def test_starttls(self) -> Any:
        """STARTTLS, login, and 4 MiB of dotted lines: they arrive octet for octet, the trace line names the cipher."""
        world = World(starttls="require", tls=server_tls())

        def talk(port: int) -> Any:
            with smtplib.SMTP("localhost", port, timeout=20) as client:
                client.starttls(context=client_tls())
                client.login("bonnie", "right")
                return client.sendmail("bonnie@example.org", ["bonnie@example.org", "clyde@example.org"], MESSAGE)

        self.assertEqual((yield self.talk(world, talk)), {})
        for name in ("bonnie", "clyde"):
            [stored] = world.mail(name)
            self.assertTrue(stored.endswith(b"\r\n" + MESSAGE))
        self.assertIn(b"with ESMTPSA id", stored)
        self.assertIn(b"(using TLSv1.3 ", stored)

    @inlineCallbacks
    def test_implicit_tls(self) -> Any:
        """The same under TLS from the first octet."""
        world = World(tls=server_tls(), implicit_tls=True)

        def talk(port: int) -> Any:
            with smtplib.SMTP_SSL("localhost", port, timeout=20, context=client_tls()) as client:
                client.login("bonnie", "right")
                return client.sendmail("bonnie@example.org", ["clyde@example.org"], MESSAGE)

        self.assertEqual((yield self.talk(world, talk)), {})
        self.assertTrue(world.mail("clyde")[0].endswith(b"\r\n" + MESSAGE))

    @inlineCallbacks
    def test_one_too_many_under_tls(self) -> Any:
        """One too many is cut off before a handshake, at once."""
        world = World(Limits(connections=0), tls=server_tls(), implicit_tls=True)

        def talk(port: int) -> bytes:
            try:
                with socket.create_connection(("127.0.0.1", port), 20) as client:
                    return client.recv(100)
            except ConnectionResetError:
                return b""

        self.assertEqual((yield self.talk(world, talk)), b"")

    @inlineCallbacks
    def test_deaf_client(self) -> Any:
        """A client that asks without end and reads no answer is cut off, however harmless its questions are."""
        world = World(Limits(errors=10**9, junk_commands=10**9))
        world.clock.callLater = lambda seconds, call, *rest: reactor.callLater(seconds, call, *rest)  # type: ignore

        def talk(port: int) -> bool:
            with socket.create_connection(("127.0.0.1", port), 20) as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                try:
                    for _ in range(2000):
                        client.sendall(b"HELP\r\n" * 1000)
                except OSError:
                    return True
            return False

        self.assertTrue((yield self.talk(world, talk)))
