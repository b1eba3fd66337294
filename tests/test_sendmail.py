"""`sendmessage`, option by option, with servers in memory."""

from __future__ import annotations

import io
import socket
from base64 import b64decode
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.sendmail import Kind, Phase, SendFailure, SendResult, Trust, sendmessage
from mailbridge.testing.hostile import HostileFactory, Script, ehlo
from mailbridge.testing.network import Network
from tests.edge.smtp_world import World

MESSAGE = b"From: f@x.example\r\nSubject: hi\r\n\r\nbody\r\n"
BASIC: dict[str, Any] = {
    "servers": "mx.example", "originator": "a@x.example", "recipients": ["b@y.example"], "client_name": "us.example",
}


class Sending:
    """One call with one server, `mx.example:25`, of a script."""

    def __init__(self, script: Script | None = None, message: Any = MESSAGE, port: int = 25, **options: Any) -> None:
        self.network = Network()
        self.server = HostileFactory(self.network, script or {})
        self.network.servers[("mx.example", port)] = self.server
        self.outcomes: list[Any] = []
        self.deferred = sendmessage(self.network, message, **{**BASIC, **options})
        self.deferred.addBoth(self.outcomes.append)
        self.network.settle()

    @property
    def outcome(self) -> Any:
        """The one outcome, after a while."""
        for _ in range(7000):
            if self.outcomes:
                break
            self.network.advance(0.5)
        (found,) = self.outcomes
        return found.value if isinstance(found, Failure) else found

    @property
    def result(self) -> SendResult:
        """The success."""
        assert isinstance(self.outcome, SendResult), repr(self.outcome)
        return self.outcome

    @property
    def failure(self) -> SendFailure:
        """The failure."""
        assert isinstance(self.outcome, SendFailure), repr(self.outcome)
        return self.outcome

    @property
    def content(self) -> bytes:
        """What the server got."""
        assert isinstance(self.result, SendResult)
        return self.server.messages[-1][1]


