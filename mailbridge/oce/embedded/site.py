"""The HTTP side of the embedded OCE: POST to `/`, a JSON text in, a JSON text out (RFC 9112 by twisted.web).

Everything is bounded while it is read: header, body, all bodies together, connections, and time: who is slower than a
pace, in sending or in taking the answer, is cut off. What breaks a rule is answered once and closed; after that not one
more octet is looked at. The answer is HTTP 200 for whatever the OCE says, good or bad.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from math import inf
from typing import Any

from OpenSSL import SSL, crypto
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import ServerFactory, connectionDone
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web import http

from mailbridge.edge.session import Session, Sessions
from mailbridge.edge.transport import CurrentTLS
from mailbridge.limits import Limits
from mailbridge.oce.embedded.sender import HEADER, Request
from mailbridge.oce.embedded.settings import OCESettings

HEADER_SECONDS = 20.0
BODY_SECONDS = 30.0
HEADER_OCTETS = 16 * 1024
HEADER_FIELDS = 64

_REASONS = {400: b"Bad Request", 404: b"Not Found", 405: b"Method Not Allowed", 413: b"Content Too Large",
            415: b"Unsupported Media Type", 503: b"Service Unavailable"}

Answer = Callable[[Request], "Deferred[bytes]"]


class HTTPRequest(http.Request):
    """One request. Its body is kept in memory, counted while it comes."""

    channel: Any

    def __init__(self, channel: Any, *ignored: object) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)
        self._octets = bytearray()

    def gotLength(self, length: int | None) -> None:
        """The header is complete; nothing is written to a file."""
        self.channel.body_begins(self, length)

    def handleContentChunk(self, data: bytes) -> None:
        """A piece of the body."""
        if self.channel.body_grows(len(data)):
            self._octets += data

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The body is complete."""
        self.clientproto = version
        if not self.channel.refused:
            body, self._octets = bytes(self._octets), bytearray()
            self.channel.serve(self, body)

    def forget(self) -> None:
        """The body is of no use any more."""
        self._octets = bytearray()

    def respond(self, octets: bytes) -> None:
        """Send the answer, if the client is still there."""
        if self._disconnected:
            return
        headers = self.responseHeaders
        headers.setRawHeaders(b"Content-Type", [b"application/json; charset=utf-8"])
        headers.setRawHeaders(b"Content-Length", [b"%d" % len(octets)])
        stock: Any = self
        stock.write(octets)
        stock.finish()


