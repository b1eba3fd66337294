"""Certificates for TLS: made for a LAN, described for people, loaded for the listeners.

Promises: a private key is written for its owner only, and never over another file unless that was asked for; what
cannot be loaded is told in one line with the remedy. Never does: decide what an expired certificate means. It loads,
and `warning` says so.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from OpenSSL import SSL, crypto
from twisted.internet.ssl import CertificateOptions, TLSVersion

from mailbridge.errors import StartError

DAY = 86400.0
#: Apple's mail programs refuse a certificate that is valid for longer, in days.
LONGEST = 825
#: A warning is given when fewer days are left.
SOON = 30.0

_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]{0,62}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,62}[a-z0-9_])?)*", re.ASCII)


@frozen
class Pair:
    """A new certificate and its private key, both PEM. The key is not shown by `repr`."""

    certificate: bytes
    key: bytes

    def __repr__(self) -> str:
        return "<Pair>"


@frozen
class Description:
    """What a certificate says: `names` are host names and addresses; times are seconds since 1970."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: float
    not_after: float
    fingerprint: str

    @property
    def self_signed(self) -> bool:
        """True when no mail program can trust it without being told to."""
        return self.subject == self.issuer


def _general_name(name: str) -> x509.GeneralName:
    with suppress(ValueError):
        return x509.IPAddress(ip_address(name))
    try:
        ascii_name = name.lower().rstrip(".").encode("idna").decode("ascii")
    except UnicodeError:
        ascii_name = ""
    if len(ascii_name) > 253 or not _NAME.fullmatch(ascii_name):
        raise ValueError(f"{name!r} is neither a host name nor an address")
    return x509.DNSName(ascii_name)


def make(names: tuple[str, ...], days: int, now: float) -> Pair:
    """A self-signed certificate for TLS servers (EC P-256) and its key, both new.

    `names` are host names and addresses, the first is the subject; `now` is seconds since 1970. It is valid from an
    hour ago, for clocks that are late. ValueError for a name that is none, or days outside 1 to 825.
    """
    if not names:
        raise ValueError("a certificate needs a name")
    if not 1 <= days <= LONGEST:
        raise ValueError(f"days must be 1 to {LONGEST}, got {days}")
    general = list(dict.fromkeys(_general_name(name) for name in names))
    start = datetime.fromtimestamp(int(now) - 3600, UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, str(general[0].value)[:64])])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(general), critical=False)
        # Not an authority: who trusts this certificate trusts this one server, and nothing its key could sign.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(identifier, critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(identifier.digest, None, None), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )


