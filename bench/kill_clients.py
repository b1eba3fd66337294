"""The clients of `kill.py`: what was sent, acknowledged, read and deleted, and the sessions that do it.

A session that is chosen shoots the bridge itself, at the very point of its dialogue that is wanted. The Ledger holds
only what a client can know: an acknowledgement counts when its octets were read from the socket.
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import socket
import threading
import time
from collections import Counter, deque

from attrs import define
from kill_bridge import DOMAIN, PASSWORD, Bridge

PHASES = ("MAIL", "DATA", "commit", "reply", "QUIT", "QUIT answered")
SIZES = (2 * 1024, 50 * 1024, 1024 * 1024)
WEIGHTS = (84, 15, 1)
STYLES = ("plain", "pipelined", "bdat")
READ_AT_ONCE = 25

_MESSAGE_ID = re.compile(rb"^Message-ID: <(\d+)@kill\.invalid>\r\n", re.M)
_ADDED = re.compile(rb"Return-Path: <a@src\.invalid>\r\nReceived: [^\r\n]+\r\n(?:[ \t][^\r\n]+\r\n)+")


class Cut(Exception):
    """The connection ended in the middle, or was not there."""


@define(eq=False)
class Letter:
    """One message. `open_ends` counts sessions that were cut after its final octet was sent, before the reply."""

    number: int
    size: int
    users: tuple[str, ...]
    digest: bytes = b""
    acknowledged: int = 0
    open_ends: int = 0


class Ledger:
    """What the clients know. Its methods may be called by any thread."""

    def __init__(self, messages: int, kept: list[str], read: list[str], seed: int) -> None:
        self.lock = threading.Lock()
        self.messages = messages
        self.closing = False
        """No more new messages than `messages`: the last kill is done."""
        self.letters: list[Letter] = []
        self.acknowledged = 0
        self.latency = 0.005
        self.copies: dict[tuple[int, str], set[bytes]] = {}
        self.gone: dict[str, set[bytes]] = {user: set() for user in read}
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []
        self._kept, self._read = kept, read
        self._random = random.Random(seed)
        self._again: deque[Letter] = deque()
        self._blob = self._random.randbytes(1 << 20).hex().replace("7", ".").encode()

    def next(self) -> Letter | None:
        """A message to send, first of all one that was cut; None when all are under way or done."""
        with self.lock:
            if self._again:
                return self._again.popleft()
            if self.closing and len(self.letters) >= self.messages:
                return None
            draw = self._random
            users = [draw.choice(self._kept)] if draw.random() < 0.8 else []
            if not users or draw.random() < 0.3:
                users.append(draw.choice(self._read))
            letter = Letter(len(self.letters), draw.choices(SIZES, WEIGHTS)[0], tuple(users))
            self.letters.append(letter)
            return letter

    def finished(self) -> bool:
        """Whether every message is acknowledged."""
        return self.closing and self.acknowledged >= max(self.messages, len(self.letters))

    def octets(self, letter: Letter) -> bytes:
        """The message, the same at each attempt; lines with dots at their start are among it."""
        head = (f"Message-ID: <{letter.number}@kill.invalid>\r\nFrom: a@src.invalid\r\n"
                f"To: {letter.users[0]}@{DOMAIN}\r\nSubject: letter {letter.number}\r\n\r\n.\r\n..two\r\n")
        lines, at = [head.encode()], letter.number * 7919 % 100_000
        while at < letter.number * 7919 % 100_000 + letter.size - len(head):
            lines.append(self._blob[at:at + 76])
            at += 78
        octets = b"\r\n".join([lines[0] + lines[1], *lines[2:], b""])
        letter.digest = hashlib.sha256(octets).digest()
        return octets

    def answered(self, letter: Letter, seconds: float) -> None:
        """The 250 was read."""
        with self.lock:
            letter.acknowledged += 1
            self.acknowledged += 1
            self.latency += (seconds - self.latency) / 20

    def cut(self, letter: Letter, at_end: bool) -> None:
        """The session ended before the reply: it will be sent again."""
        with self.lock:
            letter.open_ends += at_end
            self.counts["cut after the end" if at_end else "cut before the end"] += 1
            self._again.append(letter)

    def fault(self, text: str) -> None:
        """Something that must not be."""
        with self.lock:
            self.violations.append(text)

    def found(self, user: str, uid: bytes, octets: bytes) -> None:
        """Somebody has read this from a maildrop."""
        known = _MESSAGE_ID.search(octets)
        if known is None or int(known[1]) >= len(self.letters):
            self.fault(f"{user} {uid!r}: not a message that was sent: {octets[:100]!r}")
            return
        letter = self.letters[int(known[1])]
        if hashlib.sha256(octets[known.start():]).digest() != letter.digest:
            self.fault(f"{user} {uid!r}: message {letter.number} is altered ({len(octets)} octets)")
        if not _ADDED.fullmatch(octets[:known.start()]):
            self.fault(f"{user} {uid!r}: unexpected header lines {octets[:known.start()]!r}")
        if user not in letter.users:
            self.fault(f"{user} {uid!r}: message {letter.number} was for {letter.users}")
        with self.lock:
            self.copies.setdefault((letter.number, user), set()).add(uid)


class Marksman:
    """Kills the bridge for the session that comes to the wanted phase first. `counts` are of the phases really met."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge
        self._lock = threading.Lock()
        self._phase: str | None = None
        self.counts: Counter[str] = Counter()
        self.done = threading.Event()

    def aim(self, phase: str) -> None:
        """The next session in this phase shall shoot."""
        with self._lock:
            self.done.clear()
            self._phase = phase

    def take(self, phase: str) -> bool:
        """Whether the caller, who is in this phase, is to shoot: at most one is."""
        if self._phase != phase:
            return False
        with self._lock:
            mine = self._phase == phase
            if mine:
                self._phase = None
            return mine

    def fire(self) -> None:
        """kill -9."""
        assert self._bridge.process is not None
        os.kill(self._bridge.process.pid, signal.SIGKILL)

    def met(self, phase: str) -> None:
        """The session has seen what the kill met: a reply that could still be read moves it one phase on."""
        with self._lock:
            self.counts[phase] += 1
        self.done.set()


