"""What a worker process runs: frames in on its standard input, frames out on its standard output.

A frame to the worker is two lengths, a pickled request and the content of its message; one from it a length and JSON.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pickle
import select
import signal
import struct
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from attrs import evolve

from mailbridge.target.jobwork import Answer, Assignment, Prepare, Run
from mailbridge.target.jobworker import JobWorker, Numbered

HEAD = struct.Struct("!IQ")
BACK = struct.Struct("!I")
_PIPE = 1 << 20
_AT_ONCE = 256
_OCTETS_AT_ONCE = 8 << 20
_SET_PDEATHSIG = 1


def frame(value: object, length: int = 0) -> bytes:
    """What to write for a value, before the `length` octets of its content, which are not pickled."""
    octets = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return HEAD.pack(len(octets), length) + octets


class Inbox:
    """Reads frames from a descriptor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLIN)

    def first(self) -> Any:
        """The value of the first frame. Raises EOFError."""
        while (found := self._next()) is None:
            self._read()
        return found[0]

    def take(self) -> list[Numbered]:
        """All requests that wait, at least one, up to a batch. Raises EOFError."""
        taken: list[Numbered] = []
        octets = 0
        while len(taken) < _AT_ONCE and octets < _OCTETS_AT_ONCE:
            found = self._next()
            if found is None:
                if taken and not self._poll.poll(0):
                    break
                self._read()
                continue
            (id, request), content = found
            if isinstance(request, Prepare | Run):
                request = evolve(request, mail=evolve(request.mail, content=content))
            taken.append((id, request))
            octets += len(content)
        return taken

    def _read(self) -> None:
        octets = os.read(self._descriptor, _PIPE)
        if not octets:
            raise EOFError
        self._buffer += octets

    def _next(self) -> tuple[Any, bytes] | None:
        buffer = self._buffer
        if len(buffer) < HEAD.size:
            return None
        length, content = HEAD.unpack_from(buffer)
        end = HEAD.size + length + content
        if len(buffer) < end:
            return None
        with memoryview(buffer) as view:
            value = pickle.loads(view[HEAD.size:HEAD.size + length])
            octets = bytes(view[HEAD.size + length:end])
        del buffer[:end]
        return value, octets


class Outbox:
    """Writes answers to a descriptor, from several threads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def send(self, answers: Sequence[tuple[int, Answer]]) -> None:
        """Write one frame."""
        octets = json.dumps([(id, answer.kind.value, answer.body) for id, answer in answers]).encode()
        rest = BACK.pack(len(octets)) + octets
        with self._lock:
            while rest:
                rest = rest[os.write(self._descriptor, rest):]


def main(parent: int) -> None:
    """Work until the standard input ends. `parent` is the process id of the bridge."""
    outbox = Outbox(os.dup(1))
    os.dup2(2, 1)  # nothing else may write where answers go
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):  # a smaller pipe only means more switches between the processes
            fcntl.fcntl(0, fcntl.F_SETPIPE_SZ, _PIPE)
    worker: JobWorker | None = None

    def parent_died(number: int, stack: object) -> None:
        if worker is not None:
            worker.stop()
        os._exit(0)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # for the bridge, which then ends our input
        signal.signal(number, lambda number, stack: None)  # programs that are run do not inherit a handler
    signal.signal(signal.SIGUSR1, parent_died)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(_SET_PDEATHSIG, int(signal.SIGUSR1), 0, 0, 0)
    if os.getppid() != parent:
        return
    inbox = Inbox(0)
    try:
        assignment = inbox.first()
        assert isinstance(assignment, Assignment)
        if assignment.nice:
            os.nice(assignment.nice)
        worker = JobWorker(assignment, outbox.send)
        while True:
            worker.work(inbox.take())
    except (EOFError, BrokenPipeError):
        if worker is not None:
            worker.stop()
        os._exit(0)
