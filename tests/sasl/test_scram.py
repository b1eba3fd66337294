"""SCRAM-SHA-256: the exchange of RFC 7677, and everything a guesser or a broken client may do instead."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.sasl.mechanisms import anybody
from mailbridge.sasl.scram import Scram
from mailbridge.sasl.values import Challenge, Proof, Proven, SASLError
from mailbridge.sasl.verifier import ScramVerifier, false_verifier

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
OUR_NONCE = b"%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
CLIENT_NONCE = b"rOprNGfwEbeRWgbNEkqO"
PENCIL = ScramVerifier.derive("pencil", SALT)


class OneUser:
    """Knows the verifier of `user` alone, and remembers who was asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def scram(self, username: str) -> ScramVerifier:
        """The RFC's user, or a false verifier."""
        self.asked.append(username)
        return PENCIL if username == "user" else false_verifier(username, b"s" * 32)


def scram(may_try: Callable[[bytes], bool] = anybody) -> Scram:
    return Scram(OneUser(), OUR_NONCE, may_try)


def say(exchange: Scram, message: bytes) -> bytes | Proven:
    """One round in clear: our answer without base64, or the end."""
    result = exchange.step(base64.b64encode(message))
    return base64.b64decode(result.data) if isinstance(result, Challenge) else result


def final(password: str, first_bare: bytes, server_first: bytes, gs2: bytes = b"n,,", extra: bytes = b"") -> bytes:
    """The client-final message, computed as RFC 5802 section 3 writes it, independently of the code under test."""
    fields = dict(part.split(b"=", 1) for part in server_first.split(b","))
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), base64.b64decode(fields[b"s"]), int(fields[b"i"]))
    client_key = hmac.new(salted, b"Client Key", "sha256").digest()
    bare = b"c=" + base64.b64encode(gs2) + b",r=" + fields[b"r"] + extra
    stored_key, signed = hashlib.sha256(client_key).digest(), b",".join((first_bare, server_first, bare))
    signature = hmac.new(stored_key, signed, "sha256").digest()
    return bare + b",p=" + base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True)))