class Line:
    """A connection to a port on 127.0.0.1. Raises Cut when it ends, and after 30 s of silence."""

    def __init__(self, port: int, ledger: Ledger) -> None:
        self._ledger = ledger
        self._buffer = b""
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), 30)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            raise Cut from None

    def send(self, octets: bytes) -> None:
        """All of it."""
        try:
            self._socket.sendall(octets)
        except OSError:
            raise Cut from None

    def _more(self) -> None:
        try:
            octets = self._socket.recv(262_144)
        except TimeoutError:
            self._ledger.fault("a session hung: no answer in 30 s")
            raise Cut from None
        except OSError:
            raise Cut from None
        if not octets:
            raise Cut
        self._buffer += octets

    def line(self) -> bytes:
        """One line, with its CR LF."""
        while b"\n" not in self._buffer:
            self._more()
        line, newline, self._buffer = self._buffer.partition(b"\n")
        return line + newline

    def reply(self, code: bytes) -> None:
        """An SMTP reply. Cut, and counted, when it is another."""
        line = self.line()
        while line[3:4] == b"-":
            line = self.line()
        if not line.startswith(code):
            with self._ledger.lock:
                self._ledger.counts["refused: " + line.decode("ascii", "replace").strip()] += 1
            raise Cut

    def ok(self, command: bytes = b"") -> bytes:
        """The line of an +OK to a POP3 command. Cut when it is -ERR."""
        if command:
            self.send(command)
        line = self.line()
        if not line.startswith(b"+OK"):
            with self._ledger.lock:
                self._ledger.counts["refused: " + line.decode("ascii", "replace").strip()] += 1
            raise Cut
        return line

    def block(self) -> bytes:
        """A multi-line POP3 answer after its first line, without the dots that were added."""
        parts, tail = [], b"\r\n"
        while True:
            octets = tail + self._buffer
            end = octets.find(b"\r\n.\r\n")
            if end >= 0:
                parts.append(octets[:end + 2])
                self._buffer = octets[end + 5:]
                return b"".join(parts).replace(b"\r\n.", b"\r\n")[2:]
            if len(octets) > 4:
                parts.append(octets[:-4])
                tail = octets[-4:]
            else:
                tail = octets
            self._buffer = b""
            self._more()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


class Client(threading.Thread):
    """Sessions one after the other, until `stop` is set."""

    def __init__(self, bridge: Bridge, ledger: Ledger, marksman: Marksman, stop: threading.Event, seed: int) -> None:
        super().__init__(daemon=True)
        self.bridge, self.ledger, self.marksman, self.halt = bridge, ledger, marksman, stop
        self.random = random.Random(seed)
        self.connection: Line | None = None

    def run(self) -> None:
        """Session after session; a bug of ours is a violation too."""
        while not self.halt.is_set():
            try:
                self.session()
            except Cut:
                time.sleep(0.02)
            except Exception as error:
                self.ledger.fault(f"the client itself failed: {error!r}")
                raise
            finally:
                if self.connection is not None:
                    self.connection.close()
                    self.connection = None

    def session(self) -> None:
        """One session."""
        raise NotImplementedError

    def wait_up_to(self, seconds: float) -> None:
        """A random time: a kill shall meet every point of what the bridge does meanwhile."""
        end = time.perf_counter() + self.random.random() * seconds
        while time.perf_counter() < end:
            time.sleep(0.0001)


