"""The third part of a notice: the message it is about, whole or only its header (RFC 6522 3 and 4, RFC 6533 4)."""

from __future__ import annotations

from binascii import b2a_qp

from attrs import frozen

from mailbridge.message.header import end_of_header

_LONGEST_HEADER = 32 * 1024
_LONGEST_LINE = 998  # octets without CR LF, RFC 5322 2.1.1


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
    if not _lines_of_mail(octets):
        return None
    if octets.isascii():
        return Part("message/rfc822", "7bit", octets)
    return Part("message/global" if utf8 else "message/rfc822", "8bit", octets)


def header_alone(octets: bytes, utf8: bool) -> Part:
    """The header of the message, cut at the end of a line when it is longer than 32 KiB."""
    end = end_of_header(octets)
    header = octets[:_LONGEST_HEADER] if end < 0 else octets[:min(end, _LONGEST_HEADER)]
    if not header.endswith(b"\r\n"):
        header = header[:header.rfind(b"\r\n") + 2] if b"\r\n" in header else b""
    plain = _lines_of_mail(header)
    if plain and header.isascii():
        return Part("text/rfc822-headers", "7bit", header)
    if plain and utf8:
        return Part("message/global-headers", "8bit", header)
    return Part("text/rfc822-headers", "quoted-printable", b2a_qp(header, istext=True))


def _lines_of_mail(octets: bytes) -> bool:
    """Whether no line is too long and none has a NUL: 7bit and 8bit promise that (RFC 2045 2.7, 2.8)."""
    return b"\0" not in octets and max(map(len, octets.split(b"\n"))) <= _LONGEST_LINE + 1