class MessageTests(SynchronousTestCase):
    """Where the message comes from."""

    def test_body(self) -> None:
        """Octets, text, and messages of the email package."""
        message = EmailMessage()
        message["Subject"] = "grüße"
        message.set_content("Žluť\n")
        for given, wanted in ((MESSAGE, MESSAGE), ("Subject: ž\n\n.dot", "Subject: ž\r\n\r\n.dot\r\n".encode()),
                              (message, b"Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\n")):
            self.assertIn(wanted, Sending(message=given).content)

    def test_file(self) -> None:
        """`message_file` wins over the message and a handle; one that cannot be read is a failure of the message."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(b"Subject: from a file\n\n.\n")
        handle = io.BytesIO(b"Subject: from a handle\n\n.\n")
        self.assertIn(b"from a file", Sending(message_file=path, file_handle=handle).content)
        self.assertIn(b"from a handle", Sending(file_handle=io.BytesIO(handle.getvalue())).content)
        self.assertTrue(Sending(file_handle=io.StringIO("Subject: x\n\n.\n")).content.endswith(b"\r\n\r\n.\r\n"))
        for wrong in ({"message_file": path + "?"}, {"message": None}, {"message": 7}, {"file_handle": _Broken()}):
            sending = Sending(**wrong)
            self.assertIs(sending.failure.kind, Kind.MESSAGE)
            self.assertEqual(sending.network.attempts, [])

    def test_no_second_header(self) -> None:
        """A header that the email package would write as two (CVE-2024-6923) is refused."""
        message = EmailMessage()
        message["Subject"] = "A \u2603 subject=?UTF-8?Q?=0A?=Bcc: x@y"
        message.set_content("x")
        sending = Sending(message=message)
        if isinstance(sending.outcome, SendResult):  # a Python in which that is mended
            self.assertNotIn(b"\nBcc:", sending.content)
        else:
            self.assertIs(sending.failure.kind, Kind.MESSAGE)

    def test_seven_bit_server(self) -> None:
        """8-bit text is encoded for a server without 8BITMIME; what is signed is not, and fails with 5.6.3."""
        text = "Žluť\r\n" * 20
        head = "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        sending = Sending({"EHLO": (ehlo("SIZE"),)}, message=head + text)
        self.assertTrue(sending.content.isascii())
        self.assertIn(b"quoted-printable", sending.content.lower())
        self.assertIn(b"SIZE=%d" % len(sending.content), sending.server.messages[0][0][0])
        signed = ('MIME-Version: 1.0\r\nContent-Type: multipart/signed; boundary="b"\r\n\r\n--b\r\n' + head + text
                  + "--b\r\nContent-Type: application/pgp-signature\r\n\r\nxx\r\n--b--\r\n")
        failure = Sending({"EHLO": (ehlo("SIZE"),)}, message=signed).failure
        self.assertIs(failure.kind, Kind.SERVER)
        self.assertIn("signed", failure.line)


class _Broken(io.BytesIO):
    def read(self, *_: Any) -> bytes:
        """Never."""
        raise OSError("no disk")


class EnvelopeTests(SynchronousTestCase):
    """Who sends, who receives, who is refused."""

    REFUSE: Script = {"RCPT TO:<no@y": (b"550 5.1.1 who is that\r\n",), "RCPT TO:<later@y": (b"450 4.2.1 later\r\n",)}

    def test_null_sender(self) -> None:
        """An empty originator is the null sender."""
        sending = Sending(originator="")
        self.assertTrue(sending.result)
        self.assertIn(b"MAIL FROM:<>", sending.server.messages[0][0][0])

    def test_nothing_by_default(self) -> None:
        """Neither a sender nor a recipient is made up."""
        for options in ({"recipients": None}, {"recipients": ""}, {"originator": None, "message": b"a: b\r\n\r\n"}):
            self.assertIs(Sending(**options).failure.kind, Kind.MESSAGE)

    def test_from_message(self) -> None:
        """`recipients="from-message"` reads the message's own header."""
        sending = Sending(message=b"From: f@x\nTo: t@y\nBcc: u@y\n\n", originator=None, recipients="from-message")
        self.assertEqual([line.split()[1] for line in sending.server.messages[0][0]] if sending.result else [],
                         [b"FROM:<f@x>", b"TO:<t@y>", b"TO:<u@y>"])

    def test_at_least_one(self) -> None:
        """Off: one refusal and nothing is sent. On: the others get it, and the refusals come with the success."""
        recipients = ["no@y.example", "b@y.example", "later@y.example"]
        failure = (off := Sending(self.REFUSE, recipients=recipients)).failure
        self.assertEqual([(each.address, each.code) for each in failure.refused],
                         [("no@y.example", 550), ("later@y.example", 450)])
        self.assertEqual((off.server.messages, failure.code, failure.kind), ([], 550, Kind.SERVER))
        on = Sending(self.REFUSE, recipients=recipients, at_least_one=True)
        self.assertEqual([(each.address, each.code, each.text) for each in on.result.refused],
                         [("no@y.example", 550, "550 5.1.1 who is that"), ("later@y.example", 450, "450 4.2.1 later")])
        self.assertEqual(len(on.server.messages), 1)
        nobody = Sending(self.REFUSE, recipients=["no@y.example"], at_least_one=True)
        self.assertEqual([each.code for each in nobody.failure.refused], [550])

    def test_bcc_digest(self) -> None:
        """`bcc="digest"` sends a second message over the same session; if only that fails, it is no failure."""
        headers = [("To", "t@y.example"), ("Bcc", "b@y.example"), ("Subject", "plan")]
        options = {"headers": headers, "recipients": None, "bcc": "digest"}
        sending = Sending(**options)
        self.assertTrue(sending.result)
        self.assertEqual([lines[1] for lines, _ in sending.server.messages],
                         [b"RCPT TO:<t@y.example>", b"RCPT TO:<b@y.example>"])
        self.assertEqual(len(sending.server.sessions), 1)
        half = Sending({"RCPT TO:<b@y": (b"550 no\r\n",)}, **options)
        self.assertEqual([each.address for each in half.result.refused], ["b@y.example"])

    def test_other_letters(self) -> None:
        """Headers given are encoded; SMTPUTF8 is said for a message whose own header has other letters."""
        sending = Sending(headers=[("Subject", "grüße"), ("To", "Žofie <z@y.example>")])
        self.assertTrue(sending.content.isascii())
        self.assertNotIn(b"SMTPUTF8", sending.server.messages[0][0][0])
        sending = Sending(message="Subject: grüße\n\nx\n")
        self.assertTrue(sending.result)
        self.assertTrue(sending.server.messages[0][0][0].endswith(b"BODY=8BITMIME SMTPUTF8"))

    def test_dsn(self) -> None:
        """`notify`, `ret` and `envid` go with the envelope."""
        sending = Sending(notify=["SUCCESS"], ret="HDRS", envid="q 1")
        self.assertTrue(sending.result)
        mail, rcpt = sending.server.messages[0][0]
        self.assertIn(b"RET=HDRS ENVID=q+201", mail)
        self.assertIn(b"NOTIFY=SUCCESS", rcpt)

    def test_lmtp(self) -> None:
        """`lmtp` says LHLO and takes an answer for each recipient."""
        answers: Script = {"end": (b"250 for b\r\n452 4.2.2 full\r\n",)}
        two = Sending(answers, lmtp=True, recipients=["b@y.example", "c@y.example"])
        self.assertEqual([(each.address, each.code) for each in two.result.refused], [("c@y.example", 452)])
        self.assertEqual(two.server.commands[0], b"LHLO us.example")


