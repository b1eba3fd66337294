"""TLS towards servers: whom to believe, by certificate authority and name, or by the fingerprint alone."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Any

from attrs import field, frozen
from OpenSSL import SSL, crypto
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    PrivateCertificate,
    optionsForClientTLS,
    trustRootFromCertificates,
)
from zope.interface import implementer

_FINGERPRINT = re.compile(r"(?:[0-9A-Fa-f]{2}:?){31}[0-9A-Fa-f]{2}")


@frozen
class Trust:
    """Whom a client believes. `authorities` is PEM text (None: those of the system); `verify` False believes anybody.

    A `pin` (SHA-256 of the certificate, hex, colons or not) takes the place of authorities and names. `identity` is PEM
    with our own certificate and key.
    """

    verify: bool = True
    authorities: str | None = None
    pin: str | None = None
    identity: str | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.pin is not None and not _FINGERPRINT.fullmatch(self.pin):
            raise ValueError("a pin is the SHA-256 fingerprint of a certificate, 64 hexadecimal digits")
        if self.authorities is not None and not _certificates(self.authorities):
            raise ValueError("there is no certificate in the authorities")
        try:
            self._roots(), self._own()
        except (SSL.Error, crypto.Error):
            raise ValueError("authorities and identity are PEM text, the identity with its private key") from None

    def creator(self, host: str) -> object:
        """The options of connections to `host` (SNI, and the name that must be in the certificate), read once."""
        return _creator(self, host)

    def _roots(self) -> Any:
        if self.authorities is None:
            return None
        return trustRootFromCertificates([Certificate.loadPEM(pem) for pem in _certificates(self.authorities)])

    def _own(self) -> Any:
        return PrivateCertificate.loadPEM(self.identity) if self.identity is not None else None

    def _create(self, host: str) -> object:
        if not self.verify or self.pin is not None:
            return _Unverified(host, self._own())
        return optionsForClientTLS(host, self._roots(), self._own())

    def wrong(self, transport: Any) -> str | None:
        """What is wrong with the certificate that the server showed, after the handshake."""
        if self.pin is None:
            return None
        shown = transport.getPeerCertificate()
        octets = crypto.dump_certificate(crypto.FILETYPE_ASN1, shown) if shown is not None else b""
        found = hashlib.sha256(octets).hexdigest()
        if found != self.pin.replace(":", "").lower():
            return f"the server's certificate has the fingerprint {found}, not the one that is pinned"
        return None


@lru_cache(maxsize=64)
def _creator(trust: Trust, host: str) -> object:
    """Kept: reading the authorities of the system takes tens of milliseconds."""
    return trust._create(host)


def _certificates(pem: str) -> list[bytes]:
    end = "-----END CERTIFICATE-----"
    return [(part + end).encode("ascii", "replace") for part in pem.split(end)[:-1]]


@implementer(IOpenSSLClientConnectionCreator)
class _Unverified:
    """Encrypts without asking who is there (opportunistic TLS), or until the pin has been compared."""

    def __init__(self, host: str, own: PrivateCertificate | None) -> None:
        self._host = host
        keys = {"privateKey": own.privateKey.original, "certificate": own.original} if own is not None else {}
        self._options = CertificateOptions(**keys)

    def clientConnectionForTLS(self, protocol: object) -> SSL.Connection:
        """A connection that names the host it wants (SNI)."""
        connection = SSL.Connection(self._options.getContext(), None)
        if not isIPAddress(self._host) and not isIPv6Address(self._host):
            connection.set_tlsext_host_name(self._host.encode("idna"))
        return connection
