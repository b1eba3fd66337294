"""A program that gets jobs: the job on its standard input, its exit code is the verdict (sysexits.h).

==============  ====================================================================================================
exit code       what becomes of the job
==============  ====================================================================================================
0               delivered
65 66 70        cannot be used: comes back to the sender (5.6.0, 5.6.0, 5.3.0)
67 68           no such recipient (5.1.1, 5.1.2)
69 76           the service is not there, the other side does not speak right (5.3.0, 5.5.0)
77              the sender may not do that (5.7.1)
64 78 126 127   called wrongly, configured wrongly, cannot be run, not there: our fault, the route pauses
anything else   again later: 71 to 75, codes without a meaning, ends by a signal, out of time
==============  ====================================================================================================

The program runs in a process group of its own, in `/`, without a shell and with hardly any environment. When its time
is over the whole group is killed. What it prints, both outputs together, is kept up to 500 characters.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence

from attrs import frozen

from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.reply import Reply

KEPT = 500
"""Characters of what a program prints."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_BLOCK = 65536
_END = 0.2  # seconds that outputs may stay open after the end of the program

_PERMANENT = {
    65: ("5.6.0", "the data cannot be used"), 66: ("5.6.0", "an input is missing"), 67: ("5.1.1", "no such recipient"),
    68: ("5.1.2", "no such host"), 69: ("5.3.0", "the service is not available"), 70: ("5.3.0", "an internal error"),
    76: ("5.5.0", "the other side breaks the protocol"), 77: ("5.7.1", "not permitted"),
}
_OUR_FAULT = {
    64: "was called wrongly", 78: "is configured wrongly", 126: "cannot be executed", 127: "was not found",
}


@frozen
class Ran:
    """How a program ended: its exit code, negative for a signal, None when it was killed as its time was over.

    `started` False: it could not be run, for the reason in `output`.
    """

    code: int | None
    output: str = ""
    started: bool = True


def verdict(ran: Ran, program: str) -> Outcome:
    """The outcome by the table above."""
    said = f": {ran.output}" if ran.output else ""
    if not ran.started:
        return RouteFailure(f"{program} cannot be run{said}")
    if ran.code == 0:
        return Delivered(ran.output)
    if ran.code in _OUR_FAULT:
        return RouteFailure(f"{program} {_OUR_FAULT[ran.code]} (exit code {ran.code}){said}")
    if ran.code in _PERMANENT:
        enhanced, words = _PERMANENT[ran.code]
        return PermanentFailure(Reply(550, enhanced, f"{words}{said}"), f"{program}: exit code {ran.code}")
    if ran.code is None:
        return TransientFailure(Reply(451, "4.4.7", "the program took too long"), program + said)
    how = f"ended by signal {-ran.code}" if ran.code < 0 else f"exit code {ran.code}"
    return TransientFailure(Reply(451, "4.3.0", f"the program failed for now: {how}{said}"), program)


class JobCommand:
    """Runs `command`. `run` blocks, may be called in several threads at once; `kill_all` ends all that run."""

    def __init__(self, command: Sequence[str], timeout: float) -> None:
        self._command = tuple(command)
        self._timeout = timeout
        self._running: set[int] = set()

    def run(self, octets: bytes, application: str, number: int) -> Ran:
        """Run it once with `octets` on its standard input."""
        environment = {
            "PATH": PATH, "LANG": "C.UTF-8", "MAILBRIDGE_APPLICATION": application, "MAILBRIDGE_JOB": str(number),
        }
        try:
            process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd="/",
                env=environment, start_new_session=True, bufsize=0,
            )
        except (OSError, ValueError) as error:
            words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            return Ran(None, words, started=False)
        self._running.add(process.pid)
        try:
            output, over = self._converse(process, octets)
            return Ran(None if over else process.wait(), _plain(output))
        finally:
            self._running.discard(process.pid)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None and not pipe.closed:
                    pipe.close()

    def kill_all(self) -> None:
        """End every program that runs."""
        for pid in tuple(self._running):
            _kill_group(pid)

    def _converse(self, process: subprocess.Popen[bytes], octets: bytes) -> tuple[bytes, bool]:
        """Feed it and read it until it ends; what it printed, and whether its time was over."""
        assert process.stdin is not None and process.stdout is not None
        feeding, reading = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(feeding, False)
        os.set_blocking(reading, False)
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        poll.register(feeding, select.POLLOUT)
        rest, output = memoryview(octets), b""
        end = time.monotonic() + self._timeout
        ended: float | None = None
        open_ = True
        while open_ and time.monotonic() < end:
            if ended is None and process.poll() is not None:
                ended = time.monotonic()
            if ended is not None and time.monotonic() - ended > _END:
                break  # what it left running in the background holds the output open
            for descriptor, _ in poll.poll(50):
                if descriptor == reading:
                    read = _read(reading)
                    if read == b"":
                        poll.unregister(reading)
                        open_ = False
                    output = (output + (read or b""))[:4 * KEPT]
                elif not (rest := _feed(feeding, rest)):
                    poll.unregister(feeding)
                    process.stdin.close()
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        over = process.poll() is None
        if over:
            _kill_group(process.pid)
            process.wait()
        return output, over


def _read(descriptor: int) -> bytes | None:
    try:
        return os.read(descriptor, _BLOCK)
    except BlockingIOError:
        return None


def _feed(descriptor: int, rest: memoryview) -> memoryview:
    """What is still to be written; nothing once the program has closed its input."""
    try:
        return rest[os.write(descriptor, rest[:_BLOCK]):]
    except BlockingIOError:
        return rest
    except BrokenPipeError:
        return rest[:0]


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _plain(octets: bytes) -> str:
    """One line of printable text."""
    text = " ".join(octets.decode("utf-8", "replace").split())
    return "".join(character if character.isprintable() else "?" for character in text)[:KEPT]
