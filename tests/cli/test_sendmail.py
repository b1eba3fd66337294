"""The drop-in sendmail: what it hands to the bridge, and what it tells who called it."""

from __future__ import annotations

import io
import os
import poplib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.messages import OperationError
from mailbridge.cli.sendmail import Caller, TooLarge, caller, config_path, hand_in, prepare, read_message
from mailbridge.cli.sendmailoptions import parse
from mailbridge.cli.submission import Submission
from mailbridge.config.find import SYSTEM
from mailbridge.errors import AddressError, ConfigError
from mailbridge.lines import has_bare_newline
from mailbridge.message.compose import Wishes, compose
from mailbridge.sendmail import Kind, Refusal, SendFailure, SendResult
from tests.running import BASIC, ROOT, RunningBridge, short_folder

DOOR = Submission("127.0.0.1", 2525, "off", "example.org", 1000)
BONNIE = Caller("bonnie", "Bonnie P\u00e4rker")
MESSAGE = b"Subject: x\n\nhello\n.\nafter the dot\n"


class ReadTests(SynchronousTestCase):
    """Standard input."""

    def test_dots(self) -> None:
        """A line that is only a dot ends the message, unless -i is given; line ends become CR LF."""
        for text, ignore, expected in (
            (b"a\n.\nb\n", False, b"a\r\n"), (b"a\n.\nb\n", True, b"a\r\n.\r\nb\r\n"),
            (b"a\r\n.\r\nb\r\n", False, b"a\r\n"),
            (b"a\n.", False, b"a\r\n"), (b"a\n. \n..\nb", False, b"a\r\n. \r\n..\r\nb"), (b"", False, b""),
            (b"From root Sat Nov 21\nTo: x\n", False, b"To: x\r\n"),
            (b"To: x\n\nFrom me\n", False, b"To: x\r\n\r\nFrom me\r\n"),
        ):
            self.assertEqual(expected, read_message(io.BytesIO(text), ignore, 1000), text)

    def test_too_large(self) -> None:
        """What is larger than the bridge takes is not read to its end."""
        endless = (b"x" * 100 + b"\n" for _ in iter(int, 1))
        self.assertRaises(TooLarge, read_message, endless, True, 1000)

    @given(st.binary(max_size=200))
    def test_anything(self, octets: bytes) -> None:
        """Whatever comes, no bare CR or LF is left."""
        self.assertFalse(has_bare_newline(read_message(io.BytesIO(octets), True, 1000)))


