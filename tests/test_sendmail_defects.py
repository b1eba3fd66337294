"""K1 to K9: what the client of stock twisted.mail does wrong, shown on it, and that ours does it right."""

from __future__ import annotations

import io
from base64 import b64encode
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.mail import smtp
from twisted.protocols.basic import FileSender
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.sendmail import Kind, SendFailure, sendmessage
from mailbridge.smtp.steps import LIMITS
from mailbridge.testing.hostile import HostileFactory, ehlo
from mailbridge.testing.network import Network
from tests.test_sendmail import Sending

FROM, TO = "a@x.example", "b@y.example"
PASSWORD = b"hidden-password"


class StockSender(smtp.ESMTPClient):
    """The stock client with one message; it keeps what it reports."""

    def __init__(
        self, octets: bytes = b"x\n", secret: bytes | None = None, recipients: tuple[str, ...] = (TO,)
    ) -> None:
        super().__init__(secret, contextFactory=None, identity=b"us.example")
        self.octets, self.recipients = octets, recipients
        self.requireAuthentication = secret is not None
        self.reported: list[Any] = []
        self.errors: list[Exception] = []

    def getMailFrom(self) -> str | None:
        """Once."""
        return None if self.reported else FROM

    def getMailTo(self) -> list[str]:
        """All of them."""
        return list(self.recipients)

    def getMailData(self) -> io.BytesIO:
        """From the start."""
        return io.BytesIO(self.octets)

    def sentMail(self, code: int, resp: bytes, numOk: int, addresses: Any, log: Any) -> None:
        """Kept."""
        self.reported.append((code, numOk, list(addresses)))

    def sendError(self, exc: Exception) -> None:
        """Kept."""
        self.errors.append(exc)
        super().sendError(exc)


class Stock:
    """The stock client over a transport of strings."""

    def __init__(self, *replies: bytes, **settings: Any) -> None:
        self.client = StockSender(**settings)
        self.transport = StringTransport()
        self.client.makeConnection(self.transport)
        for reply in replies:
            self.client.dataReceived(reply)
        while self.transport.producer is not None and not self.transport.streaming:
            self.transport.producer.resumeProducing()

    @property
    def said(self) -> bytes:
        """Everything."""
        return self.transport.value()


OPEN = (b"220 hi\r\n", b"250 us\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n")


WRONG_PASSWORD = (
    b"220 hi\r\n", b"250-x\r\n250 AUTH PLAIN\r\n", b"334 \r\n", b"535 no\r\n", b"334 \r\n", b"535 no\r\n",
)


def content(octets: bytes) -> bytes:
    """What follows DATA."""
    return octets.partition(b"DATA\r\n")[2]


