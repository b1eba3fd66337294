"""The third part of a notice: the message it is about, whole or only its header (RFC 6522 3 and 4, RFC 6533 4)."""

from __future__ import annotations

import re
from binascii import b2a_qp

from attrs import frozen

from mailbridge.header import end_of_header

# No mail line is longer than 998 octets (RFC 5322 2.1.1), and none has a NUL (RFC 2045 2.8).
_NO_MAIL_LINES = re.compile(rb"[^\n]{1000}|\0")


@frozen
class Part:
    """One body part: its media type with parameters, its Content-Transfer-Encoding, its octets."""

    media_type: str
    encoding: str
    octets: bytes

    @property
    def eight_bit(self) -> bool:
        """Whether it needs a way that takes octets above 127."""
        return self.encoding == "8bit"


def whole_message(octets: bytes, utf8: bool) -> Part | None:
    """The message as it is, `utf8` when it was declared so (RFC 6531); None when its lines are no lines of mail."""
    if _NO_MAIL_LINES.search(octets):
        return None
    if octets.isascii():
        return Part("message/rfc822", "7bit", octets)
    return Part("message/global" if utf8 else "message/rfc822", "8bit", octets)


def header_alone(octets: bytes, utf8: bool, longest: int) -> Part:
    """The header of the message, cut at the end of a line when it is longer than `longest` octets."""
    end = end_of_header(octets)
    header = octets if end < 0 else octets[:end]
    if len(header) > longest or not header.endswith(b"\r\n"):
        header = header[:header.rfind(b"\r\n", 0, longest) + 2] if b"\r\n" in header[:longest] else b""
    if header.isascii() and not _NO_MAIL_LINES.search(header):
        return Part("text/rfc822-headers", "7bit", header)
    if utf8 and not _NO_MAIL_LINES.search(header):
        return Part("message/global-headers", "8bit", header)
    return Part("text/rfc822-headers", "quoted-printable", b2a_qp(header, istext=True))