class ScramTests(SynchronousTestCase):
    """The dialogue."""

    def test_rfc_7677(self) -> None:
        """The exchange printed in RFC 7677 section 3 runs octet for octet."""
        exchange = scram()
        self.assertEqual(
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            say(exchange, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"),
        )
        self.assertEqual(
            b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
            say(exchange, b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
                          b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
        )
        self.assertEqual(Proven(Proof(b"user", True)), exchange.step(b""))

    def test_without_initial_response(self) -> None:
        """A client that sends only the command is asked with an empty challenge."""
        self.assertEqual(Challenge(b""), scram().step(None))

    def login(self, password: str, gs2: bytes = b"n,,", name: bytes = b"user",
              may_try: Callable[[bytes], bool] = anybody, extra: bytes = b"") -> bytes | Proven:
        """Run a login up to the answer to the client-final message."""
        exchange, bare = scram(may_try), b"n=" + name + b",r=" + CLIENT_NONCE + extra
        server_first = say(exchange, gs2 + bare)
        assert isinstance(server_first, bytes)
        return say(exchange, final(password, bare, server_first, gs2, extra))

    def test_variants_that_succeed(self) -> None:
        """Clients that could bind to a channel, name themselves twice or send extensions log in."""
        for gs2 in (b"n,,", b"y,,", b"n,a=user,", b"y,a=USER,"):
            self.assertIsInstance(self.login("pencil", gs2), bytes, gs2)
        self.assertIsInstance(self.login("pencil", extra=b",x=1"), bytes)

    def test_failures_look_alike(self) -> None:
        """A wrong password, an unknown user, somebody else's name and a throttled client all get the same end."""
        for result in (self.login("pen"), self.login("pencil", name=b"nobody"), self.login("pencil", b"n,a=boss,"),
                       self.login("pencil", may_try=lambda name: False)):
            assert isinstance(result, Proven)
            self.assertFalse(result.credentials.proven)  # type: ignore[union-attr]

    def test_unknown_name_gets_a_stable_salt(self) -> None:
        """Asking twice for a name that does not exist shows the same salt, as a real one would; other names differ."""
        salts = [say(scram(), b"n,,n=" + name + b",r=abc") for name in (b"ghost", b"ghost", b"spook")]
        self.assertEqual(salts[0], salts[1])
        self.assertNotEqual(salts[0], salts[2])

    def test_escaped_name(self) -> None:
        """Commas and equals signs in a name are written =2C and =3D; any other use of = is an error."""
        users = OneUser()
        say(Scram(users, OUR_NONCE, anybody), b"n,,n=a=2Cb=3Dc,r=abc")
        self.assertEqual(["a,b=c"], users.asked)
        for name in (b"a=", b"a=2c", b"=3", b"a=00"):
            with self.assertRaises(SASLError, msg=repr(name)):
                say(scram(), b"n,,n=" + name + b",r=abc")

    def test_malformed_first(self) -> None:
        """Channel binding, mandatory extensions, a missing name or nonce are errors of syntax."""
        for message in (b"", b"n", b"n,,", b"p=tls-unique,,n=user,r=a", b"x,,n=user,r=a", b"n,,n=,r=a", b"n,,n=user,r=",
                        b"n,,m=x,n=user,r=a", b"n,,n=user,r=a b", b"n,,n=u\0,r=a", b"n,,n=user,r=a\n",
                        b"n,a=,n=user,r=a"):
            with self.assertRaises(SASLError, msg=repr(message)):
                say(scram(), message)

    def test_malformed_final(self) -> None:
        """A changed nonce or binding, or a proof that is none, ends the exchange."""
        nonce = CLIENT_NONCE + OUR_NONCE
        for message in (b"", b"c=eSws,r=" + nonce + b",p=AAAA", b"c=biws,r=" + CLIENT_NONCE + b",p=AAAA",
                        b"c=biws,r=" + nonce, b"c=biws,r=" + nonce + b",p=A", b"c=biws,r=" + nonce + b",p=AAAA,x=1"):
            exchange = scram()
            say(exchange, b"n,,n=user,r=" + CLIENT_NONCE)
            with self.assertRaises(SASLError, msg=repr(message)):
                say(exchange, message)

    def test_short_proof_is_wrong(self) -> None:
        """A proof of another length than SHA-256's is only wrong."""
        exchange = scram()
        say(exchange, b"n,,n=user,r=" + CLIENT_NONCE)
        result = say(exchange, b"c=biws,r=" + CLIENT_NONCE + OUR_NONCE + b",p=AAAA")
        self.assertEqual(Proven(Proof(b"user", False)), result)

    def test_last_answer_is_empty(self) -> None:
        """Octets after the server's signature are an error: the login is not given."""
        exchange = scram()
        bare = b"n=user,r=" + CLIENT_NONCE
        server_first = say(exchange, b"n,," + bare)
        assert isinstance(server_first, bytes)
        say(exchange, final("pencil", bare, server_first))
        with self.assertRaises(SASLError):
            say(exchange, b"x")

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.binary(max_size=80) | st.sampled_from(
        [b"n,,n=user,r=abc", b"c=biws,r=abc" + OUR_NONCE + b",p=AAAA", b"y,,n=\xc3\xa9,r=x", b"",
         b"n,,n=\xff,r=a"]), max_size=4))
    def test_nothing_else_is_raised(self, messages: list[bytes]) -> None:
        """Whatever a client sends, it gets a challenge, a failed end or an error of syntax; never a success."""
        exchange = scram()
        for message in messages:
            try:
                result = exchange.step(base64.b64encode(message))
            except SASLError:
                break
            if isinstance(result, Proven):
                self.assertEqual(False, result.credentials.proven)  # type: ignore[union-attr]
                break


class VerifierTests(SynchronousTestCase):
    """What is stored for SCRAM."""

    def test_text_round_trip(self) -> None:
        """The stored text gives the verifier back."""
        self.assertEqual(PENCIL, ScramVerifier.parse(PENCIL.text))
        self.assertTrue(PENCIL.text.startswith("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"))

    def test_bad_text(self) -> None:
        """Text that is no verifier is refused without being shown."""
        for text in ("", "x", PENCIL.text + "\n", PENCIL.text.replace("4096", "0"),
                     PENCIL.text.replace("4096", "9999999"), PENCIL.text.replace("gQ==", "gQ=")):
            error = self.assertRaises(ValueError, ScramVerifier.parse, text)
            self.assertNotIn("$", str(error))

    def test_keys_are_not_shown(self) -> None:
        """The repr of a verifier holds no key."""
        self.assertEqual("ScramVerifier(iterations=4096)", repr(PENCIL))
