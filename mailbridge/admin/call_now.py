"""Asking a running bridge without a reactor: for commands that wait for it to come up or to go."""

from __future__ import annotations

import errno
import socket
from pathlib import Path
from typing import Any

from mailbridge.admin.call import LONGEST_ANSWER, NotAllowed, NotRunning
from mailbridge.admin.messages import Kind, OperationError, Request, decode_answer, encode_request

PATIENCE = 10.0


def call_now(path: Path, command: str, patience: float = PATIENCE) -> Any:
    """The result of a command without arguments from the bridge that listens at `path`; blocks at most `patience`
    seconds for each octet.

    Raises OperationError, NotRunning, NotAllowed.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
        line.settimeout(patience)
        try:
            line.connect(str(path))
            line.sendall(encode_request(Request(1, command, {})) + b"\n")
            octets = line.makefile("rb").readline(LONGEST_ANSWER)
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise NotAllowed(f"{path}: this user may not command the running bridge: use the user it runs as, or "
                                 "root") from None
            if isinstance(error, TimeoutError):
                raise OperationError(Kind.FAILED, f"mailbridge did not answer within {patience:g} seconds") from None
            raise NotRunning(f"{path}: nobody listens") from None
    if not octets.endswith(b"\n"):
        raise NotRunning(f"{path}: it ended before it answered")
    answer = decode_answer(octets.rstrip(b"\n"))
    if answer.error is not None:
        raise answer.error
    return answer.result
