"""msg.dat and msg.state: the one message that is being given to an SMTP server, and how far that has come.

msg.dat holds the octets as they were fetched; msg.state says whose they are, who has them and who has not, and their
digest, so that a damaged file is known for one. Both are written beside their place, synced and renamed; mode 0600.
The message stays at its POP server until all is done: what cannot be read here is fetched anew, never lost.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from attrs import asdict, frozen

from mailbridge.errors import StartError
from mailbridge.fetch.duds import InThread
from mailbridge.store.sync import sync_file, sync_folder

MESSAGE, STATE, LOCK = "msg.dat", "msg.state", "popfetch.lock"
CHUNK = 64 * 1024

SEND, CARETAKER, DUD, DONE = "send", "caretaker", "dud", "done"
"""The stages of a held message, in order."""


@frozen(kw_only=True)
class Held:
    """One message in the spool. `key` and `value` are what the ledger is told when it is done; `body` is where the body
    begins.

    `waiting` recipients have no answer yet, `done` have it, `refused` never will (address, reply). `wakes` counts the
    times that some were put off.
    """

    account: str
    key: str
    value: str
    size: int
    digest: str
    body: int
    eight_bit: bool
    sender: str
    stage: str = SEND
    reason: str = ""
    waiting: tuple[str, ...] = ()
    done: tuple[str, ...] = ()
    refused: tuple[tuple[str, str], ...] = ()
    wakes: int = 0

    @classmethod
    def parse(cls, octets: bytes) -> Held:
        """Raises ValueError for what is no state."""
        try:
            said = json.loads(octets)
            said["refused"] = tuple((str(address), str(reply)) for address, reply in said["refused"])
            held = cls(**{**said, "waiting": tuple(map(str, said["waiting"])), "done": tuple(map(str, said["done"]))})
            sound = all(isinstance(each, int) for each in (held.size, held.body, held.wakes)) and all(
                isinstance(each, str) for each in (held.account, held.key, held.value, held.digest, held.sender,
                                                   held.stage, held.reason))
        except (TypeError, KeyError, AttributeError, RecursionError) as error:
            raise ValueError(f"no state of a message: {error}") from None
        if not sound:
            raise ValueError("no state of a message")
        return held


class Spool:
    """The folder. `in_thread(function, *arguments)` works with the disk and returns a Deferred."""

    def __init__(self, folder: Path, in_thread: InThread) -> None:
        self.message = folder / MESSAGE
        self._folder = folder
        self._in_thread = in_thread
        self._lock: IO[bytes] | None = None

    def lock(self) -> None:
        """Take the folder for this process. Raises StartError."""
        path = self._folder / LOCK
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")  # noqa: SIM115
        except OSError as error:
            raise StartError(f"{self._folder}: cannot be used for fetched mail: {error.strerror}: make it a folder "
                             "that this user may write, or set work_path to another") from None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            raise StartError(f"{path}: another fetcher works in this folder: stop it, or set work_path to "
                             "another") from None
        self._lock = lock

    def release(self) -> None:
        """Give the folder back."""
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.close()

    def begin(self) -> SpoolWriter:
        """A message is coming. Raises OSError."""
        return SpoolWriter(self._folder / (MESSAGE + ".tmp"), self)

    def open(self) -> IO[bytes]:
        """msg.dat, to be read. Raises OSError."""
        return open(self.message, "rb")

    async def keep(self, temporary: Path, held: Held) -> None:
        """The message in `temporary` is the one that is worked on. Raises OSError."""
        await self._in_thread(self._keep, temporary, held)

    def _keep(self, temporary: Path, held: Held) -> None:
        os.replace(temporary, self.message)
        self._write(held)

    async def note(self, held: Held) -> None:
        """Things have come further. Raises OSError."""
        await self._in_thread(self._write, held)

    def _write(self, held: Held) -> None:
        path = self._folder / (STATE + ".tmp")
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(json.dumps(asdict(held)).encode())
            file.flush()
            sync_file(file.fileno())
        os.replace(path, self._folder / STATE)
        sync_folder(self._folder)

    async def load(self) -> tuple[Held | None, bool]:
        """(what was left behind, whether msg.dat is whole). None when there is nothing, or nothing that can be read."""
        found: tuple[Held | None, bool] = await self._in_thread(self._load)
        return found

    def _load(self) -> tuple[Held | None, bool]:
        try:
            held = Held.parse((self._folder / STATE).read_bytes())
        except (OSError, ValueError):
            return None, False
        digest = hashlib.sha256()
        size = 0
        try:
            with open(self.message, "rb") as file:
                while octets := file.read(CHUNK):
                    digest.update(octets)
                    size += len(octets)
        except OSError:
            return held, False
        return held, size == held.size and digest.hexdigest() == held.digest

    async def clear(self) -> None:
        """The message is done with. Raises OSError."""
        await self._in_thread(self._clear)

    def _clear(self) -> None:
        for name in (MESSAGE, STATE):
            (self._folder / name).unlink(missing_ok=True)
        sync_folder(self._folder)


class SpoolWriter:
    """The octets of one message on their way to msg.dat."""

    def __init__(self, path: Path, spool: Spool) -> None:
        self._path = path
        self._spool = spool
        self._file: IO[bytes] | None = open(  # noqa: SIM115
            os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w+b")
        self._digest = hashlib.sha256()
        self.size = 0
        self.eight_bit = False

    @property
    def digest(self) -> str:
        """SHA-256 of what was written, in hexadecimal digits."""
        return self._digest.hexdigest()

    def write(self, octets: bytes) -> None:
        """Add octets. Raises OSError."""
        assert self._file is not None
        self._file.write(octets)
        self._digest.update(octets)
        self.size += len(octets)
        self.eight_bit = self.eight_bit or not octets.isascii()

    async def keep(self, held: Held) -> None:
        """Make it msg.dat, with its state. Raises OSError."""
        assert self._file is not None
        await self._spool._in_thread(_sync, self._file)
        self._file.close()
        await self._spool.keep(self._path, held)
        self._file = None

    def abort(self) -> None:
        """Forget it; allowed at any time."""
        file, self._file = self._file, None
        if file is not None:
            self._path.unlink(missing_ok=True)
            with suppress(OSError):  # what was buffered no longer matters
                file.close()


def _sync(file: IO[bytes]) -> None:
    file.flush()
    sync_file(file.fileno())


@frozen
class SpooledMessage:
    """What is sent of a message in a file: `before`, the file from `start` on, `after`. `size` is of all three."""

    path: Path
    start: int
    size: int
    before: bytes = b""
    after: bytes = b""

    @classmethod
    def of(cls, path: Path, octets: int, start: int = 0, before: bytes = b"", after: bytes = b"") -> SpooledMessage:
        """`octets` is the size of the file."""
        return cls(path, start, octets - start + len(before) + len(after), before, after)

    def chunks(self) -> Iterator[bytes]:
        """From the start, in pieces of 64 KiB."""
        if self.before:
            yield self.before
        with open(self.path, "rb") as file:
            file.seek(self.start)
            while octets := file.read(CHUNK):
                yield octets
        if self.after:
            yield self.after
