"""Eight bits to seven: a message for a server without 8BITMIME, its text parts as quoted-printable, others as base64.

Two passes over the octets, in chunks: `survey` finds the parts that need it, `recoded` writes the message anew. What is
decoded is octet for octet what was there. Never held: more than one header, or one unfinished line. Never touched:

* what is signed (multipart/signed and all below it), for a signature that breaks is worth less than a bounce;
* headers, parts that are encoded already, and message/partial: 8-bit octets in these make it `CannotRecode` too.

A DKIM signature does not stop it: RFC 6376 5.3 tells signers to be prepared, a broken one counts as none (6.1), and the
bounce would be the surer loss. The preamble and epilogue of a multipart, which nobody shows, get `?` for such octets.
"""

from __future__ import annotations

import re
from base64 import b64encode
from binascii import b2a_qp
from collections.abc import Generator, Iterable, Iterator

from mailbridge.errors import MailbridgeError
from mailbridge.message.header import fields
from mailbridge.message.parts import Kind, Part, TooIntricate, What, walk

_LONGEST_LINE = 4096  # of quoted-printable input that is encoded as one line
_PIECE = 25  # octets that fit a line of 76 even when each is written as three
_BASE64_LINE = 57

_HIGH = re.compile(rb"[\x80-\xff]")
_LEADING_DASHES = re.compile(rb"(?m)^-{2,}")
_QP, _BASE64 = b"quoted-printable", b"base64"


class CannotRecode(MailbridgeError):
    """The message has 8-bit octets where no encoding may be put, or is too intricate (RFC 3463 5.6.3)."""


Plan = list[Part]
"""What a survey has found: every part in order."""


def survey(chunks: Iterable[bytes]) -> Generator[None, None, Plan]:
    """Read the message once and plan. Yields after each chunk, so that the caller can let others work.

    Raises CannotRecode.
    """
    plan: Plan = []
    try:
        for what, number, octets in walk(chunks, plan):
            if what is What.PAUSE:
                yield
            elif not octets.isascii():
                if what is not What.BODY:
                    raise CannotRecode("8-bit octets in a header or a boundary")
                if plan[number].locked:
                    raise CannotRecode(f"8-bit octets in {plan[number].locked}")
                plan[number].eight = True
    except TooIntricate as error:
        raise CannotRecode(str(error)) from None
    return plan


def recoded(chunks: Iterable[bytes], plan: Plan) -> Iterator[bytes]:
    """The same message with 7-bit octets only; `chunks` must be the octets that were surveyed."""
    body: _Body | None = None
    for what, number, octets in walk(chunks, []):
        if what is What.PAUSE:
            continue
        part = plan[number]
        if what is What.BODY and (encoding := _new_encoding(part)):
            if body is None:
                body = _Body(encoding == _BASE64)
            octets = body.feed(octets)
        elif body is not None:
            ending, body = body.finish(), None
            yield ending
        if what is What.HEAD:
            octets = _new_head(octets, part, number == 0)
        elif what is What.BODY and part.eight and part.kind is Kind.MULTIPART:
            octets = _HIGH.sub(b"?", octets)
        if octets:
            yield octets
    if body is not None:
        yield body.finish()
        if body.is_base64:
            yield b"\r\n"


def _new_encoding(part: Part) -> bytes:
    """What a body is encoded with on the way out; empty for as it is."""
    if not part.eight or part.kind is not Kind.LEAF:
        return b""
    return _QP if part.text else _BASE64


def _new_head(head: bytes, part: Part, top: bool) -> bytes:
    """The header with the encoding that its body has now."""
    encoding = _new_encoding(part)
    if not encoding and (part.locked or part.encoding not in (b"8bit", b"binary")):
        return head
    kept, ending = [], b""
    names = set()
    for name, octets in fields(head):
        if octets == b"\r\n":
            ending = octets
            continue
        names.add(name)
        if name != b"content-transfer-encoding":
            kept.append(octets if octets.endswith(b"\r\n") else octets + b"\r\n")
    if encoding and top:
        if b"mime-version" not in names:
            kept.append(b"MIME-Version: 1.0\r\n")
        if b"content-type" not in names:
            kept.append(b"Content-Type: text/plain; charset=unknown-8bit\r\n")
    kept.append(b"Content-Transfer-Encoding: %s\r\n" % (encoding or b"7bit"))
    return b"".join(kept) + ending


# --- bodies -----------------------------------------------------------------------------------------------------------


class _Body:
    """Encodes one body, piece by piece, without the CR LF at its end: that belongs to the boundary."""

    def __init__(self, is_base64: bool) -> None:
        self.is_base64 = is_base64
        self._held = b""
        self._started = False

    def feed(self, octets: bytes) -> bytes:
        """What can be written of it now."""
        data = self._held + octets
        return self._base64(data, False) if self.is_base64 else self._printable(data)

    def finish(self) -> bytes:
        """The rest."""
        if self.is_base64:
            return self._base64(self._held, True)
        return _quote(self._held + b"\r\n")[:-2] if self._held else b""

    def _base64(self, data: bytes, last: bool) -> bytes:
        whole = len(data) if last else len(data) - len(data) % _BASE64_LINE
        self._held = data[whole:]
        lines = [b64encode(data[at:min(at + _BASE64_LINE, whole)]) for at in range(0, whole, _BASE64_LINE)]
        if not lines:
            return b""
        start, self._started = (b"\r\n" if self._started else b""), True
        return start + b"\r\n".join(lines)

    def _printable(self, data: bytes) -> bytes:
        whole = data.rfind(b"\r\n") + 2 if b"\r\n" in data else 0
        out = [_quote(data[:whole])] if whole else []
        rest = data[whole:]
        if len(rest) > _LONGEST_LINE:
            # A line without end: soft breaks after pieces that fit a line whatever they hold.
            cut = len(rest) - len(rest) % _PIECE - _PIECE
            out += [_quote(rest[at:at + _PIECE] + b"\r\n")[:-2] + b"=\r\n" for at in range(0, cut, _PIECE)]
            rest = rest[cut:]
        self._held = rest
        return b"".join(out)


def _quote(lines: bytes) -> bytes:
    """Quoted-printable of whole lines. No soft break may make a line that begins like a boundary."""
    out = b2a_qp(lines, istext=True)
    return _LEADING_DASHES.sub(_quoted_dashes, out) if b"--" in out else out


def _quoted_dashes(match: re.Match[bytes]) -> bytes:
    count = len(match.group())
    return b"".join(b"=2D" * min(_PIECE - 1, count - at) + b"=\r\n" for at in range(0, count, _PIECE - 1))