def _write_new(path: Path, octets: bytes, mode: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(octets)
        file.flush()
        os.fsync(descriptor)


def write(pair: Pair, certificate: Path, key: Path, replace: bool = False) -> None:
    """Write both files, the key with mode 0600 from its first instant. Without `replace`, neither may exist.

    Errors: StartError, and then neither file is there that was not there before.
    """
    if not replace:
        for path in (certificate, key):
            if path.is_symlink() or path.exists():
                raise StartError(f"{path} exists already: use --force to replace it, or give another place")
    written: list[Path] = []
    new = [(path.with_name(f".{path.name}.new"), path) for path in (key, certificate)]
    try:
        for (temporary, _), octets, mode in zip(new, (pair.key, pair.certificate), (0o600, 0o644), strict=True):
            temporary.unlink(missing_ok=True)
            _write_new(temporary, octets, mode)
            written.append(temporary)
        for temporary, path in new:
            if replace:
                os.replace(temporary, path)
            else:
                # A hard link fails where a rename would overwrite a file that has just appeared.
                os.link(temporary, path)
                written.append(path)
                temporary.unlink()
    except OSError as error:
        for path in written:
            with suppress(OSError):
                path.unlink()
        place = error.filename or key.parent
        raise StartError(f"{place}: {error.strerror}: choose a folder that you may write to") from error


def _load(pem: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise ValueError("holds no certificate in PEM (a block from -----BEGIN CERTIFICATE----- on)") from error


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def fingerprint(pem: bytes) -> str:
    """SHA-256 of the first certificate, `AB:CD:...`, as mail programs show it. ValueError if there is none."""
    return _fingerprint(_load(pem)[0])


def _describe(certificate: x509.Certificate) -> Description:
    names: tuple[str, ...] = ()
    with suppress(x509.ExtensionNotFound, ValueError):
        alternative = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        hosts = alternative.get_values_for_type(x509.DNSName)
        addresses: list[IPv4Address | IPv6Address] = [
            address
            for address in alternative.get_values_for_type(x509.IPAddress)
            if isinstance(address, IPv4Address | IPv6Address)
        ]
        names = (*hosts, *map(str, addresses))
    return Description(
        subject=certificate.subject.rfc4514_string(),
        issuer=certificate.issuer.rfc4514_string(),
        names=names,
        not_before=certificate.not_valid_before_utc.timestamp(),
        not_after=certificate.not_valid_after_utc.timestamp(),
        fingerprint=_fingerprint(certificate),
    )


def describe(pem: bytes) -> Description:
    """What the first certificate of a PEM text says. ValueError if there is none."""
    return _describe(_load(pem)[0])


def days_left(description: Description, now: float) -> float:
    """Days until it expires, negative after that; `now` is seconds since 1970."""
    return (description.not_after - now) / DAY


def warning(description: Description, now: float) -> str | None:
    """A sentence when the certificate is not valid or will soon not be, with the remedy; else None."""
    left = days_left(description, now)
    remedy = "make a new one with `mailbridge cert --force` and reload" if description.self_signed else "renew it"
    if left < 0:
        return f"the certificate has expired {-left:.0f} days ago, mail programs will refuse it: {remedy}"
    if now < description.not_before:
        return "the certificate is not valid yet: set the clock of this machine, or " + remedy
    if left < SOON:
        return f"the certificate expires in {left:.0f} days: {remedy}"
    return None


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise StartError(f"{what} {path} does not exist: make one with `mailbridge cert`, or correct [tls]") from None
    except OSError as error:
        raise StartError(
            f"{what} {path} cannot be read: {error.strerror}: let the user that runs this (uid {os.geteuid()}) read it"
        ) from None


def _chain(path: Path) -> list[x509.Certificate]:
    try:
        return _load(_read(path, "the certificate"))
    except ValueError as error:
        raise StartError(f"the certificate {path} {error}: put the right file there, or correct [tls]") from None


def read(certificate: Path) -> Description:
    """Describe a certificate file. Errors: StartError, in one line with the remedy."""
    return _describe(_chain(certificate)[0])


def load_context(certificate: Path, key: Path) -> CertificateOptions:
    """What a TLS listener needs, TLS 1.2 up: the first certificate of the file is ours, the rest its chain.

    Errors: StartError, in one line with the remedy. An expired certificate is no error: see `warning`.
    """
    chain = _chain(certificate)
    secret = _read(key, "the private key")
    try:
        private = serialization.load_pem_private_key(secret, None)
    except TypeError:
        raise StartError(
            f"the private key {key} is locked with a pass phrase: unlock it with `openssl pkey -in {key} -out NEW`"
        ) from None
    except Exception:  # ValueError, UnsupportedAlgorithm, and what else a parser finds: the text could quote the key
        raise StartError(
            f"the private key {key} holds no private key in PEM: put the right file there, or correct [tls]"
        ) from None
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    if chain[0].public_key().public_bytes(*form) != private.public_key().public_bytes(*form):
        raise StartError(
            f"the private key {key} is not that of the certificate {certificate}: put the pair that was made together"
        )
    try:
        own, *rest = (
            crypto.load_certificate(crypto.FILETYPE_PEM, one.public_bytes(serialization.Encoding.PEM)) for one in chain
        )
        options = CertificateOptions(
            privateKey=crypto.load_privatekey(crypto.FILETYPE_PEM, secret),
            certificate=own,
            extraCertChain=rest,
            raiseMinimumTo=TLSVersion.TLSv1_2,
        )
        # Made lazily otherwise, at the first connection, where nobody could be told what is wrong.
        options.getContext()
    except (SSL.Error, crypto.Error, TypeError, ValueError) as error:
        raise StartError(f"the certificate {certificate} cannot be used for TLS: {error}: make another one") from None
    return options
