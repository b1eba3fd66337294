"""PLAIN, LOGIN and CRAM-MD5 as clients speak them, with the vectors of the RFCs."""

from __future__ import annotations

import base64

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.sasl.exchange import MAX_RESPONSE
from mailbridge.sasl.mechanisms import Mechanisms
from mailbridge.sasl.simple import Cram, Login, Plain
from mailbridge.sasl.values import Apop, BadBase64, Cancelled, Challenge, CramMD5, Password, Proven, SASLError


def b64(message: bytes) -> bytes:
    return base64.b64encode(message)


class PlainTests(SynchronousTestCase):
    """One message with a name and a password."""

    def test_initial_response(self) -> None:
        """A client that sends name and password with the command is through in one step (RFC 4616 section 4)."""
        result = Plain().step(b64(b"\0tim\0tanstaaftanstaaf"))
        self.assertEqual(Proven(Password(b"tim", b"tanstaaftanstaaf")), result)

    def test_empty_challenge(self) -> None:
        """A client that sends only the command is asked with an empty challenge."""
        exchange = Plain()
        self.assertEqual(Challenge(b""), exchange.step(None))
        self.assertEqual(Proven(Password(b"tim", b"x")), exchange.step(b64(b"\0tim\0x")))

    def test_authzid(self) -> None:
        """Acting as oneself is fine in any case of letters; acting as somebody else is marked."""
        for authzid, another in ((b"", False), (b"TIM", False), (b"harold", True), (b"tim@example.org", True)):
            result = Plain().step(b64(authzid + b"\0tim\0x"))
            assert isinstance(result, Proven) and isinstance(result.credentials, Password)
            self.assertEqual(another, result.credentials.for_another, authzid)

    def test_malformed(self) -> None:
        """A message that is no PLAIN message is an error of syntax, not a wrong password."""
        for message in (b"", b"tim", b"\0tim", b"\0\0x", b"\0tim\0x\0", b"\0a\nb\0x", b"\0\xff\0x",
                        b"\0" + b"t" * 513 + b"\0"):
            with self.assertRaises(SASLError, msg=repr(message)):
                Plain().step(b64(message))

    def test_base64_is_strict(self) -> None:
        """Blanks, missing padding, stray bits and other letters are refused as no base64."""
        for octets in (b"AHRpbQB4 ", b"AHRpbQB", b"AHRpbQB4=", b"AHRpbQ\r\nB4", b"AHRpbR==", b"AHR_bQB4",
                       b"\xff", b"===="):
            with self.assertRaises(BadBase64, msg=repr(octets)):
                Plain().step(octets)

    def test_too_long(self) -> None:
        """A response longer than RFC 4954 allows is refused before it is decoded."""
        with self.assertRaises(SASLError):
            Plain().step(b"A" * (MAX_RESPONSE + 4))

    def test_cancelled(self) -> None:
        """A star ends the exchange, and nothing can follow it."""
        exchange = Plain()
        exchange.step(None)
        with self.assertRaises(Cancelled):
            exchange.step(b"*")
        with self.assertRaises(SASLError):
            exchange.step(b64(b"\0tim\0x"))

    def test_no_secret_in_repr(self) -> None:
        """A password or digest never shows in a repr, whatever logs it."""
        for value in (Password(b"tim", b"hidden"), CramMD5(b"tim", b"<1@x>", b"hidden"),
                      Apop(b"tim", b"<1@x>", b"hidden")):
            self.assertNotIn("hidden", repr(Proven(value)))


class LoginTests(SynchronousTestCase):
    """The old mechanism that asks for the name, then for the password."""

    def test_asks_twice(self) -> None:
        """The prompts are those that devices compare letter by letter."""
        exchange = Login()
        self.assertEqual(Challenge(b"VXNlcm5hbWU6"), exchange.step(None))
        self.assertEqual(Challenge(b"UGFzc3dvcmQ6"), exchange.step(b64(b"tim")))
        self.assertEqual(Proven(Password(b"tim", b"x")), exchange.step(b64(b"x")))

    def test_name_with_the_command(self) -> None:
        """A name sent with the command saves the first prompt; an equals sign is an empty name, which is refused."""
        exchange = Login()
        self.assertEqual(Challenge(b"UGFzc3dvcmQ6"), exchange.step(b64(b"tim")))
        with self.assertRaises(SASLError):
            Login().step(b"=")

    def test_empty_answer_to_a_prompt(self) -> None:
        """An empty name is refused; an empty password is passed on, to be found wrong."""
        exchange = Login()
        exchange.step(b64(b"tim"))
        self.assertEqual(Proven(Password(b"tim", b"")), exchange.step(b""))


