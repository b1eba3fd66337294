"""`mailbridge send`: what its options mean to the library, and what is printed."""

from __future__ import annotations

import inspect
import io
import json
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailbridge import certificate
from mailbridge.admin.messages import OperationError
from mailbridge.cli.main import parser
from mailbridge.cli.send import Progress, send
from mailbridge.cli.sendoptions import Here, keywords
from mailbridge.errors import StartError
from mailbridge.message.compose import Wishes, compose
from mailbridge.sendmail import Kind, Phase, Refusal, SendFailure, SendResult, Trust, sendmessage

SENT = SendResult("mx:25", "250 2.0.0 taken", (), "TLSv1.3 X", "SCRAM-SHA-256", "ctx", ("<- 220 hi\x1b",))
NOBODY = Refusal("x@y", 550, "550 5.1.1 no\x1b such user")


def at(text: bytes = b"hello\n", secret: Any = None, **environment: str) -> Here:
    """Standard input, a terminal and an environment."""
    return Here(lambda: text, environment, secret)


class KeywordTests(SynchronousTestCase):
    """The command line as keywords of `sendmessage`."""

    def keywords(self, *argv: str, here: Here | None = None) -> tuple[bytes, dict[str, Any]]:
        args = parser().parse_args(["send", *argv])
        args.config = getattr(args, "config", None)
        return keywords(args, here or at())

    def file(self, octets: bytes) -> str:
        path = Path(self.mktemp())
        path.write_bytes(octets)
        return str(path)

    def test_every_keyword(self) -> None:
        """Every keyword of the library can be said on the command line."""
        _, found = self.keywords("--from", "a@b", "--server", "mx", "c@d")
        elsewhere = {"reactor", "message", "message_file", "file_handle", "transaction_log", "progress"}
        login = {"password", "token"}  # only where there is one
        self.assertEqual(set(inspect.signature(sendmessage).parameters), set(found) | elsewhere | login)

    def test_options(self) -> None:
        """Each option reaches its keyword."""
        pair = certificate.make(("me.example.org",), 1, 1.0)
        own = pair.certificate + pair.key
        pem = self.file(own)
        secret, token = self.file(b"s3cret\r\nmore"), self.file(b"t0ken")
        base = ("--from", "a@b", "--server", "mx", "c@d")
        for line, expected in (
            (("--server", "[::1]:26", "--server", "mx2:587"),
             {"servers": ["mx", "::1", "mx2"], "ports": [25, 26, 587]}),
            (("--server", "/run/lmtp", "--lmtp"), {"servers": ["mx", "/run/lmtp"], "lmtp": True}),
            (("--tls", "implicit"), {"tls": "implicit", "ports": [465]}),
            ((), {"tls": "opportunistic", "trust": None, "tls_policy": None, "recipients": ["c@d"]}),
            (("--no-verify",), {"trust": Trust(verify=False)}),
            (("--pin", "ab" * 32, "--identity", pem), {"trust": Trust(True, None, "ab" * 32, own.decode())}),
            (("--ca", pem), {"trust": Trust(True, own.decode())}),
            (("--user", "u", "--password-file", secret), {"username": "u", "password": "s3cret"}),
            (("--user", "u", "--token-file", token, "--two-step"), {"token": "t0ken", "two_step": True}),
            (("--user", "u", "--external", "--login-optional"), {"external": True, "login_required": False}),
            (("--password-in-clear",), {"password_in_clear": True}),
            (("--client-name", "me", "--bind", "192.0.2.1", "--bind-port", "7"),
             {"client_name": "me", "bind_address": "192.0.2.1", "bind_port": 7}),
            (("--originator", "", "--cc", "e@f", "--bcc", "g@h"),
             {"originator": "", "recipients": ["c@d", "e@f", "g@h"]}),
            (("--at-least-one", "--queue", "--timeout", "9"), {"at_least_one": True, "queue": True, "timeout": 9.0}),
            (("--limit", "rcpt=3", "--limit", "END=4.5"), {"limits": {Phase.RCPT: 3.0, Phase.END: 4.5}}),
            (("--notify", "success", "--notify", "delay", "--ret", "hdrs", "--envid", "e"),
             {"notify": ["SUCCESS", "DELAY"], "ret": "HDRS", "envid": "e"}),
            (("--context", "c"), {"context": "c"}),
        ):
            _, found = self.keywords(*base, *line)
            self.assertEqual(expected, {name: found[name] for name in expected}, line)

    def test_headers(self) -> None:
        """Recipients, sender, subject and further headers; nobody blind is named in what is sent."""
        message, found = self.keywords(
            "--server", "mx", "--from", "Zo\u00eb <a@b>", "--subject", "Gr\u00fc\u00dfe", "--header", "X-Tag: 1",
            "--bcc", "e@f", "Bonnie <c@d>")
        (sent,) = compose(message, Wishes("date", "<id@x>", tuple(found["headers"]), None, found["recipients"]))
        self.assertEqual(("a@b", ["c@d", "e@f"]), (sent.sender.text, [each.text for each in sent.recipients]))
        for line in (b"From: =?utf-8?B?Wm/Dqw==?= <a@b>", b"To: Bonnie <c@d>", b"X-Tag: 1", b"MIME-Version: 1.0",
                     b"hello"):
            self.assertIn(line + b"\r\n", sent.content)
        self.assertNotIn(b"e@f", sent.content)
        self.assertTrue(sent.content.isascii())

    def test_digest(self) -> None:
        """With --bcc-digest blind recipients get a message of their own."""
        message, found = self.keywords("--server", "mx", "--from", "a@b", "--bcc", "e@f", "--bcc-digest", "c@d")
        plain, blind = compose(message, Wishes("date", "<id@x>", tuple(found["headers"]), None, found["recipients"],
                                               bcc=found["bcc"]))
        self.assertEqual((["c@d"], ["e@f"]), ([each.text for each in plain.recipients],
                                              [each.text for each in blind.recipients]))

    def test_where_the_message_comes_from(self) -> None:
        """A text from standard input or a file, with attachments, or a whole message."""
        path = self.file(b"in a file\n")
        self.assertIn(b"hello", self.keywords("--server", "mx", "--from", "a@b", "c@d")[0])
        message, _ = self.keywords("--server", "mx", "--from", "a@b", "c@d", "--file", path, "--attach", path)
        self.assertIn(b"in a file\r\n", message)
        self.assertIn(b"aW4gYSBmaWxlCg==", message)
        whole = b"From: a@b\nTo: c@d\n\n.\n"
        for name, here in ((self.file(whole), at()), ("-", at(whole))):
            message, found = self.keywords("--server", "mx", "--message", name, "--from-message", here=here)
            self.assertEqual((whole, "from-message", []), (message, found["recipients"], found["headers"]))

    def test_where_the_password_comes_from(self) -> None:
        """The environment, else a question; without a terminal standard input is never taken for a password."""
        line = ("--server", "mx", "--from", "a@b", "c@d", "--user", "u")
        self.assertEqual("e", self.keywords(*line, here=at(MAILBRIDGE_PASSWORD="e"))[1]["password"])
        self.assertEqual("Password for u: ", self.keywords(*line, here=at(secret=lambda prompt: prompt))[1]["password"])
        self.assertIn("--password-file", str(self.assertRaises(OperationError, self.keywords, *line)))

    def test_wrong_lines(self) -> None:
        """What makes no sense is named before anything is connected to."""
        base = ("--server", "mx", "c@d")
        for line, words in (
            (base, "--from"), ((*base, "--from", "a\n@b"), "line end"), ((*base, "--header", "X"), "NAME:VALUE"),
            ((*base, "--header", "Bcc x: y"), "no name"), ((*base, "--from", "a@b", "--limit", "x=1"), "PHASE"),
            ((*base, "--from", "a@b", "--limit", "end=-1"), "above 0"), ((*base, "--from", "a@b", "--pin", "x"), "pin"),
            ((*base, "--from", "a@b", "--identity", self.file(b"PEM")), "PEM text"),
            (("--from", "a@b", "--server", "a b"), "--server"), (("--from", "a@b", "--server", "mx:0"), "--server"),
            ((*base, "--message", "-", "--attach", "/etc/hostname"), "--message"),
            ((*base, "--message", "-", "--from-message"), "none beside"),
        ):
            self.assertIn(words, str(self.assertRaises(OperationError, self.keywords, *line)), line)
        self.assertRaises(OSError, self.keywords, "--from", "a@b", "--file", "/nowhere", *base)

    def test_local(self) -> None:
        """Without a server the listener of the configuration is taken, which need not prove who it is."""
        path = self.file(b'[[smtp]]\nlisten = "tcp:2525:interface=127.0.0.1"\n')
        _, found = self.keywords("--config", path, "--from", "a@b", "c@d")
        self.assertEqual((["127.0.0.1"], [2525], "off", Trust(verify=False)),
                         tuple(found[name] for name in ("servers", "ports", "tls", "trust")))
        self.assertRaises(StartError, self.keywords, "--config", "/nowhere", "--from", "a@b", "c@d")


