"""A session with a witness: the same session, and lines without secrets."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge import reply
from mailbridge.limits import Limits
from mailbridge.smtp.decisions import ServerSettings
from mailbridge.smtp.witnessed import MOST_NAMED, WitnessedServer, shown
from tests.dialogue import dialogue_tests

from .surroundings import LIMITS, Client


class WitnessedClient(Client):
    """A Client whose server tells all it can."""

    def __init__(self, starttls: str = "offer", normalise: bool = False, limits: Limits = LIMITS,
                 end_line: bytes = b"") -> None:
        super().__init__(starttls, normalise, limits, end_line)
        self.told: list[str] = []
        told = self.told

        def note(letter: str, text: str) -> None:
            told.append(f"{letter} {text}")

        rules = ServerSettings("bridge.example.org", limits, starttls)
        self.server = WitnessedServer(self.surroundings, rules, note, True, False, normalise, end_line)


DialogueTests = dialogue_tests(Path(__file__).parent / "dialogues", WitnessedClient)


class SecretTests(SynchronousTestCase):
    """What a log never holds."""

    def test_table(self) -> None:
        """Commands are shown but for what AUTH is given, and for what is no command: it may be a password."""
        for line, text in [
            (b"MAIL FROM:<a@b> SIZE=3", "MAIL FROM:<a@b> SIZE=3"), (b"noop", "noop"), (b"EHLO \xff", "EHLO \udcff"),
            (b"AUTH PLAIN AGIAcmlnaHQ=", "AUTH PLAIN (hidden)"), (b"auth login", "AUTH LOGIN (hidden)"),
            (b"AUTH hunter2", "AUTH (hidden)"), (b"AUTH", "AUTH (hidden)"),
            (b"aHVudGVyMg==", "an unknown command of 12 octets"),
            (b"PASS hunter2", "an unknown command of 12 octets"), (b"\0", "an unknown command of 1 octets"),
        ]:
            self.assertEqual(shown(line), text)

    def test_login(self) -> None:
        """No word of a login is told, whichever way it goes: at once, step by step, refused, given up."""
        for octets in (
            b"AUTH PLAIN AGJvbm5pZQByaWdodA==\r\n", b"AUTH PLAIN\r\nAGJvbm5pZQByaWdodA==\r\n",
            b"AUTH LOGIN\r\nAGJvbm5pZQByaWdodA==\r\nAGJvbm5pZQByaWdodA==\r\n",
            b"AUTH LOGIN AGJvbm5pZQByaWdodA==\r\n*\r\n",
            b"AUTH CRAM-MD5\r\nAGJvbm5pZQByaWdodA==\r\n",
        ):
            client = WitnessedClient()
            client.feed(b"EHLO x\r\n" + octets)
            self.assertNotIn("AGJvbm5pZQByaWdodA", " ".join(client.told))
            self.assertTrue(any("hidden" in line for line in client.told))

    @settings(max_examples=100, deadline=None)
    @given(st.lists(st.sampled_from([
        b"EHLO x\r\n", b"AUTH PLAIN c2VjcmV0\r\n", b"AUTH LOGIN\r\n", b"c2VjcmV0\r\n", b"*\r\n", b"DATA\r\n",
        b"MAIL FROM:<a@b>\r\n",
        b"RCPT TO:<c@d>\r\n", b".\r\n", b"BDAT 5 LAST\r\n", b"STARTTLS\r\n", b"AUTH CRAM-MD5 c2VjcmV0\r\n", b"RSET\r\n",
    ]), max_size=12).map(b"".join))
    def test_any_session(self, octets: bytes) -> None:
        """Neither in any order of commands: without `log_rcv_data` the text of a message is not told."""
        client = WitnessedClient()
        client.feed(octets)
        self.assertNotIn("c2VjcmV0", " ".join(client.told))


class LineTests(SynchronousTestCase):
    """What an operator reads."""

    def test_many_recipients(self) -> None:
        """Of very many recipients some are named and the others counted."""
        client = WitnessedClient(limits=Limits())
        client.feed(b"HELO x\r\nMAIL FROM:<>\r\n" + b"".join(b"RCPT TO:<u%d@d>\r\n" % i for i in range(MOST_NAMED + 7)))
        client.feed(b"DATA\r\n.\r\n")
        [line] = [line for line in client.told if line.startswith("I ")]
        self.assertRegex(line, r"\AI accepted mail from <> to <u0@d>, <u1@d>, .*, <u99@d> and 7 more: 250 2\.0\.0 ")

    def test_each_message_by_itself(self) -> None:
        """The recipients of one message are not told of for the next."""
        client = WitnessedClient()
        for name in (b"one", b"two"):
            client.feed(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<%b@d>\r\nDATA\r\nx\r\n.\r\n" % name)
        accepted = [re.sub(":.*", "", line) for line in client.told if line.startswith("I ")]
        self.assertEqual(accepted, [f"I accepted mail from <a@b> to <{name}@d>" for name in ("one", "two")])

    def test_late_answers(self) -> None:
        """A refusal that comes later is told with the command it is for."""
        client = WitnessedClient()
        client.surroundings.script["rcpt"] = [None]
        client.feed(b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nNOOP\r\n")
        client.event("answer NO_SUCH_USER")
        self.assertIn(f"W refused RCPT TO:<c@d> from <a@b>: {reply.NO_SUCH_USER}", client.told)