class Channel(Session, http.HTTPChannel):
    """One connection of a client."""

    factory: OCEFactory
    transport: Any
    requestFactory: Any = HTTPRequest
    maxHeaders = HEADER_FIELDS
    totalHeadersSize = HEADER_OCTETS
    timeOut = None  # the sweep of Sessions looks at `deadline`

    refused = False
    _counted = 0
    _reading: HTTPRequest | None = None
    _serving = False
    _closing = False

    def connectionMade(self) -> None:
        """Count it, or send it away."""
        self.peer = getattr(self.transport.getPeer(), "host", "")
        self._began: float | None = None
        http.HTTPChannel.connectionMade(self)
        if not self.factory.sessions.admit(self):
            self.refuse(503)
            return
        self.deadline = self.factory.now() + self.factory.settings.idle

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It has gone."""
        self.refused = True
        self.deadline = inf
        self._forget_body()
        self.factory.sessions.leave(self)
        http.HTTPChannel.connectionLost(self, reason)

    def dataReceived(self, data: bytes) -> None:
        """Octets of the client; the first of a request start its clock."""
        if self.refused:
            return
        if self._began is None and not self._serving:
            self._began = self.factory.now()
            self.deadline = self._began + HEADER_SECONDS
        try:
            http.HTTPChannel.dataReceived(self, data)
        except ValueError:  # a length of thousands of digits
            self.refuse(400)

    def lineReceived(self, line: bytes) -> None:
        """A line of a header."""
        if not self.refused:
            http.HTTPChannel.lineReceived(self, line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """A line of a header that does not end."""
        self.refuse(400)

    # --- what is refused ----------------------------------------------------------------------------------------------

    def refuse(self, code: int) -> None:
        """Answer with an HTTP error and close; nothing that comes after is read."""
        if self.refused:
            return
        self.refused = True
        self._forget_body()
        more = b"Allow: POST\r\n" if code == 405 else b""
        self.transport.write(b"HTTP/1.1 %d %b\r\n%bContent-Length: 0\r\nConnection: close\r\n\r\n"
                             % (code, _REASONS[code], more))
        self.deadline = self.factory.now() + HEADER_SECONDS
        self._lose()

    def _send100Continue(self) -> None:
        """The client waits to be told to send its body."""
        if not self.refused:
            http.HTTPChannel._send100Continue(self)

    def _respondToBadRequestAndDisconnect(self) -> None:
        """What twisted.web cannot make sense of."""
        self.refuse(400)

    def expire(self) -> None:
        """Too slow, or idle for too long."""
        self.refused = True
        self._forget_body()
        self.deadline = inf
        self.transport.abortConnection()

    def shut_down(self) -> None:
        """The OCE stops: what is being answered is answered first."""
        self._closing = True
        if not self._serving:
            self.refused = True
            self._lose()

    def _lose(self) -> None:
        lose: Any = self.loseConnection
        lose()

    # --- the body -----------------------------------------------------------------------------------------------------

    def body_begins(self, request: HTTPRequest, length: int | None) -> None:
        """All of the header is there."""
        headers = request.requestHeaders
        self._reading = request
        if self._path.partition(b"?")[0] != b"/":
            self.refuse(404)
        elif self._command != b"POST":
            self.refuse(405)
        elif (headers.getRawHeaders(b"content-encoding") or [b"identity"])[0].lower() != b"identity":
            self.refuse(415)
        elif length is not None and length > self.factory.settings.largest:
            self.refuse(413)
        else:
            self._began = self.factory.now()
            self.deadline = self._began + BODY_SECONDS

    def body_grows(self, octets: int) -> bool:
        """More of the body came; False when it is too much."""
        if self.refused:
            return False
        factory = self.factory
        self._counted += octets
        factory.reading += octets
        if self._counted > factory.settings.largest:
            self.refuse(413)
        elif factory.reading > factory.settings.largest_all:
            self.refuse(503)
        else:
            assert self._began is not None
            self.deadline = self._began + BODY_SECONDS + self._counted / factory.settings.slowest
            return True
        return False

    def _forget_body(self) -> None:
        self.factory.reading -= self._counted
        self._counted = 0
        if self._reading is not None:  # at once: who is refused may keep the connection open for a while
            self._reading.forget()
            self._reading = None

    # --- the answer ---------------------------------------------------------------------------------------------------

    def serve(self, request: HTTPRequest, body: bytes) -> None:
        """Ask for the answer. The client is not hurried meanwhile, and its body counts until it is answered."""
        self._serving = True
        self._began = None
        self.deadline = inf
        signature = request.getHeader(HEADER.encode("ascii"))
        asked = Request(
            body, self.peer, None if signature is None else signature.decode("latin-1"), self._certificate,
        )
        self.factory.answer(asked).addCallback(self._answered, request).addErrback(self._failed)

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self._log.failure("a request of {peer} was not answered", failure, peer=self.peer)
        if not self.refused:
            self.expire()

    def _answered(self, octets: bytes, request: HTTPRequest) -> None:
        self._forget_body()
        self._serving = False
        if self.refused:
            return
        settings = self.factory.settings
        self.deadline = self.factory.now() + settings.idle + len(octets) / settings.slowest
        if self._closing:
            self.persistent = False
            request.responseHeaders.setRawHeaders(b"Connection", [b"close"])
        request.respond(octets)

    def _certificate(self) -> str | None:
        """SHA-256 of the certificate that the client showed."""
        shown = getattr(self.transport, "getPeerCertificate", lambda: None)()
        if shown is None:
            return None
        return hashlib.sha256(crypto.dump_certificate(crypto.FILETYPE_ASN1, shown)).hexdigest()


class OCEFactory(ServerFactory):
    """Connections of clients. `answer(Request)` gives the JSON text; it fails only when it is cancelled."""

    noisy = True
    protocol: Any = Channel

    def __init__(self, answer: Answer, settings: OCESettings, clock: IReactorTime) -> None:
        self.answer = answer
        self.settings = settings
        self.now = clock.seconds
        self.reading = 0
        """Octets of bodies that are in memory."""
        self.sessions = Sessions(clock, Limits(
            connections=settings.connections, connections_per_client=settings.connections_per_client))

    def log(self, request: object) -> None:
        """twisted.web tells of each request; no list of them is kept."""

    def startFactory(self) -> None:
        """The port is open: watch the clock."""
        self.sessions.start()

    def stopFactory(self) -> None:
        """The port is closed."""
        self.sessions.stop()

    def stop(self) -> Deferred[None]:
        """Let requests under way be answered, close the rest; fires when all connections have gone."""
        return self.sessions.goodbye()


class AskingTLS(CurrentTLS):
    """TLS with the certificate in force that asks the client for one too and takes any: whose it is, is compared with
    the pin of a tribe."""

    def __init__(self, tls: CurrentTLS) -> None:
        self._tls = tls

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """A server connection that asks."""
        connection = self._tls.serverConnectionForTLS(protocol)
        connection.set_verify(SSL.VERIFY_PEER, lambda *_: True)
        return connection
