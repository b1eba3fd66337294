"""The client's side of SASL: vectors of the RFCs, and every mechanism against our own server's."""

from __future__ import annotations

from base64 import b64decode, b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.sasl import client
from mailbridge.sasl.client import ClientMechanism, MechanismFailed, for_password
from mailbridge.sasl.mechanisms import Mechanisms
from mailbridge.sasl.values import CramMD5, Password, Proof, Proven, SASLError
from mailbridge.sasl.verifier import ScramVerifier

USER, PASSWORD = "bonnie=,ž", "pencil ☃"
VERIFIER = ScramVerifier.derive(PASSWORD, b"0123456789abcdef")


class _Verifiers:
    def scram(self, username: str) -> ScramVerifier:
        """The one there is."""
        return VERIFIER


OFFERED = ("SCRAM-SHA-256", "CRAM-MD5", "PLAIN", "LOGIN")


def exchange(mechanism: ClientMechanism) -> Proven:
    """What our server makes of this client."""
    server = Mechanisms(OFFERED, "bridge.example", lambda size: b"r" * size, _Verifiers()).start(mechanism.name)
    assert server is not None
    initial = mechanism.start()
    answer = server.step(None if initial is None else b64encode(initial) or b"=")
    while not isinstance(answer, Proven):
        answer = server.step(b64encode(mechanism.step(b64decode(answer.data))))
    return answer


class OwnServerTests(SynchronousTestCase):
    """Our client logs in at our server."""

    def test_passwords(self) -> None:
        """PLAIN and LOGIN carry the name and the password."""
        for mechanism in (client.Plain(USER, PASSWORD), client.Login(USER, PASSWORD)):
            credentials = exchange(mechanism).credentials
            assert isinstance(credentials, Password)
            self.assertEqual((credentials.username, credentials.password), (USER.encode(), PASSWORD.encode()))

    def test_cram(self) -> None:
        """The digest fits the password and no other."""
        credentials = exchange(client.CramMD5(USER, PASSWORD)).credentials
        assert isinstance(credentials, CramMD5)
        self.assertEqual(credentials.expected(PASSWORD.encode()), credentials.digest)
        self.assertNotEqual(credentials.expected(b"other"), credentials.digest)

    def test_scram(self) -> None:
        """Both sides prove that they know the password; a wrong one is found out."""
        mechanism = client.Scram(USER, PASSWORD, b"clientnonce")
        self.assertFalse(mechanism.satisfied)
        self.assertEqual(exchange(mechanism).credentials, Proof(USER.encode(), proven=True))
        self.assertTrue(mechanism.satisfied)
        wrong = client.Scram(USER, "other", b"clientnonce")
        self.assertEqual(exchange(wrong).credentials, Proof(USER.encode(), proven=False))
        self.assertFalse(wrong.satisfied)


