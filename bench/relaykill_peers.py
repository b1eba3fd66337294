"""The recording SMTP sink and the senders of `relaykill.py`, with the one ledger of what both have seen.

All of it runs in one asyncio loop, so that nothing here needs a lock. The sink counts a message as delivered when it
has read the final dot, whatever becomes of its reply: so does a server in the real world.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress

from attrs import define, field

HOST = "127.0.0.1"
DOMAINS = ("a.invalid", "a2.invalid", "b.invalid")
SIZES = (2 * 1024, 100 * 1024)
WEIGHTS = (92, 8)
MOST_WAITING = 600
"""Senders rest while so many messages wait to be relayed: kills are to meet relaying all the time."""
PHASES = ("connected", "MAIL", "content", "dot", "answered")
LINE_LIMIT = 1 << 20
SILENCE = 30.0

_HEAD = re.compile(
    rb"Received: [^\r\n]+\r\n\tby bench\.invalid with \w+ id (?P<id>\w+)(?:\r\n\tfor <[^>\r\n]+>)?;\r\n\t[^\r\n]+\r\n"
    rb"Message-ID: <(?P<number>\d+)@relaykill\.invalid>\r\n")
_STORED = re.compile(rb"250 2\.0\.0 Stored as (\w+)\r\n")


class Cut(Exception):
    """The bridge has gone, in the middle of something."""


@define(eq=False)
class Letter:
    """One message, sent once: a session that is cut sends another one. `queue_id` is set by the 250."""

    number: int
    size: int
    recipients: tuple[str, ...]
    digest: bytes
    ended: bool = False
    queue_id: str = ""


@define(eq=False)
class Copy:
    """What the sink has taken in one transaction: the dot was read at `dotted`, the 250 was written at `replied`.

    `life` is the number of the bridge's process; times are of the monotonic clock.
    """

    life: int
    queue_id: str
    recipients: tuple[str, ...]
    dotted: float
    replied: float | None = None


@define(eq=False)
class Ledger:
    """What was sent and what came out. `killed` holds when each life of the bridge ended."""

    draw: random.Random
    letters: list[Letter] = field(factory=list)
    copies: dict[int, list[Copy]] = field(factory=dict)
    killed: list[float] = field(factory=list)
    counts: Counter[str] = field(factory=Counter)
    violations: list[str] = field(factory=list)
    closing: bool = False
    acknowledged: int = 0
    transactions: int = 0
    _blob: bytes = b""

    @property
    def life(self) -> int:
        """The number of the process that runs, or comes next."""
        return len(self.killed)

    def fault(self, text: str) -> None:
        """Something that must not be."""
        self.violations.append(text)

    def letter(self) -> tuple[Letter, bytes]:
        """A new message and its octets; lines with dots at their start are among it."""
        if not self._blob:
            self._blob = self.draw.randbytes(1 << 19).hex().replace("7", ".").encode()
        number, draw = len(self.letters), self.draw
        count = 1 if draw.random() < 0.8 else draw.randrange(2, 5)
        recipients = tuple(f"r{number}.{index}@{draw.choice(DOMAINS)}" for index in range(count))
        size = draw.choices(SIZES, WEIGHTS)[0]
        lines = [b"Message-ID: <%d@relaykill.invalid>" % number, b"From: a@src.invalid", b"", b".", b"..two"]
        start = draw.randrange(1000)
        lines += [self._blob[at:at + 76] for at in range(start, start + size, 78)]
        octets = b"\r\n".join([*lines, b""])
        letter = Letter(number, len(octets), recipients, hashlib.sha256(octets).digest())
        self.letters.append(letter)
        return letter, octets

    def stored(self, letter: Letter, queue_id: str) -> None:
        """The 250 was read."""
        letter.queue_id = queue_id
        self.acknowledged += 1

    def arrived(self, life: int, recipients: tuple[str, ...], octets: bytes) -> Copy | None:
        """The sink has a message; None when it is none that was sent."""
        self.transactions += 1
        head = _HEAD.match(octets)
        if head is None or int(head["number"]) >= len(self.letters):
            self.fault(f"not a message that was sent, or not with our header: {octets[:300]!r}")
            return None
        letter = self.letters[int(head["number"])]
        if hashlib.sha256(octets[head.start("number") - len(b"Message-ID: <"):]).digest() != letter.digest:
            self.fault(f"message {letter.number} is altered ({len(octets)} octets, {letter.size} sent)")
        if not set(recipients) <= set(letter.recipients):
            self.fault(f"message {letter.number} for {recipients}, sent for {letter.recipients}")
        copy = Copy(life, head["id"].decode(), recipients, time.monotonic())
        self.copies.setdefault(letter.number, []).append(copy)
        return copy

    def missing(self) -> Iterator[tuple[Letter, str]]:
        """Acknowledged recipients whose mail the sink has not."""
        for letter in self.letters:
            if letter.queue_id:
                there = {each for copy in self.copies.get(letter.number, ()) for each in copy.recipients}
                yield from ((letter, each) for each in letter.recipients if each not in there)

    def waiting(self) -> int:
        """About how many acknowledged messages the sink has not."""
        return self.acknowledged - len(self.copies)


@define(eq=False)
class Marksman:
    """Kills the process `pid` when a transaction of the sink comes to the wanted phase; at most one does."""

    draw: random.Random
    pid: int = 0
    phase: str | None = None
    shot: float = 0.0
    counts: Counter[str] = field(factory=Counter)
    done: asyncio.Event = field(factory=asyncio.Event)

    def aim(self, phase: str, pid: int) -> None:
        """The next transaction in this phase shall shoot."""
        self.done.clear()
        self.phase, self.pid = phase, pid

    async def at(self, phase: str) -> None:
        """A transaction is in this phase now. After `answered` the bridge may be anywhere up to its next commit."""
        if self.phase != phase:
            return
        self.phase = None
        await asyncio.sleep(self.draw.choice((0.0, self.draw.random() * 0.01)))
        self.shot = time.monotonic()
        os.kill(self.pid, signal.SIGKILL)
        self.counts[phase] += 1
        self.done.set()


class Sink:
    """An SMTP server that takes everything and is slow at the dot now and then. `refuse` of all recipients get 450."""

    def __init__(self, ledger: Ledger, marksman: Marksman, slow: float, refuse: float) -> None:
        self._ledger, self._marksman = ledger, marksman
        self._slow, self._refuse = slow, refuse
        self._draw = random.Random(7)
        self._server: asyncio.Server | None = None
        self.port = 0

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, HOST, 0, limit=LINE_LIMIT, backlog=200)
        self.port = self._server.sockets[0].getsockname()[1]

    def close(self) -> None:
        """Listen no more."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._session(reader, writer, self._ledger.life)
        except (OSError, asyncio.IncompleteReadError):
            pass
        except asyncio.LimitOverrunError as error:
            self._ledger.fault(f"the sink got a line or a message beyond its limit: {error}")
        finally:
            writer.close()

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, life: int) -> None:
        await self._marksman.at("connected")
        writer.write(b"220 sink ESMTP\r\n")
        recipients: list[str] = []
        while line := await reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                writer.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0\r\n")
            elif verb == b"MAIL":
                recipients = []
                await self._marksman.at("MAIL")
                writer.write(b"250 2.1.0 OK\r\n")
            elif verb == b"RCPT":
                if self._draw.random() < self._refuse:
                    self._ledger.counts["recipients that the sink refused for now"] += 1
                    writer.write(b"450 4.2.1 come again\r\n")
                else:
                    recipients.append(line[line.index(b"<") + 1:line.index(b">")].decode())
                    writer.write(b"250 2.1.5 OK\r\n")
            elif verb == b"DATA":
                if not recipients:
                    writer.write(b"554 5.5.1 no recipients\r\n")
                    continue
                writer.write(b"354 go\r\n")
                await self._content(reader, writer, life, tuple(recipients))
            elif verb == b"QUIT":
                writer.write(b"221 bye\r\n")
                return
            else:
                writer.write(b"250 OK\r\n")

    async def _content(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, life: int,
                       recipients: tuple[str, ...]) -> None:
        octets = await reader.readexactly(1000)  # less than any message has
        await self._marksman.at("content")
        octets += await reader.readuntil(b"\r\n.\r\n")
        copy = self._ledger.arrived(life, recipients, octets[:-3].replace(b"\r\n..", b"\r\n."))
        await self._marksman.at("dot")
        draw = self._draw.random()
        if draw < self._slow:
            await asyncio.sleep(draw / self._slow * (1.0 if draw < self._slow / 20 else 0.05))
        if writer.is_closing() or reader.at_eof():
            return
        writer.write(b"250 2.0.0 OK\r\n")
        await writer.drain()
        if copy is not None:
            copy.replied = time.monotonic()
        await self._marksman.at("answered")


