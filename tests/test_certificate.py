"""Certificates: made, described, written and loaded, with every fault in one line."""

import os
import stat
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from mailbridge import certificate
from mailbridge.certificate import DAY, Pair, days_left, describe, fingerprint, load_context, make, warning
from mailbridge.errors import StartError

NOW = 1_800_000_000.0
NAMES = ("bridge.example.org", "localhost", "192.168.1.9", "::1")


def _locked(key: bytes) -> bytes:
    private = serialization.load_pem_private_key(key, None)
    return private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"pass phrase"),
    )


class MakeTests(SynchronousTestCase):
    """`make` and what `describe` reads back."""

    def test_names_and_times(self) -> None:
        """A certificate carries every host name and address it was made for, and expires when it was told to."""
        told = describe(make(NAMES, 90, NOW).certificate)
        self.assertEqual(sorted(told.names), sorted(NAMES))
        self.assertEqual(told.subject, "CN=bridge.example.org")
        self.assertTrue(told.self_signed)
        self.assertEqual(told.not_after - told.not_before, 90 * DAY)
        self.assertLess(told.not_before, NOW)
        self.assertEqual(days_left(told, NOW), 90 - 1 / 24)

    def test_is_no_authority(self) -> None:
        """Whoever trusts the certificate trusts one server: its key cannot sign other certificates."""
        loaded = x509.load_pem_x509_certificate(make(NAMES, 1, NOW).certificate)
        self.assertFalse(loaded.extensions.get_extension_for_class(x509.BasicConstraints).value.ca)
        usage = loaded.extensions.get_extension_for_class(x509.KeyUsage).value
        self.assertTrue(usage.digital_signature)
        self.assertFalse(usage.key_cert_sign)
        key = loaded.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        self.assertEqual(key.curve.name, "secp256r1")

    def test_a_name_given_twice_stands_once(self) -> None:
        """Names that are the same but for case are named once."""
        told = describe(make(("Bridge", "bridge", "10.0.0.1", "10.0.0.1"), 1, NOW).certificate)
        self.assertEqual(told.names, ("bridge", "10.0.0.1"))

    def test_international_and_long_names(self) -> None:
        """A name in other letters gets its ASCII form; a subject never grows over the 64 characters it may have."""
        self.assertEqual(describe(make(("bücher.example",), 1, NOW).certificate).names, ("xn--bcher-kva.example",))
        long = ".".join(["a" * 60] * 4)
        self.assertEqual(describe(make((long,), 1, NOW).certificate).names, (long,))

    def test_refused(self) -> None:
        """What is no name, and a time that mail programs would refuse, is refused with its value."""
        for names, days in (
            ((), 1), (("",), 1), (("a b",), 1), (("a..b",), 1), (("-a",), 1), (("a\nb",), 1), (("x" * 64,), 1),
            ((".".join(["a" * 60] * 5),), 1), (("300.1.1.1:25",), 1), (NAMES, 0), (NAMES, 826),
        ):  # fmt: skip
            with self.subTest(names=names, days=days):
                self.assertRaises(ValueError, make, names, days, NOW)

    def test_key_is_not_shown(self) -> None:
        """The private key does not appear when a pair is printed."""
        pair = make(NAMES, 1, NOW)
        self.assertEqual((repr(pair), str(pair)), ("<Pair>", "<Pair>"))

    @settings(max_examples=150, deadline=None)
    @given(st.binary(max_size=200))
    def test_any_octets_are_described_or_refused(self, octets: bytes) -> None:
        """Octets that are no certificate raise ValueError and nothing else."""
        for text in (octets, b"-----BEGIN CERTIFICATE-----\n" + octets + b"\n-----END CERTIFICATE-----\n"):
            self.assertRaises(ValueError, describe, text)
            self.assertRaises(ValueError, fingerprint, text)


class WarningTests(SynchronousTestCase):
    """`warning`: what an operator is told about the days that are left."""

    def test_table(self) -> None:
        """Silence while there is time; then how many days are left; then that it has expired."""
        told = describe(make(NAMES, 90, NOW).certificate)
        for day, words in ((0, None), (59, None), (61, "expires in 29 days"), (95, "has expired 5 days ago")):
            with self.subTest(day=day):
                said = warning(told, NOW + day * DAY)
                if words is None:
                    self.assertIsNone(said)
                else:
                    self.assertIn(words, said or "")
                    self.assertIn("mailbridge cert --force", said or "")
        self.assertIn("not valid yet", warning(told, NOW - DAY) or "")