class PrepareTests(SynchronousTestCase):
    """Envelope and header."""

    def sent(self, line: str, message: bytes) -> tuple[str, list[str], bytes]:
        """(sender, recipients, content) of a command line."""
        octets = read_message(io.BytesIO(message), False, 1000)
        found = prepare(parse(line.split()), octets, DOOR, BONNIE)
        wishes = Wishes("DATE", "<ID>", tuple(found["headers"]), found["originator"], found["recipients"])
        (sent,) = compose(octets, wishes)
        return sent.sender.text, [recipient.text for recipient in sent.recipients], sent.content

    def test_recipients(self) -> None:
        """Those of the command line, and with -t those of every To, Cc and Bcc, or of the Resent- fields."""
        for line, header, expected in (
            ("a@b harold", b"To: c@d", ["a@b", "harold"]), ("a@b,c@d", b"", ["a@b", "c@d"]),
            ("-t", b"To: a@b, Bonnie <c@d>\nTo: e@f\nCc: a@b\nBcc: (x) g@h", ["a@b", "c@d", "e@f", "g@h"]),
            ("-t x@y", b"To: a@b", ["x@y", "a@b"]), ("-t", b"To: friends: a@b, c@d;", ["a@b", "c@d"]),
            ("-t", b"To: a@b\nResent-To: c@d\nResent-Bcc: e@f", ["c@d", "e@f"]),
            ("-t", b"To: a@b,\n c@d", ["a@b", "c@d"]), ('"odd name"@x', b"", None),
        ):
            if expected is None:
                self.assertRaises(AddressError, self.sent, line, b"")
                continue
            self.assertEqual(expected, self.sent(line, header + b"\n\nhi\n")[1], line)

    def test_blind_copies_are_hidden(self) -> None:
        """Nobody reads who got a blind copy."""
        for line in ("-t", "a@b"):
            content = self.sent(line, b"To: a@b\nBcc: secret@x\n\nhi\n")[2]
            self.assertNotIn(b"secret", content)

    def test_sender(self) -> None:
        """Who runs it, or -f; with the local domain where there is none; bounces have the null sender."""
        for line, sender in (("x@y", "bonnie@example.org"), ("-f a@b x@y", "a@b"), ("-f root x@y", "root@example.org"),
                             ("-f <> x@y", ""), ("-fClyde<c@d> x@y", "c@d")):
            self.assertEqual(sender, self.sent(line, b"To: x@y\n\nhi\n")[0], line)
        self.assertRaises(AddressError, self.sent, "-f a@b,c@d x@y", b"")

    def test_header(self) -> None:
        """Missing From, Date and Message-ID are added; what is there stays; a text without a header gets one."""
        content = self.sent("x@y", b"hello\nworld\n")[2]
        for line in (b"From: =?utf-8?B?Qm9ubmllIFDDpHJrZXI=?= <bonnie@example.org>", b"Date: DATE", b"Message-ID: <ID>",
                     b"\r\nhello", b"world"):
            self.assertIn(line + b"\r\n", content)
        whole = b"From: me@x\nDate: then\nMessage-ID: <1@x>\nSubject: s\n\nhi\n"
        content = self.sent("-f me@x x@y", whole)[2]
        self.assertEqual(whole.replace(b"\n", b"\r\n"), content)

    def test_full_name(self) -> None:
        """-F is the name in From, whatever is in it; it cannot begin another header."""
        options = parse(["-F", 'O\\"Hara, Jr', "-f", "o@x", "x@y"])
        self.assertEqual([("From", '"O\\\\\\"Hara, Jr" <o@x>')], prepare(options, b"", DOOR, BONNIE)["headers"])
        self.assertRaises(OperationError, prepare, parse(["-F", "x\nBcc: y", "x@y"]), b"", DOOR, BONNIE)
        self.assertEqual([("From", "MAILER-DAEMON@example.org")],
                         prepare(parse(["-f", "<>", "x@y"]), b"", DOOR, BONNIE)["headers"])

    def test_nobody(self) -> None:
        """Without recipients nothing is sent: a usage error, or with -t a fault of the message."""
        self.assertRaises(OperationError, self.sent, "", MESSAGE)
        self.assertRaises(AddressError, self.sent, "-t", MESSAGE)
        self.assertRaises(AddressError, self.sent, "-t", b"To: a@b)c@d\n\nhi\n")

    @given(st.lists(st.sampled_from([
        b"To: ", b"Resent-To:", b"Cc:", b"a@b", b"<", b">", b'"', b"(", b")", b",", b";", b":", b"\n", b"\n ", b"\n\n",
        b"\r", b"\xff", b"=?utf-8?q?=0A?=", b"\0", b"@", b"\\",
    ])))
    def test_any_message(self, pieces: list[bytes]) -> None:
        """Whatever a message says of its recipients, they are addresses without line ends, or it is refused."""
        octets = read_message(io.BytesIO(b"".join(pieces)), True, 1000)
        try:
            found = prepare(parse(["-t"]), octets, DOOR, BONNIE)
        except AddressError:
            return
        self.assertTrue(found["recipients"])
        for recipient in found["recipients"]:
            self.assertFalse(set(recipient) & set("\r\n\0"), recipient)

    def test_wishes(self) -> None:
        """Notices that are asked for are asked of the bridge."""
        found = prepare(parse(["-N", "delay,failure", "-R", "full", "-V", "id", "x@y"]), b"", DOOR, BONNIE)
        self.assertEqual((["DELAY", "FAILURE"], "FULL", "id"), (found["notify"], found["ret"], found["envid"]))

    def test_caller(self) -> None:
        """A user without an entry in the password file has a name all the same."""
        self.assertEqual("uid4294967000", caller(4294967000).login)
        self.assertTrue(caller(os.getuid()).login)


class ConfigurationTests(SynchronousTestCase):
    """Where the configuration is looked for."""

    def test_not_in_the_working_folder(self) -> None:
        """A file in the folder where sendmail happens to run is not taken; one that is named is, relative or not."""
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        (folder / "mailbridge.toml").write_text("")
        before = os.getcwd()
        os.chdir(folder)
        self.addCleanup(os.chdir, before)
        self.assertEqual(folder / "mailbridge.toml", config_path("mailbridge.toml"))
        if not SYSTEM.exists():
            self.assertRaises(ConfigError, config_path, None)


class HandInTests(SynchronousTestCase):
    """What the caller is told."""

    def test_table(self) -> None:
        """Success says nothing; each failure is one line and its own exit code."""
        refused = Refusal("x@y", 550, "550 5.1.1 No such user here")
        for result, code, words in (
            (SendResult("mx", "250 ok"), 0, ""), (SendResult("mx", "250 ok", (refused,)), 67, "x@y: 550 5.1.1"),
            (SendFailure(Kind.CONNECTION, "127.0.0.1:1: refused"), 75, "mailbridge is not running: 127"),
            (SendFailure(Kind.CONNECTION, "lost", maybe_sent=True), 75, "lost"),
            (SendFailure(Kind.TIMEOUT, "slow"), 75, "slow"),
            (SendFailure(Kind.SERVER, "no", code=550, refused=(refused,)), 67, "x@y: 550"),
            (SendFailure(Kind.SERVER, "mx: 452 4.3.1 full", code=452), 75, "mx: 452"),
            (SendFailure(Kind.MESSAGE, "bad\x1b"), 65, "bad\\x1b"),
        ):
            def library(
                reactor: Any, message: bytes, answer: SendResult | SendFailure = result, **_: Any
            ) -> Deferred[SendResult]:
                return succeed(answer) if isinstance(answer, SendResult) else fail(answer)

            err = io.StringIO()
            with redirect_stderr(err):
                told = self.successResultOf(Deferred.fromCoroutine(hand_in(None, b"", {}, library)))
            self.assertEqual((code, 1 if words else 0), (told, len(err.getvalue().splitlines())))
            self.assertTrue(err.getvalue().startswith(f"sendmail: {words}" if words else ""), err.getvalue())


