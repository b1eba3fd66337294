"""What may be a user name, an alias, a target, a sender pattern, a password. Errors say what to do instead."""

from __future__ import annotations

from mailbridge.address import Address, parse_mailbox
from mailbridge.admin.messages import usage
from mailbridge.errors import AddressError
from mailbridge.routing.directory import Directory
from mailbridge.routing.names import fold_name
from mailbridge.sasl.prep import prepare
from mailbridge.sasl.values import SASLError

LONGEST_NAME = 64  # octets of a local part (RFC 5321 4.5.3.1.1)
SHORT_PASSWORD = 8
LONGEST_PASSWORD = 1024


def user_name(text: str) -> str:
    """A user name in its one form, lower case. It is a local part that needs no quotes, and holds no tag."""
    try:
        name = fold_name(prepare(text))
    except SASLError:
        raise usage("a user name has no control characters: use letters, digits, dots and hyphens") from None
    if not name:
        raise usage("the user name is empty: give one, such as bonnie")
    if "@" in name:
        raise usage(f"a user name has no @: use {name.partition('@')[0] or 'the part before it'!r}, and set the domain "
                    "in [users] domains")
    if "+" in name:
        raise usage("a user name has no +: bonnie gets mail for bonnie+anything already")
    if len(name.encode("utf-8")) > LONGEST_NAME:
        raise usage(f"a user name has at most {LONGEST_NAME} octets")
    if '"' in name or _address(name) != name:
        raise usage(f"{text[:LONGEST_NAME]!r} cannot be a user name: no spaces, quotes, brackets or commas, and no dot "
                    "at either end; use letters, digits, dots and hyphens")
    return name


def address(text: str, what: str) -> Address:
    """Any envelope address; `what` names it in the error."""
    try:
        return parse_mailbox(text.encode("utf-8"))
    except (AddressError, UnicodeEncodeError) as error:
        reason = error if isinstance(error, AddressError) else "it holds half a character"
        raise usage(f"{what} {text[:80]!r} is not an address: {reason}") from None


def alias_name(text: str, directory: Directory) -> str:
    """The name of an alias: `sales`, `sales@DOMAIN` or `@DOMAIN`, the domain being a local one."""
    if text.startswith("@"):
        _local_domain(text[1:], directory)
        return text.lower()
    parsed = _parsed(text, "the alias")
    if parsed.domain:
        _local_domain(parsed.domain, directory)
    return parsed.text.lower()


def alias_target(text: str, directory: Directory) -> str:
    """A member of an alias: a user or alias that exists, with a local domain or without."""
    parsed = _parsed(text, "the target")
    if parsed.domain:
        _local_domain(parsed.domain, directory)
    if directory.find(parsed) is None:
        raise usage(f"there is no user or alias {parsed.text}: add it first, or correct the name")
    return parsed.text


def sender_pattern(text: str) -> str:
    """An address or `*@DOMAIN` that a user may send as."""
    if text.startswith("*@"):
        return "*@" + _parsed("x@" + text[2:], "the sender").domain
    parsed = _parsed(text, "the sender")
    if not parsed.domain:
        raise usage(f"{text!r} has no domain: write an address, or *@DOMAIN for all of a domain")
    return parsed.text


def password(text: str) -> tuple[str, list[str]]:
    """A password as it is stored, with warnings for the operator."""
    try:
        prepared = prepare(text)
    except SASLError:
        raise usage("a password has no control characters, and line ends are such: type it in one line") from None
    if not prepared:
        raise usage("the password is empty: choose one, longer is better")
    if len(prepared) > LONGEST_PASSWORD:
        raise usage(f"a password has at most {LONGEST_PASSWORD} characters")
    short = len(prepared) < SHORT_PASSWORD
    return prepared, [f"the password has fewer than {SHORT_PASSWORD} characters and may be guessed"] if short else []


def _local_domain(domain: str, directory: Directory) -> None:
    if not directory.is_local(domain):
        known = ", ".join(directory.domains) or "none yet"
        raise usage(f"{domain or 'nothing'!r} is not a local domain (they are: {known}): add it to [users] domains")


def _parsed(text: str, what: str) -> Address:
    parsed = address(text, what)
    if parsed.double_at:
        raise usage(f"{what} {text[:80]!r} has two @")
    return parsed


def _address(name: str) -> str | None:
    try:
        return parse_mailbox(name.encode("utf-8")).text
    except AddressError:
        return None
