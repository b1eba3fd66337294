"""From the greeting to the login: what is said to which server, and what never."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.pop3.answer import Answer, Challenge, time_stamp
from mailbridge.pop3.capabilities import MOST_LINES, Capabilities
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.pop3.opening import Encrypt, Opened, open_steps
from mailbridge.pop3.upstream import UpstreamLogin

OK, ERR = Answer(True), Answer(False, "no")
EMPTY = Challenge(b"")
GREETING = Answer(True, octets=b"ready <1896.697170952@dbc.mtview.ca.us>")
BONNIE = UpstreamLogin("bonnie", "tanstaaf")
RESPONSES: dict[str, Any] = {"greeting": GREETING, "CAPA": (OK, b"USER\r\nSASL PLAIN CRAM-MD5\r\nSTLS\r\n")}


class Talk:
    """The steps against a table of answers: what is said (in full), and what it comes to."""

    def __init__(
        self, login: UpstreamLogin = BONNIE, tls: str = "off", loopback: bool = False, **answers: Any
    ) -> None:
        self.said: list[str] = []
        table = {**RESPONSES, "STLS": OK, "USER": OK, "PASS": OK, "APOP": OK, "AUTH": [EMPTY, OK], **answers}
        steps = open_steps(tls, login, loopback, lambda octets: b"n" * octets)
        self.opened: Opened | None = None
        self.error: UpstreamError | None = None
        following: list[Any] = []
        result: Any = None
        while True:
            try:
                step = steps.send(result)
            except StopIteration as stop:
                self.opened = stop.value
                return
            except UpstreamError as error:
                self.error = error
                return
            if isinstance(step, Encrypt):
                self.said.append("TLS")
                result = None
                continue
            line = step.octets.decode().removesuffix("\r\n")
            if step.octets:
                self.said.append(line)
            verb = line.partition(" ")[0] if step.octets else "greeting"
            if verb in table:
                found = table[verb]
                following = list(found) if isinstance(found, list) else [found]
            result = following.pop(0)
            if callable(result):
                result = result(line)

    @property
    def kind(self) -> Kind | None:
        """What went wrong."""
        return self.error.kind if self.error is not None else None


def plain(user: str = "bonnie", password: str = "tanstaaf") -> str:
    """The response of PLAIN."""
    return b64encode(f"\0{user}\0{password}".encode()).decode()


class LoginTests(SynchronousTestCase):
    """Which login is taken."""

    def test_strongest_first(self) -> None:
        """CRAM-MD5 before PLAIN, also in clear: it keeps the password to itself."""
        challenge = b"<1@x>"
        talk = Talk(AUTH=[Challenge(challenge), OK])
        digest = hmac.digest(b"tanstaaf", challenge, "md5").hex()
        self.assertEqual(talk.said, ["CAPA", "AUTH CRAM-MD5", b64encode(f"bonnie {digest}".encode()).decode()])
        assert talk.opened is not None
        self.assertEqual((talk.opened.login, talk.opened.encrypted), ("CRAM-MD5", False))

    def test_in_clear(self) -> None:
        """What shows the password waits for TLS, loopback or permission; USER where there is no SASL."""
        user = ["USER bonnie", "PASS tanstaaf"]
        for capabilities, challenges, said in (
            ((OK, b"SASL PLAIN LOGIN\r\n"), 1, ["AUTH PLAIN", plain()]),
            ((OK, b"USER\r\n"), 0, user), (ERR_CAPA, 0, user),
            ((OK, b"SASL LOGIN\r\n"), 2, ["AUTH LOGIN", "Ym9ubmll", "dGFuc3RhYWY="]),
        ):
            answers = {"CAPA": capabilities, "AUTH": [EMPTY] * challenges + [OK]}
            refused = Talk(**answers)
            self.assertIs(refused.kind, Kind.LOGIN)
            self.assertEqual(refused.said, ["CAPA"])
            for talk in (
                Talk(loopback=True, **answers), Talk(UpstreamLogin("bonnie", "tanstaaf", in_clear=True), **answers),
            ):
                self.assertEqual(talk.said, ["CAPA", *said])
                self.assertIsNotNone(talk.opened)
            self.assertEqual(Talk(tls="implicit", **answers).said, ["TLS", "CAPA", *said])

    def test_asked_for_by_name(self) -> None:
        """A login that is asked for is taken whether it is offered or not, and no other."""
        answers: dict[str, Any] = {"CAPA": (OK, b"\r\n"), "loopback": True}
        self.assertEqual(Talk(UpstreamLogin("b", "p", auth="user"), **answers).said, ["CAPA", "USER b", "PASS p"])
        talk = Talk(UpstreamLogin("b", "p", auth="plain"), **answers)
        self.assertEqual(talk.said, ["CAPA", "AUTH PLAIN", plain("b", "p")])
        talk = Talk(UpstreamLogin("b", "p", auth="scram-sha-256"), AUTH=[ERR], **answers)
        self.assertEqual((talk.said, talk.kind), (["CAPA", "AUTH SCRAM-SHA-256"], Kind.LOGIN))
        for auth in ("user", "plain", "login", "xoauth2"):
            login = UpstreamLogin("b", None if auth == "xoauth2" else "p", "t" if auth == "xoauth2" else None, auth)
            self.assertEqual(Talk(login, CAPA=(OK, b"")).said, ["CAPA"], auth)

    def test_apop(self) -> None:
        """The digest of RFC 1939's own example; only when it is asked for."""
        login = UpstreamLogin("mrose", "tanstaaf", auth="apop")
        self.assertEqual(Talk(login).said, ["CAPA", "APOP mrose c4c9334bac560ecc979e58001b3e22fb"])
        self.assertEqual(hashlib.md5(b"<1896.697170952@dbc.mtview.ca.us>tanstaaf").hexdigest(),
                         "c4c9334bac560ecc979e58001b3e22fb")
        self.assertIs(Talk(login, APOP=ERR).kind, Kind.LOGIN)
        self.assertIs(Talk(login, greeting=OK).kind, Kind.LOGIN)

    def test_time_stamps(self) -> None:
        """Only a message id is a time stamp."""
        for octets, stamp in (
            (b"<1@x>", b"<1@x>"), (b"POP3 <a.b-1@c.d> ready", b"<a.b-1@c.d>"), (b"<a b@x>", None), (b"<@x>", None),
            (b"<a@b@c>", None), (b"<a\xff@x>", None), (b"<a@x", None), (b"<" + b"a" * 200 + b"@x>", None), (b"", None),
        ):
            self.assertEqual(time_stamp(Answer(True, octets=octets)), stamp, octets)

    def test_token_in_two_steps(self) -> None:
        """XOAUTH2 always waits for the server's `+`, as Microsoft wants it; an error in a challenge is answered."""
        login = UpstreamLogin("bonnie", token="tok", in_clear=True)
        encoded = b64encode(b"user=bonnie\x01auth=Bearer tok\x01\x01").decode()
        self.assertEqual(Talk(login).said, ["CAPA", "AUTH XOAUTH2", encoded])
        talk = Talk(login, AUTH=[EMPTY, Challenge(b'{"status":"400"}'), ERR])
        self.assertEqual(talk.said, ["CAPA", "AUTH XOAUTH2", encoded, ""])
        self.assertIs(talk.kind, Kind.LOGIN)
        self.assertEqual(Talk(UpstreamLogin("bonnie", token="tok")).said, ["CAPA"])

    def test_guesses(self) -> None:
        """A refused password is tried once more at most, in the other manner; a maildrop in use is no reason to."""
        both = {"AUTH": [ERR], "loopback": True, "CAPA": (OK, b"USER\r\nSASL SCRAM-SHA-256 CRAM-MD5 PLAIN LOGIN\r\n")}
        self.assertEqual(Talk(**both).said, ["CAPA", "AUTH SCRAM-SHA-256", "AUTH PLAIN"])
        no_plain = {**both, "CAPA": (OK, b"USER\r\nSASL CRAM-MD5\r\n"), "PASS": ERR}
        self.assertEqual(Talk(**no_plain).said, ["CAPA", "AUTH CRAM-MD5", "USER bonnie", "PASS tanstaaf"])
        for code in ("IN-USE", "SYS/TEMP", "LOGIN-DELAY"):
            talk = Talk(**{**both, "AUTH": [Answer(False, "x", code)]})
            self.assertEqual(talk.said, ["CAPA", "AUTH SCRAM-SHA-256"])
            assert talk.error is not None
            self.assertEqual(talk.error.code, code)

    def test_server_without_proof(self) -> None:
        """A server that takes SCRAM without proving that it knows the password is not believed."""
        talk = Talk(CAPA=(OK, b"SASL SCRAM-SHA-256\r\n"), AUTH=[EMPTY, OK])
        self.assertIs(talk.kind, Kind.PROTOCOL)

    def test_no_second_command_in_a_name(self) -> None:
        """A control character in a name or password is an error before anything is said with it, and not shown."""
        for user, password in (("a\r\nDELE 1", "p"), ("a", "p\nQUIT"), ("a\0", "p"), ("", "p"), ("a", "p\x7f")):
            for auth in ("user", "auto", "apop"):
                talk = Talk(UpstreamLogin(user, password, auth=auth, in_clear=True), CAPA=ERR_CAPA)
                self.assertIs(talk.kind, Kind.LOGIN, (user, password, auth))
                self.assertFalse([line for line in talk.said if not line.isprintable() or "PASS" in line])
                self.assertNotIn("DELE", str(talk.error))