class WayTests(SynchronousTestCase):
    """Servers, ports, names, time."""

    def test_tandem(self) -> None:
        """Servers and ports are walked in tandem; a missing port is 25, a surplus one ignored; 465 for implicit TLS."""
        for ports, tls, wanted in (((2525,), "off", [2525, 25]), ((1, 2, 3), "off", [1, 2]), (26, "off", [26, 25]),
                                   ((), "implicit", [465, 465])):
            sending = Sending(servers=["one.example", "two.example"], ports=ports, tls=tls)
            failure = sending.failure
            self.assertEqual([(host, port) for host, port, _ in sending.network.attempts],
                             list(zip(["one.example", "two.example"], wanted, strict=True)))
            self.assertEqual([name for name, _ in failure.reasons],
                             [f"{host}:{port}" for host, port, _ in sending.network.attempts])
            self.assertIs(failure.kind, Kind.CONNECTION)

    def test_failover(self) -> None:
        """A server that greets with anything but 220, or knows neither EHLO nor HELO, is passed over."""
        for script in ({"connect": (b"554 no\r\n",)}, {"EHLO": (b"502 no\r\n",), "HELO": (b"502 no\r\n",)}):
            network = Network()
            bad, good = HostileFactory(network, script), HostileFactory(network)
            network.servers = {("bad.example", 25): bad, ("good.example", 25): good}
            sending = sendmessage(network, MESSAGE, **{**BASIC, "servers": ["bad.example", "good.example"]})
            network.settle()
            self.assertEqual(self.successResultOf(sending).server, "good.example:25")

    def test_client_name(self) -> None:
        """The EHLO name: as told, else this host's; `localhost` when that is the only server."""
        self.assertEqual(Sending().server.commands[0], b"EHLO us.example")
        self.assertEqual(Sending(client_name=None).server.commands[0], b"EHLO " + socket.gethostname().encode())
        network = Network()
        server = network.servers[("localhost", 25)] = HostileFactory(network)
        sendmessage(network, MESSAGE, originator="a@x", recipients="b@y")
        network.settle()
        self.assertEqual(server.commands[0], b"EHLO localhost")

    def test_bind(self) -> None:
        """`bind_address` and `bind_port` are the local end."""
        sending = Sending(bind_address="192.0.2.1", bind_port=2500)
        self.assertEqual(sending.network.attempts, [("mx.example", 25, ("192.0.2.1", 2500))])

    def test_timeout(self) -> None:
        """`timeout` covers everything from before the connect; `limits` a phase."""
        for options, line in (({"timeout": 3.0}, "not sent within 3 seconds"),
                              ({"limits": {Phase.GREETING: 2.0}}, "greeting: nothing from the server for 2 seconds")):
            sending = Sending({"connect": ()}, **options)
            sending.network.advance(1.9)
            self.assertEqual(sending.outcomes, [])
            sending.network.advance(1.2)
            self.assertIs(sending.failure.kind, Kind.TIMEOUT)
            self.assertIn(line, sending.failure.line)
        network = Network({("dead.example", 25): None})
        sending = sendmessage(network, MESSAGE, **{**BASIC, "servers": "dead.example", "timeout": 5.0})
        network.advance(5.0)
        self.assertIs(self.failureResultOf(sending, SendFailure).value.kind, Kind.TIMEOUT)
        self.assertEqual(network.getDelayedCalls(), [])

    def test_timeout_in_the_goodbye(self) -> None:
        """A message that was taken is a success, even if time runs out while QUIT is not answered."""
        self.assertTrue(Sending({"QUIT": ()}, timeout=1.0).result)

    def test_queue(self) -> None:
        """`queue` says QUED where XQUE is offered, and ONEX is said for a single message; refusals do not matter."""
        script: Script = {"EHLO": (ehlo("XQUE", "ONEX"),), "QUED": (b"500 no\r\n",)}
        sending = Sending(script, queue=True)
        self.assertTrue(sending.result)
        self.assertEqual(sending.server.commands[1:3], [b"QUED", b"ONEX"])
        self.assertNotIn(b"QUED", Sending(script).server.commands)

    def test_context_and_log(self) -> None:
        """`context` and the transcript come back with success and failure; without `transaction_log` there is none."""
        lines: list[str] = []
        for script in ({}, {"MAIL": (b"550 no\r\n",)}):
            outcome = Sending(script, context={"id": 7}, transaction_log=lines.append).outcome
            self.assertEqual(outcome.context, {"id": 7})
            self.assertEqual(list(outcome.transcript[:2]), ["<- 220 hostile.example ESMTP", "-> EHLO us.example"])
            self.assertIn("-> MAIL FROM:<a@x.example> SIZE=", "\n".join(lines))
        self.assertIsNone(Sending().result.transcript)
        self.assertEqual(Sending(transaction_log=True).result.transcript[0], "<- 220 hostile.example ESMTP")

    def test_progress(self) -> None:
        """`progress` is told octets."""
        told: list[tuple[int, int]] = []
        sending = Sending(message=b"x\r\n" * 50_000, progress=lambda *numbers: told.append(numbers))
        self.assertEqual(told[-1], (len(sending.content),) * 2)
        self.assertEqual(told, sorted(told))

    def test_never_raises(self) -> None:
        """Wrong arguments come as a failure, whose text shows none of them."""
        secret = "do-not-show"
        for options in (
            {"servers": []}, {"servers": [""]}, {"tls": "maybe"}, {"bcc": "yes"}, {"timeout": 0}, {"timeout": None},
            {"ports": [0]}, {"ports": "25"}, {"notify": "NEVER"}, {"notify": ["NEVER", "DELAY"]}, {"ret": "ALL"},
            {"client_name": "a b"}, {"client_name": "a\r\nb"}, {"client_name": "á"}, {"servers": 7}, {"headers": [7]},
            {"username": "u"}, {"password": secret}, {"username": "u", "password": secret, "token": "t"},
            {"limits": 5}, {"recipients": 5}, {"originator": 5}, {"username": 5, "password": secret},
        ):
            with self.subTest(**options):
                sending = Sending(**options)
                failure = sending.failure
                self.assertNotIn(secret, repr(failure) + str(vars(failure)))