class FilesTests(SynchronousTestCase):
    """`write`, `read` and `load_context`: files, and every fault of theirs in one line."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.certificate = self.folder / "cert.pem"
        self.key = self.folder / "key.pem"
        self.pair = make(NAMES, 90, NOW)

    def write(self, pair: Pair) -> None:
        """Put a pair there, whatever was there before."""
        certificate.write(pair, self.certificate, self.key, replace=True)

    def refusal(self, *words: str) -> None:
        """`load_context` must fail with one line that has all the words."""
        error = self.assertRaises(StartError, load_context, self.certificate, self.key)
        self.assertNotIn("\n", str(error))
        for word in words:
            self.assertIn(word, str(error))

    def test_key_is_for_its_owner(self) -> None:
        """The key file is 0600 whatever the umask, and nothing else is left in the folder."""
        before = os.umask(0)
        try:
            certificate.write(self.pair, self.certificate, self.key)
        finally:
            os.umask(before)
        self.assertEqual(stat.S_IMODE(self.key.stat().st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(self.certificate.stat().st_mode), 0o644)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["cert.pem", "key.pem"])

    def test_nothing_is_overwritten(self) -> None:
        """Without --force an existing file stays as it is, a dangling link too, and nothing new appears."""
        for path in (self.certificate, self.key):
            for make_it in (lambda p: p.write_bytes(b"mine"), lambda p: p.symlink_to("nowhere")):
                make_it(path)
                error = self.assertRaises(StartError, certificate.write, self.pair, self.certificate, self.key)
                self.assertIn("--force", str(error))
                self.assertEqual(list(self.folder.iterdir()), [path])
                path.unlink()

    def test_replace(self) -> None:
        """With --force both files are new, and the key is 0600 although the old one was not."""
        self.key.write_bytes(b"old")
        self.key.chmod(0o644)
        self.write(self.pair)
        self.assertEqual(stat.S_IMODE(self.key.stat().st_mode), 0o600)
        self.assertEqual(certificate.read(self.certificate).fingerprint, fingerprint(self.pair.certificate))

    def test_folder_missing(self) -> None:
        """A folder that is not there is named in one line, and neither file is made."""
        error = self.assertRaises(
            StartError, certificate.write, self.pair, self.certificate, self.folder / "no" / "key.pem"
        )
        self.assertIn("No such file or directory", str(error))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_certificate_folder_missing(self) -> None:
        """When the certificate cannot be written, the key that was made for it goes too."""
        error = self.assertRaises(
            StartError, certificate.write, self.pair, self.folder / "no" / "cert.pem", self.key
        )
        self.assertIn("No such file or directory", str(error))
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_load(self) -> None:
        """A pair loads, TLS 1.1 is off, and an expired certificate is no error."""
        for now in (NOW, 1_000_000_000.0):
            self.write(make(NAMES, 90, now))
            context = load_context(self.certificate, self.key).getContext()
            self.assertIsInstance(context, SSL.Context)
            options = context.set_options(0)
            for older in (SSL.OP_NO_SSLv3, SSL.OP_NO_TLSv1, SSL.OP_NO_TLSv1_1):
                self.assertTrue(options & older)
            self.assertFalse(options & SSL.OP_NO_TLSv1_2)

    def test_chain(self) -> None:
        """Further certificates in the file are sent as the chain of the first."""
        other = make(("authority.example",), 90, NOW)
        self.write(Pair(self.pair.certificate + other.certificate, self.pair.key))
        self.assertEqual(len(load_context(self.certificate, self.key).extraCertChain), 1)

    def test_missing(self) -> None:
        """A file that is not there is named, with the command that makes one."""
        self.refusal("cert.pem does not exist", "mailbridge cert")
        self.write(self.pair)
        self.key.unlink()
        self.refusal("key.pem does not exist", "mailbridge cert")

    def test_unreadable(self) -> None:
        """A file that cannot be read is named, with the reason."""
        self.certificate.mkdir()
        self.refusal("cert.pem cannot be read", "Is a directory")

    def test_not_pem(self) -> None:
        """Files that are no PEM are named; the octets of a key are never quoted."""
        self.write(Pair(b"hello", self.pair.key))
        self.refusal("cert.pem holds no certificate in PEM")
        framed = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
        for key in (b"secret octets", self.pair.certificate, framed):
            self.write(Pair(self.pair.certificate, key))
            self.refusal("key.pem holds no private key in PEM")
            error = self.assertRaises(StartError, load_context, self.certificate, self.key)
            self.assertNotIn("secret", str(error))
            self.assertIsNone(error.__cause__)

    def test_locked_key(self) -> None:
        """A key with a pass phrase is refused with the command that unlocks it, and nobody is asked on a terminal."""
        self.write(Pair(self.pair.certificate, _locked(self.pair.key)))
        self.refusal("pass phrase", "openssl pkey")

    def test_other_key(self) -> None:
        """A key of another certificate is refused at start, not at the first connection."""
        self.write(Pair(self.pair.certificate, make(NAMES, 90, NOW).key))
        self.refusal("is not that of the certificate")