class DigestTests(SynchronousTestCase):
    """CRAM-MD5 and APOP against the examples in their RFCs."""

    def test_cram_md5(self) -> None:
        """The exchange of RFC 2195 section 2 succeeds with the right secret and with no other."""
        exchange = Cram(b"<1896.697170952@postoffice.reston.mci.net>")
        challenge = exchange.step(None)
        self.assertEqual(Challenge(b"PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"), challenge)
        result = exchange.step(b"dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw")
        assert isinstance(result, Proven) and isinstance(result.credentials, CramMD5)
        self.assertEqual(b"tim", result.credentials.username)
        self.assertTrue(result.credentials.proves(b"tanstaaftanstaaf"))
        self.assertFalse(result.credentials.proves(b"tanstaaf"))

    def test_cram_malformed(self) -> None:
        """A response without a name, or with a digest that is none, is an error of syntax."""
        for message in (b"", b"tim", b"tim " + b"g" * 32, b" " + b"0" * 32, b"tim " + b"0" * 33):
            exchange = Cram(b"<1@x>")
            exchange.step(None)
            with self.assertRaises(SASLError, msg=repr(message)):
                exchange.step(b64(message))
        with self.assertRaises(SASLError):
            Cram(b"<1@x>").step(b64(b"tim " + b"0" * 32))

    def test_apop(self) -> None:
        """The digest of RFC 1939 section 7 proves the secret; octets that are not ASCII prove nothing."""
        stamp = b"<1896.697170952@dbc.mtview.ca.us>"
        self.assertTrue(Apop(b"mrose", stamp, b"c4c9334bac560ecc979e58001b3e22fb").proves(b"tanstaaf"))
        self.assertFalse(Apop(b"mrose", stamp, b"\xff" * 32).proves(b"tanstaaf"))


class MechanismsTests(SynchronousTestCase):
    """Which mechanisms a client sees."""

    offered = Mechanisms(("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"), "bridge.example.org",
                         lambda size: b"\1" * size)

    def test_no_password_in_clear(self) -> None:
        """Without TLS only mechanisms that do not show the password are listed."""
        self.assertEqual(("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN"), self.offered.names(True))
        self.assertEqual(("SCRAM-SHA-256", "CRAM-MD5"), self.offered.names(False))

    def test_start(self) -> None:
        """A mechanism is found in any case of letters; one that is unknown, or has no verifiers, is not started."""
        self.assertIsInstance(self.offered.start("plain"), Plain)
        self.assertIsInstance(self.offered.start("Login"), Login)
        for name in ("", "GSSAPI", "PLAIN ", "SCRAM-SHA-256"):
            self.assertIsNone(self.offered.start(name), name)

    def test_cram_challenge(self) -> None:
        """The challenge is a message id of this host with our randomness in it."""
        exchange = self.offered.start("CRAM-MD5")
        assert exchange is not None
        challenge = exchange.step(None)
        assert isinstance(challenge, Challenge)
        self.assertEqual(b"<" + b"01" * 18 + b"@bridge.example.org>", base64.b64decode(challenge.data))

    @settings(max_examples=300, deadline=None)
    @given(st.sampled_from(["PLAIN", "LOGIN", "CRAM-MD5"]),
           st.lists(st.none() | st.binary(max_size=60) | st.binary(max_size=60).map(b64)
                    | st.tuples(st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9))
                    .map(b"\0".join).map(b64), max_size=4))
    def test_nothing_else_is_raised(self, name: str, responses: list[bytes | None]) -> None:
        """Whatever a client sends, it gets a challenge, an end or an error of syntax."""
        exchange = self.offered.start(name)
        assert exchange is not None
        for response in responses:
            try:
                result = exchange.step(response)
            except SASLError:
                break
            self.assertIsInstance(result, Challenge | Proven)
            if isinstance(result, Proven):
                break
