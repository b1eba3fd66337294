"""The first line of a POP3 server's answers, read from octets it may have chosen to hurt us (RFC 1939 3, RFC 2449 8).

What is kept of the text is printable and short, and what was said in secret is not repeated when the server repeats it.
"""

from __future__ import annotations

import re
from base64 import b64decode

from attrs import field, frozen

from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.sasl.mask import Mask, printable

LONGEST_LINE = 8192
"""Octets of a first line. RFC 2449 4 has 512; challenges of SASL mechanisms may be longer."""
MOST_SHOWN = 500
"""Characters of an answer that are kept."""

_STATUS = re.compile(rb"(\+OK|-ERR)(?:[ \t](.*))?", re.DOTALL | re.IGNORECASE)
_CHALLENGE = re.compile(rb"\+(?: (.*))?", re.DOTALL)
_CODE = re.compile(r"\[([A-Za-z0-9._/-]{1,64})\]")
_STAMP = re.compile(rb"<[!-;=?A-~]{1,100}@[!-;=?A-~]{1,100}>")


@frozen
class Answer:
    """`+OK` or `-ERR`, its text to show, and its response code in capitals (RFC 2449 8), empty if there is none.

    `octets` is the text as it came, to read numbers from: a password of digits is hidden wherever it stands in `text`.
    """

    positive: bool
    text: str = ""
    code: str = ""
    octets: bytes = field(default=b"", eq=False, repr=False)

    def __str__(self) -> str:
        return f"{'+OK' if self.positive else '-ERR'} {self.text}".rstrip()


@frozen
class Challenge:
    """`+` and the octets that a SASL mechanism is to answer (RFC 5034 4)."""

    octets: bytes = field(repr=False)

    def __str__(self) -> str:
        return "+ (a challenge)"  # it may repeat what was said in secret


def read_answer(line: bytes, mask: Mask, challenge: bool) -> Answer | Challenge:
    """The answer in a line without its line end. Raises UpstreamError for what is none; with `challenge` that may come
    too."""
    status = _STATUS.fullmatch(line)
    if status is not None:
        octets = (status[2] or b"").strip()
        text = printable(mask.masked(octets))[:MOST_SHOWN]
        code = _CODE.match(text)
        return Answer(status[1][:1] == b"+", text, code[1].upper() if code else "", octets)
    match = _CHALLENGE.fullmatch(line) if challenge else None
    if match is not None:
        try:
            return Challenge(b64decode(match[1] or b"", validate=True))
        except ValueError:
            return Challenge(b"")  # some servers have words there; no mechanism makes sense of them
    shown = printable(mask.masked(line))[:60]
    raise UpstreamError(Kind.PROTOCOL, f"the server sent {shown!r}, which is no POP3 answer")


def time_stamp(greeting: Answer) -> bytes | None:
    """The time stamp for APOP, only in the form of a message id: others bait the password out (CVE-2007-1558)."""
    match = _STAMP.search(greeting.octets)
    return match[0] if match is not None else None
