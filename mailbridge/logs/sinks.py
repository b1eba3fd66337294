"""Where lines of a log go besides files: the console and syslog. Neither can hurt the mail."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from time import localtime, strftime
from typing import Protocol, TextIO

from mailbridge.logs.line import stamp

SYSLOG_SOCKETS = ("/dev/log", "/var/run/syslog", "/var/run/log")
LONGEST_DATAGRAM = 1900  # RFC 3164 has 1,024, the daemons of today take 2,048 and more
_LOG_MAIL = 2 << 3
_SEVERITY = {"E": 3, "W": 4, "I": 6, "T": 7}


class Sink(Protocol):
    """Takes lines: the time in seconds since 1970, the letter of the level, the text without control characters."""

    def write(self, seconds: float, letter: str, text: str) -> None:
        """One line. Raises nothing."""


class Console:
    """A text stream of this process."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, seconds: float, letter: str, text: str) -> None:
        """One line, at once."""
        try:
            self._stream.write(f"{stamp(seconds)} {letter} {text}\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass  # nobody reads it any more, or its character set is too small


class Syslog:
    """The system's log, facility `mail`. `send(datagram)` takes one line in the form of RFC 3164."""

    def __init__(self, send: Callable[[bytes], object], pid: int | None = None) -> None:
        self._send = send
        self._tag = f"mailbridge[{os.getpid() if pid is None else pid}]"

    def write(self, seconds: float, letter: str, text: str) -> None:
        """One line; what is too long for a datagram is cut."""
        date = strftime("%b %e %H:%M:%S", localtime(seconds))
        octets = f"<{_LOG_MAIL + _SEVERITY[letter]}>{date} {self._tag}: {text}".encode()
        if len(octets) > LONGEST_DATAGRAM:
            octets = octets[:LONGEST_DATAGRAM].decode("utf-8", "ignore").encode() + b"..."
        self._send(octets)


class LocalSyslog:
    """A sender to the syslog daemon of this host. While there is none, or it is slow, lines are lost: mail is not."""

    def __init__(self, paths: tuple[str, ...] = SYSLOG_SOCKETS) -> None:
        self._paths = paths
        self._socket: socket.socket | None = None

    def __call__(self, datagram: bytes) -> None:
        """Send one datagram without waiting; a daemon that was started anew is found at the second attempt."""
        for _ in range(2):
            try:
                if self._socket is None:
                    self._socket = self._connect()
                self._socket.send(datagram)
            except BlockingIOError:
                return
            except OSError:
                self.close()
            else:
                return

    def _connect(self) -> socket.socket:
        path = next((path for path in self._paths if os.path.exists(path)), self._paths[0])
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        connection.setblocking(False)
        try:
            connection.connect(path)
        except OSError:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Give the socket back."""
        connection, self._socket = self._socket, None
        if connection is not None:
            connection.close()
