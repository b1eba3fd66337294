"""When two names are the same: spelling of local names and of domains, brought to one form.

Letter case and Unicode composition never tell two names apart. Compatibility forms (the fullwidth @) are not folded:
they would turn one character of a local part into another that means something.
"""

from __future__ import annotations

from unicodedata import normalize

import idna

_ACE = "xn--"


def fold_name(name: str) -> str:
    """The one form of a local part or user name."""
    if name.isascii():
        return name.lower()
    return normalize("NFC", normalize("NFC", name).casefold())


def fold_domain(domain: str) -> str:
    """The one form of a domain: lower case, UTF-8 labels for those written as `xn--` (RFC 5891)."""
    folded = normalize("NFC", domain).lower() if not domain.isascii() else domain.lower()
    if _ACE not in folded:
        return folded
    return ".".join(_unicode_label(label) for label in folded.split("."))


def _unicode_label(label: str) -> str:
    if not label.startswith(_ACE) or len(label) > 63:
        return label
    try:
        return idna.ulabel(label)
    except (UnicodeError, ValueError):  # what no registry would take is compared as it is written
        return label