class LoginTests(SynchronousTestCase):
    """Logins without TLS, and TLS policies."""

    def test_in_clear(self) -> None:
        """A password does not travel in clear unless told; a digest does."""
        login = {"username": "u", "password": "p", "tls": "off"}
        for script, options, mechanism in (
            ({"EHLO": (ehlo("AUTH PLAIN LOGIN"),)}, {}, None),
            ({"EHLO": (ehlo("AUTH PLAIN LOGIN"),)}, {"password_in_clear": True}, "PLAIN"),
            ({"AUTH": (b"334 PDFAMj4=\r\n",)}, {}, "CRAM-MD5"),
            ({"EHLO": (ehlo("AUTH XOAUTH2"),)}, {"password": None, "token": "t"}, None),
        ):
            sending = Sending(script, **{**login, **options})
            if mechanism is None:
                self.assertIs(sending.failure.kind, Kind.LOGIN)
                self.assertFalse([line for line in sending.server.commands if line.startswith(b"AUTH")])
            else:
                self.assertEqual(sending.result.mechanism, mechanism)

    def test_token(self) -> None:
        """A token may come from a callable, and later; if it cannot be had, nothing is sent."""
        later: Deferred[str] = Deferred()
        for token in ("tok", lambda: "tok", lambda: succeed("tok"), lambda: later):
            script: Script = {"EHLO": (ehlo("AUTH XOAUTH2"),)}
            sending = Sending(script, tls="off", username="u", token=token, password_in_clear=True)
            if not later.called:
                later.callback("tok")
                sending.network.settle()
            self.assertEqual(sending.result.mechanism, "XOAUTH2")
            self.assertEqual(b64decode(sending.server.commands[1].split()[-1]), b"user=u\1auth=Bearer tok\1\1")

        def broken() -> str:
            raise OSError("no token today")

        sending = Sending({}, tls="off", username="u", token=broken, password_in_clear=True)
        self.assertIn("no token today", sending.failure.line)

    def test_external(self) -> None:
        """EXTERNAL leaves the proof to the certificate."""
        sending = Sending({"EHLO": (ehlo("AUTH EXTERNAL"),)}, tls="off", external=True)
        self.assertEqual((sending.result.mechanism, sending.server.commands[1]), ("EXTERNAL", b"AUTH EXTERNAL ="))

    def test_login_required(self) -> None:
        """A refused login is a failure, unless told."""
        refuse: Script = {"AUTH": (b"535 5.7.8 no\r\n",)}
        login = {"username": "u", "password": "p", "tls": "off"}
        failure = Sending(refuse, **login).failure
        self.assertEqual((failure.kind, failure.code), (Kind.LOGIN, 535))
        self.assertIsNone(Sending(refuse, login_required=False, **login).result.mechanism)

    def test_policy(self) -> None:
        """`tls_policy` decides when STARTTLS is refused or missing; it may take its time."""
        asked: list[tuple[int, str]] = []

        def policy(answer: Any) -> Callable[[int, str], Any]:
            return lambda code, text: (asked.append((code, text)), answer)[1]

        refuse: Script = {"EHLO": (ehlo("STARTTLS"),), "STARTTLS": (b"454 4.7.0 not now\r\n",)}
        for script in (refuse, {}):
            self.assertTrue(Sending(script, tls_policy=policy("insecure")).result)
            self.assertTrue(Sending(script, tls_policy=policy(succeed("insecure"))).result)
            self.assertIs(Sending(script, tls_policy=policy("secure")).failure.kind, Kind.TLS)
            self.assertTrue(Sending(script).result)
            self.assertIs(Sending(script, tls="require").failure.kind, Kind.TLS)
            self.assertIs(Sending(script, username="u", password="p").failure.kind, Kind.TLS)
        self.assertEqual(asked[0], (454, "454 4.7.0 not now"))
        self.assertEqual(asked[-1], (0, "the server does not offer STARTTLS"))

    def test_cancelled_while_asking(self) -> None:
        """Cancelled while the policy or the token is waited for: they are cancelled too, the connection is closed."""
        for options in ({"tls_policy": "later"}, {"token": "later", "username": "u", "tls": "off"}):
            waiting: list[Deferred[str]] = []

            def later(*_: object, waiting: list[Deferred[str]] = waiting) -> Deferred[str]:
                waiting.append(Deferred())
                return waiting[-1]

            known = {name: later if value == "later" else value for name, value in options.items()}
            sending = Sending({"EHLO": (ehlo("AUTH XOAUTH2"),)}, password_in_clear=True, **known)
            self.assertEqual((len(waiting), sending.outcomes), (1, []))
            sending.deferred.cancel()
            self.assertIsInstance(sending.outcome, CancelledError)
            self.assertTrue(waiting[0].called)
            self.assertTrue(sending.network.ends[0][0].aborted)
            self.assertEqual(sending.network.getDelayedCalls(), [])

    def test_gone_while_asking(self) -> None:
        """A server that leaves while a token is fetched is a failure of the connection, not a hang."""
        waiting: Deferred[str] = Deferred()
        sending = Sending({"EHLO": (ehlo("AUTH XOAUTH2"),)}, tls="off", username="u", token=lambda: waiting,
                          password_in_clear=True)
        sending.server.sessions[0].transport.loseConnection()
        sending.network.flush()
        waiting.callback("t")
        self.assertIs(sending.failure.kind, Kind.CONNECTION)

    def test_trust(self) -> None:
        """A pin that is none, and PEM that is none, are told at once; a private key is in no repr."""
        self.assertRaises(ValueError, Trust, pin="abc")
        self.assertRaises(ValueError, Trust, authorities="x")
        self.assertRaises(ValueError, Trust, identity="-----BEGIN PRIVATE KEY-----\nsecret")