class VectorTests(SynchronousTestCase):
    """The examples of the RFCs."""

    def test_scram(self) -> None:
        """RFC 7677 section 3."""
        mechanism = client.Scram("user", "pencil", b"rOprNGfwEbeRWgbNEkqO")
        self.assertEqual(mechanism.start(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO")
        self.assertEqual(
            mechanism.step(b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"),
            b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        )
        self.assertEqual(mechanism.step(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="), b"")
        self.assertTrue(mechanism.satisfied)

    def test_digest_md5(self) -> None:
        """RFC 2831 section 4 (its IMAP example); a server that does not prove itself is found out."""
        challenge = (
            b'realm="elwood.innosoft.com",nonce="OA6MG9tEQGm2hh",qop="auth",algorithm=md5-sess,charset=utf-8'
        )
        right_proof = b"rspauth=ea40f60335c427b5527b84dbabcdfffd"
        for proof, right in ((right_proof, True), (b"rspauth=ea40", False), (b"", False)):
            mechanism = client.DigestMD5("chris", "secret", "elwood.innosoft.com", b"OA6MHXh6VqTrRk", "imap")
            self.assertIn(b"response=d388dad90d4bbd760a152321f2143af7", mechanism.step(challenge))
            if right:
                self.assertEqual(mechanism.step(proof), b"")
            else:
                self.assertRaises(MechanismFailed, mechanism.step, proof)

    def test_cram_md5(self) -> None:
        """RFC 2195 section 2."""
        self.assertEqual(
            client.CramMD5("tim", "tanstaaftanstaaf").step(b"<1896.697170952@postoffice.reston.mci.net>"),
            b"tim b913a602c7eda7a495b4e6e7334d3890",
        )

    def test_bearer(self) -> None:
        """RFC 7628 section 4.1, and Google's XOAUTH2."""
        token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg=="
        mechanism = client.OAuthBearer("user@example.com", token, "s.example", 587)
        self.assertEqual(mechanism.start(), b"n,a=user@example.com,\x01host=s.example\x01port=587\x01auth=Bearer "
                                            b"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01")
        self.assertEqual(mechanism.step(b'{"status":"invalid_token"}'), b"\x01")
        self.assertEqual(client.XOAuth2("u@g.example", "tok").start(), b"user=u@g.example\x01auth=Bearer tok\x01\x01")
        self.assertEqual(client.External("").start(), b"")


class HostileTests(SynchronousTestCase):
    """What a server may not do."""

    def test_scram_bounds(self) -> None:
        """Too few or too many iterations, another's nonce and nonsense are refused before any proof is shown."""
        for first in (b"r=Xn,s=MTIz,i=4095", b"r=Xn,s=MTIz,i=1000000", b"r=other,s=MTIz,i=4096", b"",
                      b"r=Xn,s=%%,i=4096", b"m=1,r=Xn,s=MTIz,i=4096"):
            self.assertRaises(MechanismFailed, client.Scram("u", "p", b"X").step, first)

    def test_false_server(self) -> None:
        """A server that does not know the password cannot finish SCRAM."""
        mechanism = client.Scram("u", "p", b"X")
        mechanism.step(b"r=Xn,s=MTIz,i=4096")
        self.assertRaises(MechanismFailed, mechanism.step, b"v=" + b64encode(b"0" * 32))
        self.assertFalse(mechanism.satisfied)

    def test_digest_challenges(self) -> None:
        """A DIGEST-MD5 challenge cannot end a quoted text, or ask for something else than `auth`."""
        for challenge in (b"", b"realm=x", b'nonce="a\\"b"', b'nonce="n",qop="auth-conf"', b'nonce="n",realm="a\\\\"'):
            self.assertRaises(MechanismFailed, client.DigestMD5("u", "p", "h", b"c").step, challenge)

    def test_more_challenges(self) -> None:
        """Mechanisms that have said all they have to say refuse to go on."""
        login = client.Login("u", "p")
        login.step(b""), login.step(b"")
        for mechanism in (login, client.Plain("u", "p"), client.External("u")):
            self.assertRaises(MechanismFailed, mechanism.step, b"more")

    def test_secrets_are_not_shown(self) -> None:
        """No repr shows a password or token, and no error about one does."""
        for mechanism in [*for_password("u", "hidden-pw", "h", lambda: b"n", True), client.XOAuth2("u", "hidden-tok"),
                          client.OAuthBearer("u", "hidden-tok", "h", 1)]:
            self.assertNotIn("hidden", repr(mechanism))
        for call in (lambda: client.XOAuth2("u", "hidden\x01tok"), lambda: client.OAuthBearer("u", "hidden-é", "h", 1),
                     lambda: client.Plain("u", "hidden\0pw"), lambda: client.Scram("u", "hidden\r\n", b"n")):
            failure = self.assertRaises((MechanismFailed, SASLError), call)
            self.assertNotIn("hidden", repr(failure) + str(failure) + repr(failure.__cause__))

    def test_strongest_first(self) -> None:
        """The order of trying; without TLS no password is shown."""
        names = [each.name for each in for_password("u", "p", "h", lambda: b"n", True)]
        self.assertEqual(names, ["SCRAM-SHA-256", "DIGEST-MD5", "CRAM-MD5", "PLAIN", "LOGIN"])
        names = [each.name for each in for_password("u", "p", "h", lambda: b"n", False)]
        self.assertEqual(names, ["SCRAM-SHA-256", "DIGEST-MD5", "CRAM-MD5"])

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.one_of(st.binary(max_size=60), st.sampled_from([b"r=Xn,s=MTIz,i=4096", b'nonce="n",realm="r"'])),
                    min_size=1, max_size=4))
    def test_any_challenge(self, challenges: list[bytes]) -> None:
        """Any challenge is answered or refused with MechanismFailed or ValueError, and nothing else."""
        for mechanism in [*for_password("u", "p", "h", lambda: b"X", True), client.XOAuth2("u", "t", True)]:
            mechanism.start()
            try:
                for challenge in challenges:
                    mechanism.step(challenge)
            except (MechanismFailed, ValueError):
                pass