class SendTests(SynchronousTestCase):
    """What is printed."""

    def send(self, line: str, result: SendResult | SendFailure) -> tuple[int, str, str]:
        args = parser().parse_args(["send", *line.split()])
        args.json = getattr(args, "json", False)
        given: list[Any] = []

        def library(reactor: Any, message: bytes, transaction_log: Any, **options: Any) -> Deferred[SendResult]:
            given.append(options)
            if callable(transaction_log):
                transaction_log("<- 220 hi\x1b")
            return succeed(result) if isinstance(result, SendResult) else fail(result)

        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code: int = self.successResultOf(Deferred.fromCoroutine(send(args, None, b"", {"envid": "e"}, library)))
        self.assertEqual([{"envid": "e"}], given)
        return code, out.getvalue().rstrip("\n"), err.getvalue().rstrip("\n")

    def test_sent(self) -> None:
        """One line with the server and its answer; exit code 0."""
        self.assertEqual((0, "sent to mx:25, TLSv1.3 X, SCRAM-SHA-256: 250 2.0.0 taken", ""), self.send("", SENT))

    def test_some_refused(self) -> None:
        """Refused recipients are named, and decide the exit code."""
        code, out, err = self.send("", SendResult("mx:25", "250 ok", (NOBODY,)))
        self.assertEqual((67, "sent to mx:25: 250 ok"), (code, out))
        self.assertEqual("mailbridge: x@y: 550 5.1.1 no\\x1b such user", err)

    def test_json(self) -> None:
        """With --json the result, and a failure too, is one object."""
        told = json.loads(self.send("--json", SENT)[1])
        self.assertEqual((True, "mx:25", ["<- 220 hi\x1b"], "ctx"),
                         tuple(told[name] for name in ("sent", "server", "transcript", "context")))
        failure = SendFailure(Kind.SERVER, "mx: 550 5.1.1 no", code=550, reasons=(("mx", "no"),), refused=(NOBODY,))
        code, out, _ = self.send("--json", failure)
        told = json.loads(out)
        self.assertEqual((67, False, 67, "server", [{"server": "mx", "reason": "no"}]),
                         (code, *(told[name] for name in ("sent", "exit", "kind", "reasons"))))

    def test_failed(self) -> None:
        """A failure is one line, and a warning where a repeat may be a second copy."""
        self.assertEqual((75, "", "mailbridge: mx: refused\\x1b"),
                         self.send("", SendFailure(Kind.CONNECTION, "mx: refused\x1b")))
        code, _, err = self.send("", SendFailure(Kind.CONNECTION, "lost", maybe_sent=True))
        self.assertEqual((75, True), (code, "may have it" in err))

    def test_log(self) -> None:
        """With --log the dialogue goes to standard error as it happens, harmless for the terminal."""
        self.assertEqual("<- 220 hi\\x1b", self.send("--log", SENT)[2])

    def test_progress(self) -> None:
        """Progress is told once a percent, with a line end when all is sent."""
        terminal = io.StringIO()
        progress = Progress(terminal)
        for sent in (0, 1, 500, 501, 1000):
            progress(sent * 1024, 1000 * 1024)
        self.assertEqual("\r  0 % of 1000.0 KiB\r 50 % of 1000.0 KiB\r100 % of 1000.0 KiB\n", terminal.getvalue())
