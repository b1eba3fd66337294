"""The SMTP session under everything a peer may send: splits, sizes, smuggling, random octets."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge import reply
from mailbridge.lines import DotStuffer
from mailbridge.smtp.conversation import COMMANDS_PER_TURN
from mailbridge.smtp.server import VERBS

from .surroundings import LIMITS, Client

REPLIES = re.compile(rb"(?:[2-5][0-9]{2}[ -][ -~]*\r\n)*")
LONGEST_LINE = LIMITS.command_line + 1024
OPENING = b"HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"

# Ends of DATA to others, never to us (threats.md): with bare newlines, and Python's own ideas of a line end.
BARE_ENDS = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r.\r\n", b"\r\n.\r", b"\r\n.\r\r\n"]
OTHER_ENDS = [b"\r\n\0.\r\n"] + [
    mark + b"." + mark for mark in (b"\x0b", b"\x0c", b"\x1c", b"\x85", "\u2028".encode(), "\u0085".encode())
]

PIECES = [
    b"EHLO x\r\n", b"MAIL FROM:<a@b>", b" SIZE=9", b" BODY=8BITMIME", b"RCPT TO:<c@d>", b"\r\n", b"\n", b"\r", b"\0",
    b"DATA\r\n", b".\r\n", b"..", b"BDAT 3", b"BDAT 0", b" LAST", b"RSET\r\n", b"AUTH PLAIN", b" =", b"AGIAcmlnaHQ=",
    b"*\r\n", b"STARTTLS\r\n", b"QUIT\r\n", b"NOOP\r\n", b"x" * 700, b"\x85", b"\xe2\x80\xa8", b" ", b"<", b">",
]
WIRE = st.lists(st.one_of(st.sampled_from(PIECES), st.binary(max_size=6)), max_size=30).map(b"".join)


def split(octets: bytes, cuts: list[int]) -> list[bytes]:
    """`octets` cut at those places."""
    places = sorted({cut % (len(octets) + 1) for cut in cuts})
    return [octets[a:b] for a, b in zip([0, *places], [*places, len(octets)], strict=True)]


class PropertyTests(SynchronousTestCase):
    """What holds for all input."""

    @settings(max_examples=250, deadline=None)
    @given(WIRE, st.lists(st.integers(0, 10_000), max_size=8), st.booleans())
    def test_splits(self, octets: bytes, cuts: list[int], normalise: bool) -> None:
        """How TCP cuts a session changes nothing: the same replies, the same mail, and they are well-formed."""
        whole, parts = Client(normalise=normalise), Client(normalise=normalise)
        answer = whole.feed(octets)
        pieces = b"".join(parts.feed(piece) for piece in split(octets, cuts))
        if b"STARTTLS" not in octets.upper():  # there a cut matters: octets behind it in clear are an attack
            self.assertEqual(pieces, answer)
            self.assertEqual(parts.surroundings.accepted, whole.surroundings.accepted)
            self.assertEqual(parts.closed, whole.closed)
        self.assertIsNotNone(REPLIES.fullmatch(answer), answer)
        for client in (whole, parts):
            if not (client.server.wants_tls or client.server.waiting):
                self.assertLessEqual(client.server.buffered, LONGEST_LINE)

    @settings(max_examples=250, deadline=None)
    @given(WIRE, st.lists(st.sampled_from(["mail", "rcpt", "end", "login"]), max_size=4))
    def test_late_answers(self, octets: bytes, late: list[str]) -> None:
        """Answers that come later change no reply and no order."""
        prompt, slow = Client(starttls="off"), Client(starttls="off")
        for question in late:
            slow.surroundings.script.setdefault(question, []).append(None)
        octets = OPENING + octets
        expected = prompt.feed(octets)
        said = slow.feed(octets)
        while slow.server.waiting:
            said += slow.event("answer LOGGED_IN" if slow.surroundings.asked[-1] == "login" else "answer OK")
        self.assertEqual(_codes(said), _codes(expected))
        self.assertEqual(slow.surroundings.accepted, prompt.surroundings.accepted)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.one_of(st.binary(max_size=8), st.sampled_from([b".", b"\r\n", b"\r\n.", b"..", b"\0", b"\x85"])),
                    max_size=20).map(b"".join), st.lists(st.integers(0, 10_000), max_size=6))
    def test_content_survives(self, content: bytes, cuts: list[int]) -> None:
        """Any content with CR LF line ends comes through DATA as it was sent, dots and all, at any split."""
        content = re.sub(rb"\r\n|\r|\n", b"\r\n", content) + b"\r\n"
        stuffer = DotStuffer()
        wire = stuffer.feed(content) + stuffer.finish()
        client = Client()
        client.feed(OPENING + b"DATA\r\n")
        said = b"".join(client.feed(piece) for piece in split(wire + b"NOOP\r\n", cuts))
        self.assertEqual(said, b"250 2.0.0 Stored as ABC\r\n250 2.0.0 OK\r\n")
        self.assertEqual(client.surroundings.accepted, [content])

    @settings(max_examples=200, deadline=None)
    @given(st.binary(max_size=200), st.lists(st.integers(0, 10_000), max_size=6))
    def test_chunks_survive(self, content: bytes, cuts: list[int]) -> None:
        """Content in chunks comes through BDAT octet for octet, or is refused because of a bare newline."""
        chunks = split(content, cuts)
        client = Client()
        wire = b"".join(b"BDAT %d\r\n%b" % (len(chunk), chunk) for chunk in chunks) + b"BDAT 0 LAST\r\nNOOP\r\n"
        said = client.feed(OPENING + wire)
        if content == re.sub(rb"\r\n|\r|\n", b"\r\n", content):
            self.assertEqual(client.surroundings.accepted, [content])
        else:
            self.assertEqual(client.surroundings.accepted, [])
            self.assertIn(reply.BARE_NEWLINE.wire, said)
        self.assertTrue(client.closed or said.endswith(reply.OK.wire))

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.sampled_from([*BARE_ENDS, *OTHER_ENDS, b"x", b"\r\n", b"RSET\r\n"]), max_size=12).map(b"".join),
           st.lists(st.integers(0, 10_000), max_size=6), st.booleans())
    def test_nothing_bare_is_accepted(self, content: bytes, cuts: list[int], normalise: bool) -> None:
        """Whatever is mixed into a message: what is accepted has no bare CR or LF, and DATA ends where it must."""
        content = re.sub(rb"(?<=\r\n)\.(?=\r\n)", b"..", content + b"\r\n")
        if content.startswith(b".\r\n"):
            content = b"x" + content
        client = Client(normalise=normalise)
        client.feed(OPENING + b"DATA\r\n")
        before = client.surroundings.asked[:]
        said = b"".join(client.feed(piece) for piece in split(content + b".\r\n", cuts))
        self.assertEqual(said.count(b"\r\n"), 1, said)
        self.assertEqual(client.surroundings.asked[len(before):], ["end"] if said.startswith(b"250") else [])
        for accepted in client.surroundings.accepted:
            self.assertNotRegex(accepted.replace(b"\r\n", b""), rb"[\r\n]")


def _codes(octets: bytes) -> list[bytes]:
    return [line[:4] for line in octets.split(b"\r\n")]


class SmugglingTests(SynchronousTestCase):
    """No end of DATA but CR LF dot CR LF (CVE-2023-51764 and kin)."""

    EVIL = b"MAIL FROM:<evil@example.org>\r\nRCPT TO:<c@d>\r\nDATA\r\nsmuggled\r\n"

    def send(self, octets: bytes, normalise: bool = False) -> tuple[Client, bytes]:
        client = Client(normalise=normalise)
        client.feed(OPENING + b"DATA\r\n")
        return client, client.feed(octets)

    def test_refused(self) -> None:
        """A message with a bare newline that pretends to end it is read to its true end and refused with 554."""
        for mark in BARE_ENDS:
            client, said = self.send(b"one" + mark + self.EVIL + b".\r\n")
            self.assertEqual(said, reply.BARE_NEWLINE.wire, mark)
            self.assertEqual(client.surroundings.accepted, [], mark)
            self.assertEqual(client.surroundings.asked, ["mail", "rcpt"], mark)

    def test_passed_as_it_is(self) -> None:
        """Octets that only Python takes for a line end are content like any other."""
        for mark in OTHER_ENDS:
            client, said = self.send(b"one" + mark + self.EVIL + b".\r\n")
            self.assertEqual(_codes(said), [b"250 ", b""], mark)
            self.assertEqual(client.surroundings.accepted, [b"one" + mark + self.EVIL], mark)

    def test_normalised(self) -> None:
        """For a client set to normalise they become lines of the one message, and nothing bare is left."""
        for mark in BARE_ENDS:
            client, said = self.send(b"one" + mark + self.EVIL + b".\r\n", normalise=True)
            self.assertEqual(_codes(said), [b"250 ", b""], mark)
            wanted = re.sub(rb"\r\n|\r|\n", b"\r\n", b"one" + mark + self.EVIL)
            # DATA takes the dot off a true CR LF dot before the newlines are looked at
            wanted = wanted if not mark.startswith(b"\r\n.") else wanted.replace(b"one\r\n.", b"one\r\n", 1)
            self.assertEqual(client.surroundings.accepted, [wanted], mark)

    def test_every_split(self) -> None:
        """At no cut of the segment does a false end become a true one."""
        for mark in BARE_ENDS + OTHER_ENDS:
            octets = b"a" + mark + b"RSET\r\n.\r\n"
            for cut in range(len(octets)):
                client = Client()
                client.feed(OPENING + b"DATA\r\n")
                said = client.feed(octets[:cut])
                self.assertEqual(said, b"", (mark, cut))
                self.assertEqual(client.feed(octets[cut:]).count(b"\r\n"), 1, (mark, cut))
                self.assertEqual(client.surroundings.resets + len(client.surroundings.accepted), 1)


class BoundTests(SynchronousTestCase):
    """What one client can make us keep or do."""

    def test_endless_line(self) -> None:
        """A line that never ends is cut off with 500."""
        client = Client()
        client.feed(b"x" * LONGEST_LINE)
        self.assertFalse(client.closed)
        self.assertEqual(client.feed(b"x"), reply.LINE_TOO_LONG.wire)
        self.assertTrue(client.closed)
        self.assertEqual(client.server.buffered, 0)

    def test_longest_line(self) -> None:
        """A line just as long as allowed is read, one octet more is not."""
        self.assertTrue(Client().feed(b"x" * (LONGEST_LINE - 1) + b"\r\n").endswith(reply.UNKNOWN_COMMAND.wire))
        client = Client()
        self.assertTrue(client.feed(b"x" * LONGEST_LINE + b"\r\n").endswith(reply.LINE_TOO_LONG.wire))
        self.assertTrue(client.closed)

    def test_login_lines_may_be_longer(self) -> None:
        """A response to a challenge may have 12,288 octets (RFC 4954 4), no more."""
        client = Client()
        client.feed(b"HELO x\r\nAUTH PLAIN\r\n")
        self.assertEqual(client.feed(b"A" * 12_000 + b"\r\n"), reply.BAD_BASE64.wire)
        client.feed(b"AUTH PLAIN\r\n")
        self.assertEqual(client.feed(b"A" * 12_289), reply.LINE_TOO_LONG.wire)

    def test_too_large(self) -> None:
        """A message over the limit is read to its end, kept nowhere, and answered once with 552."""
        for content in (b"x" * 2001, b"x\r\n" * 700, b"x" * 100_000):
            client = Client()
            client.feed(OPENING + b"DATA\r\n")
            self.assertEqual(client.feed(content), b"")
            self.assertEqual(client.feed(b"\r\n.\r\n"), reply.TOO_LARGE.wire)
            self.assertEqual(client.surroundings.accepted, [])
            self.assertEqual(client.surroundings.resets, 1)

    def test_just_not_too_large(self) -> None:
        """A message of exactly the limit is taken; dots that were doubled do not count."""
        client = Client()
        client.feed(OPENING + b"DATA\r\n")
        content = b"." * 1998 + b"\r\n"
        self.assertTrue(client.feed(b"." + content + b".\r\n").startswith(b"250 "))
        self.assertEqual(client.surroundings.accepted, [content])

    def test_too_large_chunk(self) -> None:
        """A chunk over the limit is read and refused; the commands behind it are found again."""
        client = Client()
        said = client.feed(OPENING + b"BDAT 6000 LAST\r\n" + b"QUIT\r\n" * 1001)
        self.assertEqual(_codes(said)[-3:], [b"552 ", b"221 ", b""])

    def test_turns(self) -> None:
        """After a hundred commands the session lets others run, and goes on when told."""
        client = Client()
        client.server.receive(OPENING + b"BDAT 1\r\nx" * (COMMANDS_PER_TURN - 3) + b"NOOP\r\n")
        self.assertTrue(client.server.has_more)
        self.assertEqual(client.server.resume(), reply.OK.wire)
        self.assertFalse(client.server.has_more)

    def test_close_from_this_side(self) -> None:
        """After a farewell nothing is run and nothing is said, not even a late answer."""
        client = Client()
        client.surroundings.script["mail"] = [None]
        client.feed(b"HELO x\r\nMAIL FROM:<a@b>\r\nNOOP\r\n")
        self.assertEqual(client.server.close(reply.SHUTTING_DOWN), reply.SHUTTING_DOWN.wire)
        self.assertEqual(client.server.answer(reply.SENDER_OK), b"")
        self.assertEqual(client.server.receive(b"NOOP\r\n"), b"")

    def test_an_answer_nobody_waits_for(self) -> None:
        """An answer too many changes nothing."""
        client = Client()
        self.assertEqual(client.server.answer(reply.SENDER_OK), b"")


class RepliesTests(SynchronousTestCase):
    """The dialogues are complete."""

    # Said by the edge (tests.edge) or for applications (tests.application), made of what is in other replies, or
    # tested above.
    ELSEWHERE = frozenset({
        "FAULT", "IDLE_TOO_LONG", "LOGIN_TOO_SLOW", "SHUTTING_DOWN", "TOO_MANY_CONNECTIONS", "LINE_TOO_LONG",
        "SENDER_OK", "RECIPIENT_OK", "ETRN_REFUSED", "ETRN_UNAVAILABLE", "STRANGER", "STRANGER_YET",
        "NOT_YOUR_APPLICATION", "SENDER_REFUSED", "NO_ANONYMOUS", "NUMBER_REFUSED", "NO_NUMBER", "CLIENT_NOT_YET",
        "TOO_INTRICATE",
    })

    def test_every_reply(self) -> None:
        """Each reply of the table stands in a dialogue."""
        texts = "".join(path.read_text("utf-8") for path in (Path(__file__).parent / "dialogues").glob("*.txt"))
        missing = {name for name, each in reply.wire_table().items() if each.text.partition("\n")[0] not in texts}
        self.assertEqual(missing - self.ELSEWHERE, set())

    def test_verbs(self) -> None:
        """HELP names every verb there is."""
        named = reply.HELP.text.partition("\n")[0].split()
        self.assertEqual(sorted(verb.decode() for verb in VERBS), sorted(named))