class OwnBridgeTests(SynchronousTestCase):
    """Our client and our server."""

    def test_login_and_delivery(self) -> None:
        """A user logs in with SCRAM and sends to another; it lies in the maildrop, octet for octet."""
        world = World(auth_in_clear=True)
        network = Network({("bridge.example.org", 587): lambda: world.factory.buildProtocol(None)})
        sending = sendmessage(
            network, b"From: bonnie@example.org\r\nDate: d\r\nMessage-ID: <m@x>\r\n\r\n.dots\r\n..\r\n.\r\n",
            servers="bridge.example.org", ports=587, recipients="clyde@example.org, office@example.org", tls="off",
            username="bonnie", password="right",
        )
        for _ in range(50):
            network.settle()
            world.pool.work_off()
            world.clock.advance(0)
        result = self.successResultOf(sending)
        self.assertEqual(result.mechanism, "SCRAM-SHA-256")
        self.assertEqual(result.refused, ())
        for name in ("clyde", "bonnie"):
            (mail,) = world.mail(name)
            self.assertTrue(mail.endswith(b"Message-ID: <m@x>\r\n\r\n.dots\r\n..\r\n.\r\n"), mail)

    def test_wrong_password(self) -> None:
        """A wrong password is refused, and shown to nobody."""
        world = World(auth_in_clear=True)
        network = Network({("bridge.example.org", 587): lambda: world.factory.buildProtocol(None)})
        sending = sendmessage(
            network, MESSAGE, servers="bridge.example.org", ports=587, recipients="clyde@example.org", tls="off",
            username="bonnie", password="wrong-but-secret", password_in_clear=True, transaction_log=True,
        )
        for _ in range(400):
            network.advance(0.1)
            world.pool.work_off()
            world.clock.advance(0.1)
        failure = self.failureResultOf(sending, SendFailure)
        self.assertIs(failure.value.kind, Kind.LOGIN)
        self.assertNotIn("wrong-but-secret", failure.getTraceback() + repr(vars(failure.value)))
