"""Words of the operator that stand in names of files, routes and lanes: one rule for each, wherever they come in."""

from __future__ import annotations

import re

_APPLICATION = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,16}")


def is_application_name(name: str) -> bool:
    """Whether an application may have this name: at most 64 ASCII letters, digits, _ and -."""
    return _APPLICATION.fullmatch(name) is not None


def is_suffix(text: str) -> bool:
    """Whether names of control files may end in this: a dot and at most 16 ASCII letters and digits."""
    return _SUFFIX.fullmatch(text) is not None