class DefectTests(SynchronousTestCase):
    """Each defect of the reference, by its number."""

    def test_k1_dots(self) -> None:
        """A dot at the start of a chunk, or of the message, ends the message early at the stock client only."""
        chunk = FileSender.CHUNK_SIZE
        for octets in (b"a: b\n\n" + b"x" * (chunk - 7) + b"\n.\nMAIL FROM:<evil@x>\n", b".\nMAIL FROM:<evil@x>\n"):
            self.assertIn(b"\n.\r\nMAIL FROM:<evil@x>", b"\n" + content(Stock(*OPEN, octets=octets).said))
            ours = Sending(message=octets)
            self.assertEqual(len(ours.server.messages), 1)
            self.assertTrue(ours.content.endswith(b"\r\n.\r\nMAIL FROM:<evil@x>\r\n"))

    def test_k2_line_ends(self) -> None:
        """A file with CR LF goes out as CR CR LF at the stock client; a bare CR passes."""
        octets = b"a: b\r\n\r\none\rtwo\r\n"
        stock = content(Stock(*OPEN, octets=octets).said)
        self.assertIn(b"\r\r\n", stock)
        self.assertIn(b"one\rtwo", stock)
        self.assertTrue(Sending(message=octets).content.endswith(b"a: b\r\n\r\none\r\ntwo\r\n"))

    def test_k3_injection(self) -> None:
        """The stock client believes an EHLO reply that came in clear behind the 220 of STARTTLS."""
        client = StockSender(secret=PASSWORD)
        client.requireTransportSecurity = True
        client.context = object()  # type: ignore[assignment]
        transport = StringTransport()
        transport.startTLS = lambda *_: None  # type: ignore[attr-defined]
        client.makeConnection(transport)
        client.registerAuthenticator(smtp.PLAINAuthenticator(b"u"))
        client.dataReceived(b"220 hi\r\n")
        client.dataReceived(b"250-x\r\n250 STARTTLS\r\n")
        client.dataReceived(b"220 go\r\n250-x\r\n250 AUTH PLAIN\r\n")
        self.assertIn(b"AUTH PLAIN", transport.value())  # without a word of the server inside TLS
        script = {"EHLO": (ehlo("STARTTLS"),), "STARTTLS": (b"220 go\r\n250-x\r\n250 AUTH PLAIN\r\n",)}
        ours = Sending(script, tls="require", username="u", password=PASSWORD.decode())
        self.assertIs(ours.failure.kind, Kind.SERVER)
        self.assertEqual(ours.server.commands[-1], b"STARTTLS")

    def test_k4_secrets(self) -> None:
        """The password stands in the exception of the stock client."""
        secret = b64encode(b"\0u\0" + PASSWORD)
        client = StockSender(secret=PASSWORD)
        client.registerAuthenticator(smtp.PLAINAuthenticator(b"u"))
        client.makeConnection(StringTransport())
        for reply in WRONG_PASSWORD:
            client.dataReceived(reply)
        self.assertIn(secret, b"".join(str(error).encode() for error in client.errors))
        script = {"EHLO": (ehlo("AUTH PLAIN"),), "AUTH": (b"535 what is \0\r\n",)}
        ours = Sending(script, tls="off", username="u", password=PASSWORD.decode(), password_in_clear=True,
                       transaction_log=True)
        text = repr(vars(ours.failure)) + str(ours.failure) + ours.outcomes[0].getTraceback()
        self.assertIn(secret, ours.server.commands[1])
        self.assertNotIn(secret.decode(), text)
        self.assertNotIn(PASSWORD.decode(), text)

    def test_k5_extensions(self) -> None:
        """The stock client uses no extension, knows capabilities in upper case only, and cannot say á."""
        capable = b"250-x\r\n250-SIZE 1000\r\n250-8BITMIME\r\n250 DSN\r\n"
        stock = Stock(OPEN[0], capable, *OPEN[2:], octets="ž\n".encode())
        self.assertIn(b"MAIL FROM:<a@x.example>\r\n", stock.said)
        lower = Stock(b"220 hi\r\n", b"250-x\r\n250 auth plain\r\n", secret=PASSWORD)
        self.assertIsInstance(lower.client.errors[0], smtp.AUTHRequiredError)
        client = StockSender(recipients=("á@x.example",))
        client.makeConnection(StringTransport())
        self.assertRaises(UnicodeError, lambda: [client.dataReceived(reply) for reply in OPEN])
        ours = Sending({"EHLO": (b"250-x\r\n250-size 1000\r\n250-8bitMime\r\n250 smtpUTF8\r\n",)},
                       message="a: b\n\nž\n", recipients="á@x.example")
        self.assertTrue(ours.result)
        self.assertRegex(ours.server.commands[1], rb"SIZE=\d+ BODY=8BITMIME SMTPUTF8\Z")

    def test_k6_guesses(self) -> None:
        """A wrong password is tried twice by the stock PLAIN, and a failed CRAM-MD5 is the end."""
        client = StockSender(secret=PASSWORD)
        client.registerAuthenticator(smtp.PLAINAuthenticator(b"u"))
        transport = StringTransport()
        client.makeConnection(transport)
        for reply in WRONG_PASSWORD:
            client.dataReceived(reply)
        self.assertEqual(transport.value().count(b"AUTH PLAIN "), 2)  # in two spellings, one guess each
        client = StockSender(secret=PASSWORD)
        client.registerAuthenticator(smtp.CramMD5ClientAuthenticator(b"u"))
        client.registerAuthenticator(smtp.PLAINAuthenticator(b"u"))
        transport = StringTransport()
        client.makeConnection(transport)
        for reply in (b"220 hi\r\n", b"250-x\r\n250 AUTH CRAM-MD5 PLAIN\r\n", b"334 PDE+\r\n", b"535 no\r\n"):
            client.dataReceived(reply)
        self.assertNotIn(b"AUTH PLAIN", transport.value())
        script = {"EHLO": (ehlo("AUTH CRAM-MD5 PLAIN LOGIN"),), "AUTH CRAM-MD5": (b"504 5.7.4 not today\r\n",)}
        login = {"tls": "off", "username": "u", "password": PASSWORD.decode(), "password_in_clear": True}
        self.assertEqual(Sending(script, **login).result.mechanism, "PLAIN")
        wrong = Sending({**script, "AUTH PLAIN": (b"535 5.7.8 no\r\n",)}, **login)
        self.assertIs(wrong.failure.kind, Kind.LOGIN)
        self.assertEqual(sum(line.startswith((b"AUTH PLAIN", b"AUTH LOGIN")) for line in wrong.server.commands), 1)

    def test_k7_timeouts(self) -> None:
        """The stock sender waits for ever by default; ours has a limit for each phase and one for all."""
        self.assertIsNone(smtp.SMTPSenderFactory(FROM, TO, io.BytesIO(b"x"), Deferred()).timeout)
        silent = Sending({"connect": ()}, timeout=1e9)
        silent.network.advance(max(LIMITS.values()))
        self.assertIs(silent.failure.kind, Kind.TIMEOUT)
        self.assertGreater(len(set(LIMITS.values())), 5)

    def test_k8_tls(self) -> None:
        """A refused STARTTLS is the end for the stock client even where TLS is optional; ours goes on, or elsewhere."""
        client = StockSender()
        client.context = object()  # type: ignore[assignment]
        client.requireTransportSecurity = False
        client.makeConnection(StringTransport())
        for reply in (b"220 hi\r\n", b"250-x\r\n250 STARTTLS\r\n", b"454 not now\r\n"):
            client.dataReceived(reply)
        self.assertIsInstance(client.errors[0], smtp.ESMTPClientError)
        script = {"EHLO": (ehlo("STARTTLS"),), "STARTTLS": (b"454 not now\r\n",)}
        self.assertTrue(Sending(script).result)
        network = Network()
        network.servers = {("one", 25): HostileFactory(network, script), ("two", 25): HostileFactory(network, {})}
        sending = sendmessage(network, b"x", servers=["one", "two"], originator=FROM, recipients=TO, tls="require")
        network.settle()
        failure = self.failureResultOf(sending, SendFailure).value
        self.assertEqual([name for name, _ in failure.reasons], ["one:25", "two:25"])

    def test_k9_answers(self) -> None:
        """After a refused final dot the stock list still shows 250, and of many refusals the code is the last one's."""
        stock = Stock(*OPEN, b"552 too big\r\n")
        self.assertEqual([answer[1] for answer in stock.client.reported[0][2]], [250])
        replies = (*OPEN[:3], b"550 who\r\n", b"450 later\r\n")
        stock = Stock(*replies, recipients=("no@y.example", "later@y.example"))
        self.assertEqual(stock.client.reported[0][:2], (450, 0))
        self.assertEqual([each.code for each in Sending({"end": (b"552 too big\r\n",)}).failure.refused], [552])
        ours = Sending({"RCPT TO:<no": (b"550 who\r\n",), "RCPT TO:<later": (b"450 later\r\n",)}, at_least_one=True,
                       recipients=["no@y.example", "later@y.example"])
        self.assertEqual([each.code for each in ours.failure.refused], [550, 450])