class Sender(Client):
    """Sends by SMTP: in lockstep, pipelined with the next message behind the final dot, or by BDAT."""

    def session(self) -> None:
        """Up to 40 messages."""
        line = self.connection = Line(self.bridge.smtp, self.ledger)
        line.reply(b"220")
        line.send(b"EHLO kill\r\n")
        line.reply(b"250")
        style = self.random.choice(STYLES)
        left = self.random.randrange(1, 40)
        letter = self.ledger.next()
        while letter is not None and not self.halt.is_set():
            left -= 1
            letter = getattr(self, "_" + style)(line, letter, left > 0)
        if letter is None and left > 0:
            time.sleep(0.05)  # nothing to do: all messages are under way
        line.send(b"QUIT\r\n")
        line.reply(b"221")

    def _mail(self, letter: Letter) -> bytes:
        return b"MAIL FROM:<a@src.invalid> SIZE=%d\r\n" % letter.size

    def _recipients(self, letter: Letter) -> bytes:
        return b"".join(b"RCPT TO:<%b@%b>\r\n" % (user.encode(), DOMAIN.encode()) for user in letter.users)

    def _next(self, more: bool) -> Letter | None:
        return self.ledger.next() if more else None

    def _shoot_at_mail(self, line: Line, letter: Letter) -> None:
        if self.marksman.take("MAIL"):
            self.wait_up_to(0.001)
            self.marksman.fire()
            self.marksman.met("MAIL")
            raise Cut

    def _content(self, line: Line, octets: bytes) -> None:
        """All of it, or a part and a shot."""
        if self.marksman.take("DATA"):
            line.send(octets[:self.random.randrange(len(octets) // 4, len(octets))])
            self.wait_up_to(0.002)
            self.marksman.fire()
            self.marksman.met("DATA")
            raise Cut
        line.send(octets)

    def _end(self, line: Line, octets: bytes, before: int, letter: Letter) -> None:
        """The last octets and the reply to them, behind `before` other replies. Shots at commit and reply."""
        begun = time.perf_counter()
        line.send(octets)
        shot = self.marksman.take("commit")
        if shot:
            self.wait_up_to(self.ledger.latency)
            self.marksman.fire()
        try:
            for _ in range(before):
                line.reply(b"250")
            line.reply(b"250")
        except Cut:
            if shot:
                self.marksman.met("commit")
            raise
        self.ledger.answered(letter, time.perf_counter() - begun)
        if shot or self.marksman.take("reply"):
            if not shot:
                self.marksman.fire()
            self.marksman.met("reply")

    def _plain(self, line: Line, letter: Letter, more: bool) -> Letter | None:
        ended = False
        try:
            octets = self.ledger.octets(letter).replace(b"\r\n.", b"\r\n..")
            line.send(self._mail(letter))
            self._shoot_at_mail(line, letter)
            line.reply(b"250")
            line.send(self._recipients(letter))
            for _ in letter.users:
                line.reply(b"250")
            line.send(b"DATA\r\n")
            line.reply(b"354")
            self._content(line, octets)
            ended = True
            self._end(line, b".\r\n", 0, letter)
        except Cut:
            self.ledger.cut(letter, ended)
            raise
        return self._next(more)

    def _pipelined(self, line: Line, letter: Letter, more: bool) -> Letter | None:
        """The first message of a run opens it; each of the others came behind the dot of the one before."""
        line.send(self._mail(letter) + self._recipients(letter) + b"DATA\r\n")
        following: Letter | None = letter
        while following is not None:
            letter, following, ended = following, None, False
            try:
                octets = self.ledger.octets(letter).replace(b"\r\n.", b"\r\n..")
                self._shoot_at_mail(line, letter)
                for _ in range(1 + len(letter.users)):
                    line.reply(b"250")
                line.reply(b"354")
                self._content(line, octets)
                following = self._next(more and self.random.random() < 0.9)
                last = b".\r\n"
                if following is not None:
                    last += self._mail(following) + self._recipients(following) + b"DATA\r\n"
                ended = True
                self._end(line, last, 0, letter)
            except Cut:
                self.ledger.cut(letter, ended)
                if following is not None:
                    self.ledger.cut(following, False)
                raise
        return self._next(more)

    def _bdat(self, line: Line, letter: Letter, more: bool) -> Letter | None:
        ended = False
        try:
            octets = self.ledger.octets(letter)
            middle = len(octets) // 3 if letter.size > SIZES[0] else 0
            head = self._mail(letter) + self._recipients(letter)
            if middle:
                head += b"BDAT %d\r\n%b" % (middle, octets[:middle])
            head += b"BDAT %d LAST\r\n" % (len(octets) - middle)
            cut = len(self._mail(letter))
            line.send(head[:cut])
            self._shoot_at_mail(line, letter)
            self._content(line, head[cut:] + octets[middle:-1])
            ended = True
            self._end(line, octets[-1:], 1 + len(letter.users) + bool(middle), letter)
        except Cut:
            self.ledger.cut(letter, ended)
            raise
        return self._next(more)


class Reader(Client):
    """Reads one maildrop by POP3 and deletes a part of it. Knows what must be there, and what never again."""

    def __init__(self, user: str, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self.user = user
        self._must: set[bytes] = set()
        self._open: set[bytes] = set()
        self._retrieved: set[bytes] = set()

    def session(self) -> None:
        """List, compare, read some, delete half of them, and leave by QUIT, mostly."""
        ledger = self.ledger
        line = self.connection = Line(self.bridge.pop3, ledger)
        there = self.compare(line)
        numbers = [number for number, uid in there.items() if uid not in self._retrieved]
        chosen = numbers[:READ_AT_ONCE]
        deleted = set()
        for number in chosen:
            line.ok(b"RETR %d\r\n" % number)
            ledger.found(self.user, there[number], line.block())
            self._retrieved.add(there[number])
        known = [number for number, uid in there.items() if uid in self._retrieved]
        for number in self.random.sample(known, min(len(known), len(chosen) // 2 + 1)):
            line.ok(b"DELE %d\r\n" % number)
            deleted.add(there[number])
        if self.random.random() < 0.1:
            ledger.counts["left without QUIT"] += 1
            return
        line.send(b"QUIT\r\n")
        self._open |= deleted
        self._must -= deleted
        shot = bool(deleted) and self.marksman.take("QUIT")
        if shot:
            self.wait_up_to(0.004)
            self.marksman.fire()
        try:
            line.ok()
        except Cut:
            if shot:
                self.marksman.met("QUIT")
            raise
        if shot or (deleted and self.marksman.take("QUIT answered")):
            if not shot:
                self.marksman.fire()
            self.marksman.met("QUIT answered")
        self._open -= deleted
        ledger.gone[self.user] |= deleted
        ledger.counts["deleted"] += len(deleted)
        time.sleep(0.1)

    def compare(self, line: Line) -> dict[int, bytes]:
        """Log in; the unique id of each message, after comparing them with what was seen and deleted before."""
        ledger, user = self.ledger, self.user
        there = log_in(line, user)
        uids = set(there.values())
        gone = ledger.gone[user]
        if back := uids & gone:
            ledger.counts["resurrected"] += len(back)
            ledger.fault(f"{user}: {len(back)} deleted messages are back: {sorted(back)[:5]}")
        if lost := self._must - uids:
            ledger.counts["lost from a read maildrop"] += len(lost)
            ledger.fault(f"{user}: {len(lost)} messages that were there are gone: {sorted(lost)[:5]}")
        if self._open:  # a QUIT without its reply: now we see what it did
            done = self._open - uids
            what = "all" if done == self._open else "in part" if done else "nothing"
            ledger.counts[f"QUIT without reply had deleted {what}"] += 1
            gone |= done
            self._open = set()
        self._must = uids
        return there


def log_in(line: Line, user: str) -> dict[int, bytes]:
    """Log in by POP3; the unique id of each message by its number."""
    line.ok()
    line.ok(b"USER %b\r\n" % user.encode())
    line.ok(b"PASS %b\r\n" % PASSWORD.encode())
    line.ok(b"UIDL\r\n")
    there = {}
    for entry in line.block().splitlines():
        number, uid = entry.split(b" ")
        there[int(number)] = uid
    if len(set(there.values())) != len(there):
        raise ValueError(f"{user}: a unique id stands for two messages")
    return there


def fetch_all(user: str, bridge: Bridge, ledger: Ledger) -> set[bytes]:
    """Read a whole maildrop into the ledger, 20 RETR ahead; its unique ids."""
    line = Line(bridge.pop3, ledger)
    there = log_in(line, user)
    numbers = list(there)
    for start in range(0, len(numbers), 20):
        some = numbers[start:start + 20]
        line.send(b"".join(b"RETR %d\r\n" % number for number in some))
        for number in some:
            line.ok()
            ledger.found(user, there[number], line.block())
    line.ok(b"QUIT\r\n")
    line.close()
    return set(there.values())
