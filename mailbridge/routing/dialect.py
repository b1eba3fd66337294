r"""What patterns written for other engines have and RE2 has not, with what to write instead.

`advice` looks at a pattern once, from left to right, and names the first thing it finds: look-around, back-references,
possessive quantifiers, atomic groups, `\Z` and the like, and slips in the names of groups. It knows escapes and
character classes, so that `[(?=]` and `\(?=` are what they seem.
"""

from __future__ import annotations

import re

_WHOLE = "the whole text has to match anyway"
_LEFT_OUT = "name what is to be left out in a pattern of its own (from_disabled, or a [[route]] before this one)"
_LACKS: tuple[tuple[str, str], ...] = (
    (r"\?\(P<", ""),  # its advice is a corrected pattern, see _misprint
    (r"\(\?=", "RE2 has no look-ahead; write out what may follow, " + _WHOLE),
    (r"\(\?!", "RE2 has no look-ahead; " + _LEFT_OUT),
    (r"\(\?<=", "RE2 has no look-behind; write what comes before as part of the pattern, " + _WHOLE),
    (r"\(\?<!", "RE2 has no look-behind; " + _LEFT_OUT),
    (r"\(\?>", "RE2 has no atomic group; write (?:...), it never tries for long"),
    (r"\(\?P=\w*\)?", "RE2 has no back-reference; write the group's pattern again, or two patterns"),
    (r"\(\?\(", "RE2 has no condition on a group; write (?:...|...) with both cases"),
    (r"\(\?#[^)]*\)?", "RE2 has no comment in a pattern; write it beside the key"),
    (r"\(\?[imsU]*[axuL]", "RE2 has no such flag; leave it out: case does not count, and \\d is 0 to 9"),
    (r"\\[1-9]", "RE2 has no back-reference; write the group's pattern again, or two patterns"),
    (r"\\[kg](?:<\w*>)?", "RE2 has no back-reference; write the group's pattern again, or two patterns"),
    (r"\\[ZG]", "leave it out, " + _WHOLE),
    (r"\\u[0-9A-Fa-f]{0,4}", "write the character itself, or \\x{20AC} with its number"),
    (r"\\N(?:\{[^}]*\})?", "write the character itself, or \\x{20AC} with its number"),
    (r"(?:[*+?]|\{[0-9]+(?:,[0-9]*)?\})\+",
     "RE2 has no possessive quantifier; leave the second + out, it never tries for long"),
    (r"\(P<", "write (?P< for a group with a name"),
)
_TOKEN = re.compile(
    "|".join(f"(?P<t{number}>{lack})" for number, (lack, _) in enumerate(_LACKS))
    + r"|(?P<group>\(\?P?<(?P<name>[^>!=]*)>)|\\Q.*?(?:\\E|$)|\\.|\[\^?\]?(?:\\.|\[:[^]]*:\]|[^]\\])*\]|.",
    re.DOTALL,
)


def advice(pattern: str) -> tuple[int, str] | None:
    """(position counted from 1, what to do) about the first thing in `pattern` that RE2 has not; None: nothing is."""
    names: set[str] = set()
    for token in _TOKEN.finditer(pattern):
        kind, at = token.lastgroup, token.start() + 1
        if kind == "t0":
            return at, f"the ? belongs behind the bracket: write {_misprint(pattern)}"
        if kind == "group":
            name = token["name"]
            if name in names:
                return at, f'the group "{name}" is there twice; give each a name of its own, or write two patterns'
            names.add(name)
        elif kind is not None:
            return at, f"{token.group()}: {_LACKS[int(kind[1:])][1]}"
    return None


def _misprint(pattern: str) -> str:
    """`?(P<number>\\+?[\\d]+)@fax` of the SMTP receiver's page, as it was meant."""
    return pattern.replace("?(P<", "(?P<").replace(r"[\d]", r"\d")