class TLSTests(SynchronousTestCase):
    """STLS by policy."""

    def test_capabilities_in_clear_do_not_count(self) -> None:
        """After TLS the server is asked again, and only that counts."""
        seen: list[str] = []

        def capabilities(_line: str) -> Any:
            seen.append("asked")
            return OK, b"STLS\r\nUSER\r\nSASL PLAIN\r\n" if len(seen) == 1 else b"SASL LOGIN\r\nUIDL\r\n"

        talk = Talk(tls="require", CAPA=capabilities, AUTH=[EMPTY, EMPTY, OK])
        self.assertEqual(talk.said[:5], ["CAPA", "STLS", "TLS", "CAPA", "AUTH LOGIN"])
        assert talk.opened is not None
        self.assertNotIn("USER", talk.opened.capabilities)
        self.assertIn("UIDL", talk.opened.capabilities)
        self.assertTrue(talk.opened.encrypted)

    def test_required(self) -> None:
        """Without STLS in the list, or with a refusal, `require` says nothing more."""
        for answers in ({"CAPA": (OK, b"USER\r\n")}, {"CAPA": ERR_CAPA}, {"STLS": ERR}):
            talk = Talk(tls="require", **answers)
            self.assertIs(talk.kind, Kind.TLS)
            self.assertFalse([line for line in talk.said if line not in ("CAPA", "STLS")])

    def test_opportunistic(self) -> None:
        """TLS where it is offered; without, no password in clear except on loopback."""
        self.assertEqual(Talk(tls="opportunistic", AUTH=[Challenge(b"x"), OK]).said[:3], ["CAPA", "STLS", "TLS"])
        answers = {"CAPA": (OK, b"USER\r\n")}
        self.assertIs(Talk(tls="opportunistic", **answers).kind, Kind.LOGIN)
        self.assertIsNotNone(Talk(tls="opportunistic", loopback=True, **answers).opened)

    def test_greeting_refused(self) -> None:
        """A server that refuses the session is told nothing."""
        talk = Talk(greeting=Answer(False, "[SYS/TEMP] later", "SYS/TEMP"))
        self.assertEqual((talk.kind, talk.said), (Kind.REFUSED, []))


class CapabilityTests(SynchronousTestCase):
    """What is read from an answer to CAPA."""

    def test_lines(self) -> None:
        """Any case, stray CR and blanks; the first line of a name counts; mechanisms in capitals."""
        found = Capabilities.parse(b"uidl\r\r\n Pipelining \r\nSASL plain  XOAUTH2\r\r\nsasl LOGIN\r\n\r\n\0\xff x\r\n")
        for name in ("UIDL", "PIPELINING", "SASL"):
            self.assertIn(name, found)
        self.assertEqual(found.mechanisms, ("PLAIN", "XOAUTH2"))
        self.assertNotIn("STLS", found)
        self.assertTrue(found.known)

    def test_bounded(self) -> None:
        """Only so many lines are kept."""
        found = Capabilities.parse(b"".join(b"X%d\r\n" % number for number in range(10_000)))
        self.assertEqual(len(found.parameters), MOST_LINES)


ERR_CAPA = (ERR, b"")