async def send(port: int, ledger: Ledger, messages: int) -> None:
    """One sender: session after session, each of up to 40 messages, until the ledger closes and all are sent."""
    while not (ledger.closing and ledger.acknowledged >= messages):
        try:
            await _session(port, ledger, messages)
        except ConnectionRefusedError:  # it is just being started
            await asyncio.sleep(0.02)
        except (OSError, Cut):
            ledger.counts["sessions of senders that were cut"] += 1


async def _session(port: int, ledger: Ledger, messages: int) -> None:
    reader, writer = await asyncio.open_connection(HOST, port)
    try:
        await _reply(reader, b"220")
        writer.write(b"EHLO relaykill\r\n")
        await _reply(reader, b"250")
        for _ in range(ledger.draw.randrange(1, 40)):
            while ledger.waiting() > MOST_WAITING:
                if reader.at_eof():
                    raise Cut
                await asyncio.sleep(0.01)
            if ledger.closing and ledger.acknowledged >= messages:
                break
            await _send_one(reader, writer, ledger)
        writer.write(b"QUIT\r\n")
        await _reply(reader, b"221")
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _send_one(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ledger: Ledger) -> None:
    letter, octets = ledger.letter()
    recipients = b"".join(b"RCPT TO:<%b>\r\n" % each.encode() for each in letter.recipients)
    writer.write(b"MAIL FROM:<a@src.invalid>\r\n" + recipients + b"DATA\r\n")
    for _ in range(1 + len(letter.recipients)):
        await _reply(reader, b"250")
    await _reply(reader, b"354")
    writer.write(octets.replace(b"\r\n.", b"\r\n..") + b".\r\n")
    letter.ended = True
    stored = _STORED.fullmatch(await _reply(reader, b"250"))
    if stored is None:
        ledger.fault(f"the 250 of message {letter.number} has no queue id")
        raise Cut
    ledger.stored(letter, stored[1].decode())


async def _reply(reader: asyncio.StreamReader, code: bytes) -> bytes:
    """The last line of a reply. Cut when there is none, or another."""
    line = b"   -"
    while line[3:4] == b"-":
        async with asyncio.timeout(SILENCE):
            line = await reader.readline()
    if not line.startswith(code):
        if line:
            raise ValueError(f"the bridge says {line!r}, wanted {code!r}")
        raise Cut
    return line
