"""The grammar of SMTP commands, on octets (RFC 5321 4.1.1, 1870, 3030, 3461, 4954 5, 6152, 6531).

Liberal where devices are sloppy (a space after the colon, bare addresses), strict where a mistake could become a
command or a number: digits are ASCII digits, nothing else. Every failure is a `CommandError` that carries its Reply.
"""

from __future__ import annotations

import re
from functools import lru_cache

from mailbridge import reply
from mailbridge.address import Address, parse_mailbox, parse_path
from mailbridge.envelope import NO_PARAMETERS, MailParameters
from mailbridge.errors import AddressError, MailbridgeError
from mailbridge.reply import Reply
from mailbridge.store.changes import NO_WISHES, Wishes

_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~\x80-\xff]+))?")
_SIZE = re.compile(rb"[0-9]{1,20}")
_CHUNK = re.compile(rb"([0-9]{1,15})(?: +(LAST))?", re.IGNORECASE)
_XTEXT = re.compile(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")
_XTEXT_UTF8 = re.compile(rb"(?:[!-*,-<>-~\x80-\xff]|\+[0-9A-F]{2})*")
_XTEXT_CHARACTER = re.compile(rb"\+([0-9A-F]{2})")
_ADDRESS_TYPE = re.compile(rb"[A-Za-z0-9][A-Za-z0-9-]{0,63}")
_NOTIFY = (b"SUCCESS", b"FAILURE", b"DELAY")
_LONGEST_ENVID = 100  # characters, RFC 3461 4.4
_LONGEST_ORCPT = 500  # RFC 3461 4.2
_HELO = re.compile(r"[^\x00-\x1f\x7f]{1,255}")


class CommandError(MailbridgeError):
    """A command that cannot be obeyed as written; `reply` is the answer to it."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(str(reply))
        self.reply = reply


def _path(argument: bytes, keyword: bytes) -> tuple[Address, bytes]:
    if argument[: len(keyword)].upper() != keyword:
        raise CommandError(Reply(501, "5.5.4", f"Say {keyword.decode()}<address>"))
    try:
        return parse_path(argument[len(keyword):])
    except AddressError as error:
        raise CommandError(Reply(501, "5.1.3", f"Bad address: {error}")) from None


@lru_cache(maxsize=2048)
def parse_mail(argument: bytes) -> tuple[Address, MailParameters]:
    """(sender, parameters) of `FROM:<...> SIZE=...`; cached, as clients repeat themselves. Raises CommandError."""
    sender, rest = _path(argument, b"FROM:")
    if not rest:
        return sender, NO_PARAMETERS
    size, body_8bit, utf8, ret, envid = None, False, False, None, None
    for name, value in _parameters(rest):
        if name == b"SIZE":
            if value is None or not _SIZE.fullmatch(value):
                raise CommandError(reply.SYNTAX)
            size = int(value)
        elif name == b"BODY":
            if value is None or value.upper() not in (b"7BIT", b"8BITMIME"):
                raise CommandError(Reply(501, "5.5.4", "BODY is 7BIT or 8BITMIME here"))
            body_8bit = value.upper() == b"8BITMIME"
        elif name == b"SMTPUTF8" and value is None:
            utf8 = True
        elif name == b"AUTH":  # checked for syntax, not believed: who sends is known from the login alone
            if value is None or not _XTEXT.fullmatch(value):
                raise CommandError(reply.SYNTAX)
        elif name == b"RET":
            if value is None or value.upper() not in (b"FULL", b"HDRS"):
                raise CommandError(reply.BAD_RET)
            ret = value.upper().decode("ascii")
        elif name == b"ENVID":
            envid = _printable(value)
            if envid is None or not envid.isascii() or len(envid) > _LONGEST_ENVID:
                raise CommandError(reply.BAD_ENVID)
        else:
            raise CommandError(reply.UNKNOWN_PARAMETER)
    return sender, MailParameters(size, body_8bit, utf8, ret, envid)


@lru_cache(maxsize=2048)
def parse_rcpt(argument: bytes) -> tuple[Address, Wishes]:
    """(recipient, what its sender wants to hear) of `TO:<...> NOTIFY=...`. Raises CommandError."""
    recipient, rest = _path(argument, b"TO:")
    if recipient.is_null:
        raise CommandError(reply.BAD_ADDRESS)
    return recipient, _wishes(rest) if rest else NO_WISHES


def _wishes(rest: bytes) -> Wishes:
    """NOTIFY and ORCPT (RFC 3461 4.1, 4.2)."""
    notify: tuple[str, ...] = ()
    original = None
    for name, value in _parameters(rest):
        if name == b"NOTIFY":
            words = (value or b"").upper().split(b",")
            if words != [b"NEVER"] and (len(set(words)) < len(words) or not set(words) <= set(_NOTIFY)):
                raise CommandError(reply.BAD_NOTIFY)
            notify = tuple(word.decode("ascii") for word in words)
        elif name == b"ORCPT":
            kind, _, encoded = (value or b"").partition(b";")
            address = _printable(encoded)
            if not _ADDRESS_TYPE.fullmatch(kind) or not address or len(kind) + 1 + len(address) > _LONGEST_ORCPT:
                raise CommandError(reply.BAD_ORCPT)
            original = f"{kind.decode('ascii')};{address}"
        else:
            raise CommandError(reply.UNKNOWN_PARAMETER)
    return Wishes(notify, original)


def _printable(value: bytes | None) -> str | None:
    """The text that an xtext stands for (RFC 3461 4; raw UTF-8 as in RFC 6533 3), None when it is none.

    All of it is printable: no line end comes out of an encoded character (Exim's CVE-2020-28021 and -28026).
    """
    if value is None or not _XTEXT_UTF8.fullmatch(value):
        return None
    decoded = _XTEXT_CHARACTER.sub(lambda match: bytes([int(match[1], 16)]), value)
    try:
        text = decoded.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return text if text.isprintable() else None


def _parameters(rest: bytes) -> list[tuple[bytes, bytes | None]]:
    found: list[tuple[bytes, bytes | None]] = []
    for word in rest.split():
        match = _PARAMETER.fullmatch(word)
        if not match:
            raise CommandError(reply.SYNTAX)
        name = match.group(1).upper()
        if any(name == earlier for earlier, _ in found):
            raise CommandError(Reply(501, "5.5.4", f"{name.decode()} is given twice"))
        found.append((name, match.group(2)))
    return found


def parse_bdat(argument: bytes) -> tuple[int, bool]:
    """(octets in the chunk, whether it is the last) of BDAT (RFC 3030 2). Raises CommandError."""
    match = _CHUNK.fullmatch(argument.strip(b" "))
    if not match:
        raise CommandError(reply.SYNTAX)
    return int(match.group(1)), match.group(2) is not None


def parse_etrn(argument: bytes) -> str:
    """The domain of ETRN (RFC 1985 5.2), `@` for it and its subdomains taken as the domain. Raises CommandError."""
    try:
        return parse_mailbox(b"x@" + argument.strip(b" ").removeprefix(b"@")).domain
    except AddressError:
        raise CommandError(reply.SYNTAX) from None


def parse_helo(argument: bytes) -> str:
    """The client's name, whatever it calls itself, without control characters. Raises CommandError."""
    name = argument.strip(b" ").decode("utf-8", "replace")
    if not _HELO.fullmatch(name):
        raise CommandError(Reply(501, "5.5.4", "Say your name after EHLO or HELO"))
    return name
