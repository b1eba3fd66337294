"""One exchange with an OCE: a JSON text there, a JSON text back, by HTTP POST (reference: oce-usds.md H1, H2).

Where a real OCE speaks otherwise (a bare socket, say), this class is what changes. It takes nothing on trust: one time
for the whole exchange, a cap on the body while it is read, no redirects, no compressed bodies, no cookies; TLS is
verified or pinned before the first octet leaves, and clear text goes to loopback only unless that was allowed.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.internet.error import TimeoutError as OutOfTime
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web._newclient import HTTP11ClientProtocol
from twisted.web.client import Agent, HTTPConnectionPool, ResponseDone, ResponseFailed, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IPolicyForHTTPS, IResponse
from zope.interface import implementer

from mailbridge.edge.clienttls import Trust
from mailbridge.errors import MailbridgeError

CONNECT_SECONDS = 10.0
SECONDS = 30.0
SECONDS_PER_MIB = 1.0
LARGEST_ANSWER = 64 * 1024 * 1024
LARGEST_HEADER = 64 * 1024
CONNECTIONS = 8
IDLE_SECONDS = 30
_MIB = 1024 * 1024
_SHOWN = 120
_BUSY = (429, 502, 503, 504)
_JSON = re.compile(r"application/(?:[a-z0-9.+-]*\+)?json|text/(?:plain|json)", re.IGNORECASE)


class ExchangeError(MailbridgeError):
    """There was no usable answer; the text says what happened. Trying again later may help."""


class Unreachable(ExchangeError):
    """The OCE cannot be used just now, whatever is sent to it."""


class NotTrusted(ExchangeError):
    """The other side did not prove who it is: a fault to be told to the operator."""


@frozen
class Place:
    """Where an OCE is. `cleartext` allows http:// to other hosts than this one."""

    url: str
    trust: Trust = Trust()
    cleartext: bool = False

    @property
    def host(self) -> str:
        """The host in the URL, empty when there is none."""
        try:
            return urlsplit(self.url).hostname or ""
        except ValueError:
            return ""

    def fault(self) -> str | None:
        """What is wrong with the URL, None when nothing is."""
        try:
            parts = urlsplit(self.url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            return "is no URL"
        if parts.scheme not in ("http", "https") or not host or not self.url.isascii() or not self.url.isprintable():
            return 'must look like "https://oce.example.org:1895/"'
        if parts.username is not None or parts.query or parts.fragment:
            return "takes no login, query or fragment"
        if parts.scheme == "http" and not self.cleartext and not is_loopback(host):
            return "sends keys and mail in clear text to another host; use https://, or set allow_cleartext = true"
        return None


def is_loopback(host: str) -> bool:
    """Whether a host of a URL is this one."""
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class Exchange:
    """Exchanges with one place. `reactor` is Twisted's, or another that connects and keeps time.

    `largest` is the longest answer in octets; `seconds` are for one exchange, and more for each MiB that is sent,
    `connect_seconds` for its connection. Raises ValueError for a place with a fault.
    """

    def __init__(self, reactor: Any, place: Place, largest: int = LARGEST_ANSWER, seconds: float = SECONDS,
                 connect_seconds: float = CONNECT_SECONDS) -> None:
        fault = place.fault()
        if fault is not None:
            raise ValueError(fault)
        self.place = place
        self._reactor = reactor
        self._largest = largest
        self._seconds = seconds
        self._pool = HTTPConnectionPool(reactor)
        self._pool.maxPersistentPerHost = CONNECTIONS
        self._pool.cachedConnectionTimeout = IDLE_SECONDS
        self._pool._factory = _Factory  # type: ignore[assignment]
        self._pool.retryAutomatically = False  # what was sent twice is the caller's to know
        agent = Agent(reactor, contextFactory=_Policy(place.trust), connectTimeout=connect_seconds, pool=self._pool)
        nothing_kept = CookieJar(DefaultCookiePolicy(allowed_domains=()))
        self._client = HTTPClient(_Plain(agent), nothing_kept)  # type: ignore[arg-type]

    def exchange(self, octets: bytes, headers: Mapping[str, str] | None = None) -> Deferred[bytes]:
        """Send a JSON text; fires with the one that came back. Fails with ExchangeError, or a kind of it."""
        sent = Headers({"Content-Type": ["application/json; charset=utf-8"], "Accept": ["application/json"]})
        for name, value in (headers or {}).items():
            sent.setRawHeaders(name, [value])
        running: Deferred[bytes] = Deferred.fromCoroutine(self._exchange(octets, sent))
        seconds = self._seconds + SECONDS_PER_MIB * (len(octets) // _MIB)
        timer = self._reactor.callLater(seconds, running.cancel)

        def ended(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            elif isinstance(result, Failure):
                raise ExchangeError(f"the OCE did not answer within {seconds:g} seconds")
            return _told(result) if isinstance(result, Failure) else result

        return running.addBoth(ended)

    async def _exchange(self, octets: bytes, headers: Headers) -> bytes:
        response = await self._client.post(
            self.place.url, data=octets, headers=headers, allow_redirects=False, unbuffered=True,
            reactor=self._reactor,
        )
        body = _Body(self._largest)
        if response.code in _BUSY:
            body.refuse(f"answered HTTP {response.code}", Unreachable)
        elif response.code != 200:
            body.refuse(f"answered HTTP {response.code}")
        elif not _JSON.fullmatch(_media_type(response.headers)):
            body.refuse("answered something else than JSON")
        response.original.deliverBody(body)
        return await body.done

    def close(self) -> Deferred[None]:
        """Close the connections that are kept."""
        closed: Deferred[None] = self._pool.closeCachedConnections()
        return closed


def _media_type(headers: Headers) -> str:
    raw: bytes = (headers.getRawHeaders(b"content-type") or [b"application/json"])[0]
    return raw.partition(b";")[0].strip().decode("ascii", "replace")


class _Body(Protocol):
    """Collects a body up to a limit; refuses what came with the wrong header, and closes the connection then."""

    def __init__(self, largest: int) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._drop())
        self._largest = largest
        self._octets = bytearray()
        self._fault = ""
        self._kind: type[ExchangeError] = ExchangeError

    def refuse(self, fault: str, kind: type[ExchangeError] = ExchangeError) -> None:
        """Take no body, and fail so."""
        self._fault, self._kind = fault, kind

    def connectionMade(self) -> None:
        """The body begins."""
        if self._fault:
            self._drop()

    def dataReceived(self, octets: bytes) -> None:
        """A piece of it."""
        if self._fault:
            return
        if len(self._octets) + len(octets) > self._largest:
            self._octets.clear()
            self._fault = f"answered more than {self._largest} octets"
            self._drop()
            return
        self._octets += octets

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The body ended, well or not."""
        if self.done.called:
            return
        if self._fault:
            self.done.errback(self._kind(f"the OCE {self._fault}"))
        elif reason.check(ResponseDone):
            self.done.callback(bytes(self._octets))
        else:  # also a body without length that ended with its connection: it may have been cut
            self.done.errback(ExchangeError("the OCE closed the connection within its answer"))

    def _drop(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()


@implementer(IAgent)
class _Plain:
    """An agent that asks for no compression and takes none: what is small on the wire stays small here."""

    def __init__(self, agent: IAgent) -> None:
        self._agent = agent

    def request(self, method: bytes, uri: bytes, headers: Headers | None = None,
                bodyProducer: IBodyProducer | None = None) -> Deferred[IResponse]:
        """See IAgent."""
        plain = Headers() if headers is None else headers.copy()
        plain.removeHeader(b"accept-encoding")
        answered: Deferred[IResponse] = self._agent.request(method, uri, plain, bodyProducer)
        return answered.addCallback(self._look_at)

    def _look_at(self, response: Any) -> IResponse:
        if response.headers.hasHeader(b"content-encoding"):
            body = _Body(0)
            body.refuse("answered a compressed body, which nobody asked for")
            body.done.addErrback(lambda _: None)
            response.deliverBody(body)
            raise ExchangeError("the OCE answered a compressed body, which nobody asked for")
        return response  # type: ignore[no-any-return]


class HeaderTooLarge(Exception):
    """The header of an answer, or what comes before it, does not end."""


class _Bounded(HTTP11ClientProtocol):
    """A connection whose answers have a header of a size."""

    def request(self, request: Any) -> Deferred[Any]:
        """See HTTP11ClientProtocol."""
        self._header_octets: int | None = 0
        answered: Deferred[Any] = super().request(request)
        return answered.addCallback(self._header_came)

    def _header_came(self, response: Any) -> Any:
        self._header_octets = None
        return response

    def dataReceived(self, octets: bytes) -> None:
        """Octets of the answer."""
        if self._header_octets is not None:
            self._header_octets += len(octets)
            if self._header_octets > LARGEST_HEADER + len(octets):
                transport: Any = self.transport
                self._giveUp(Failure(HeaderTooLarge()))  # type: ignore[no-untyped-call]
                transport.abortConnection()
                return
        super().dataReceived(octets)  # type: ignore[no-untyped-call]


class _Factory(Factory):
    """Makes connections for the pool, which hands over what it wants to hear of their end."""

    noisy = False

    def __init__(self, quiescent: Any, _metadata: object) -> None:
        self._quiescent = quiescent

    def buildProtocol(self, addr: object) -> _Bounded:
        """A connection."""
        return _Bounded(self._quiescent)  # type: ignore[no-untyped-call]


@implementer(IPolicyForHTTPS)
class _Policy:
    """Whom to believe, as `Trust` says; a pin is compared within the handshake, before anything is sent."""

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """See IPolicyForHTTPS."""
        creator = self._trust.creator(hostname.decode("ascii"))
        return creator if self._trust.pin is None else _Pinned(creator, self._trust.pin)


@implementer(IOpenSSLClientConnectionCreator)
class _Pinned:
    """Goes on with the handshake only when the certificate is the pinned one."""

    def __init__(self, creator: Any, pin: str) -> None:
        self._creator = creator
        self._pin = pin.replace(":", "").lower()

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """See IOpenSSLClientConnectionCreator."""
        connection: SSL.Connection = self._creator.clientConnectionForTLS(protocol)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._is_pinned)
        return connection

    def _is_pinned(self, _connection: object, shown: crypto.X509, _errno: int, depth: int, _ok: int) -> bool:
        if depth > 0:
            return True  # only the server's own certificate matters
        octets = crypto.dump_certificate(crypto.FILETYPE_ASN1, shown)
        return hmac.compare_digest(hashlib.sha256(octets).hexdigest(), self._pin)


def _told(failure: Failure) -> Any:
    """Every failure in words, none with a secret."""
    error: Any = failure.value
    if isinstance(error, ExchangeError | CancelledError):
        return failure
    reasons = [each.value for each in getattr(error, "reasons", ())]
    for reason in [error, *reasons]:
        if isinstance(reason, SSL.Error | VerificationError):
            raise NotTrusted(f"TLS with the OCE failed: {_words(reason)}; see url, ca and pin in the file") from None
    if any(isinstance(reason, CancelledError) for reason in reasons):
        raise CancelledError from None
    if any(isinstance(reason, HeaderTooLarge) for reason in reasons):
        raise ExchangeError("the OCE answered with a header without end") from None
    if isinstance(error, DNSLookupError):
        raise Unreachable("the OCE's host is not known") from None
    if isinstance(error, ConnectError | OutOfTime):
        raise Unreachable(f"no connection to the OCE: {_words(error)}") from None
    if isinstance(error, ResponseNeverReceived | ConnectionLost):
        raise ExchangeError("the OCE closed the connection without an answer") from None
    if isinstance(error, ResponseFailed):
        raise ExchangeError("the OCE's answer was no HTTP, or was cut") from None
    raise ExchangeError(f"the exchange with the OCE failed: {type(error).__name__}") from None


def _words(error: object) -> str:
    listed = isinstance(error, SSL.Error) and error.args and isinstance(error.args[0], list)
    said = ", ".join(str(each[-1]) for each in error.args[0]) if listed else str(error)  # type: ignore[attr-defined]
    text = " ".join(said.split())[:_SHOWN]
    return "".join(each for each in text if each.isprintable())