class SendmailTests(SynchronousTestCase):
    """The program itself, with a bridge in a process of its own that listens at a UNIX socket and on loopback."""

    def setUp(self) -> None:
        self.folder = short_folder()
        self.addCleanup(shutil.rmtree, self.folder, True)
        self.program = self.folder / "sendmail"
        self.program.write_text("import sys\nfrom mailbridge.cli.main import main\nsys.exit(main())\n")

    def bridge(self, socket: str = "smtp") -> RunningBridge:
        bridge = RunningBridge(self.folder, f'{BASIC}[[smtp]]\nlisten = "unix:{self.folder}/{socket}"\n')
        self.addCleanup(bridge.stop)
        bridge.start()
        bridge.ask("user add", name="bonnie", password="correct horse")
        return bridge

    def sendmail(self, argv: Sequence[str], message: bytes, config: Path | None = None) -> tuple[int, str]:
        """(exit code, error output)."""
        given = config or self.folder / "mailbridge.toml"
        done = subprocess.run(
            [sys.executable, str(self.program), "-C", str(given), *argv], input=message, capture_output=True,
            cwd=self.folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=60,
        )
        self.assertEqual(b"", done.stdout)
        return done.returncode, done.stderr.decode()

    def test_into_a_maildrop(self) -> None:
        """A message goes through the UNIX socket and through loopback, and arrives with the header it needs."""
        bridge = self.bridge()
        message = b"To: bonnie@example.org\n\nhello\n.\n.x\n"
        self.assertEqual((0, ""), self.sendmail(["-t", "-i", "-f", "root"], message))
        other = self.folder / "other.toml"
        listen = f"tcp:{bridge.ports[0]}:interface=127.0.0.1"
        other.write_text(f'hostname = "b.example.org"\n[[smtp]]\nlisten = "{listen}"\n')
        self.assertEqual((0, ""), self.sendmail(["bonnie@example.org"], b"two\n", other))
        box = poplib.POP3("127.0.0.1", bridge.ports[1])
        box.user("bonnie")
        box.pass_("correct horse")
        first, second = (b"\r\n".join(box.retr(number)[1]) for number in (1, 2))
        box.quit()
        for words in (b"Return-Path: <root@example.org>", b"\r\nFrom: root@example.org", b"\r\nDate: ",
                      b"\r\nMessage-ID: <", b"\r\n\r\nhello\r\n.\r\n.x"):
            self.assertIn(words, first)
        self.assertTrue(second.endswith(b"\r\n\r\ntwo"), second)

    def test_refused(self) -> None:
        """An unknown user is 67, mail that may not pass 77; those who are known get it all the same."""
        bridge = self.bridge()
        code, err = self.sendmail(["nobody@example.org"], MESSAGE)
        self.assertEqual((67, True), (code, err.startswith("sendmail: nobody@example.org: 550 5.1.1")), err)
        code, err = self.sendmail(["x@elsewhere.example"], MESSAGE)
        self.assertEqual((77, 1), (code, len(err.splitlines())), err)
        self.assertEqual(67, self.sendmail(["nobody@example.org", "bonnie@example.org"], MESSAGE)[0])
        self.assertEqual(1, bridge.ask("user show", name="bonnie")["messages"])

    def test_bridge_is_down(self) -> None:
        """While the bridge is down the caller is told in one line to try again."""
        bridge = self.bridge()
        bridge.stop()
        code, err = self.sendmail(["bonnie@example.org"], MESSAGE)
        self.assertEqual((75, 1), (code, len(err.splitlines())), err)
        self.assertTrue(err.startswith("sendmail: mailbridge is not running: "), err)

    def test_wrong(self) -> None:
        """Usage, configuration and message have codes of their own, and one line each."""
        (self.folder / "mailbridge.toml").write_text(BASIC)
        good = self.folder / "good.toml"
        good.write_text('[[smtp]]\nlisten = "tcp:1:interface=127.0.0.1"\n[limits]\nmessage_size = 10\n')
        for argv, message, config, code in (
            (["-bs"], b"", good, 64), ([], b"x", good, 64), (["a@b"], b"x", None, 78), (["a@b"], MESSAGE, good, 65),
            (["-t"], b"a: b\n", good, 65), (["a@b"], b"x", self.folder / "none.toml", 78),
        ):
            told, err = self.sendmail(argv, message, config)
            self.assertEqual((code, 1), (told, len(err.splitlines())), err)
