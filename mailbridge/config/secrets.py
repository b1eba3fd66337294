"""Secrets of the configuration: written out, in a file, or in the environment. No message ever shows one."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mailbridge.config.files import secret_reader

LONGEST = 4096
_SECRETS = ("password", "token", "dedicatedsmtp", "secret")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,100}")
_FORMS = '"TEXT", { file = "PATH" } or { env = "NAME" }'


def secret_text_reader(base: Path, environ: Mapping[str, str] = os.environ) -> Callable[[object], str]:
    """A reader of secrets. A file has the secret in its only line, and nobody else may read it."""
    file = secret_reader(base)

    def read(value: object) -> str:
        if isinstance(value, str):
            return _checked(value, "the secret")
        if isinstance(value, dict) and set(value) == {"file"}:
            path = file(value["file"])
            try:
                octets = path.open("rb").read(LONGEST + 2)
                return _checked(octets.decode("utf-8").removesuffix("\n").removesuffix("\r"), str(path))
            except OSError as error:
                raise ValueError(f"cannot read {path}: {error.strerror}") from None
            except UnicodeDecodeError:
                raise ValueError(f"{path} is not UTF-8") from None
        if isinstance(value, dict) and set(value) == {"env"}:
            name = value["env"]
            if not isinstance(name, str) or not _VARIABLE.fullmatch(name):
                raise ValueError('env must be the name of a variable, such as { env = "RELAY_PASSWORD" }')
            if name not in environ:
                raise ValueError(f"the environment has no variable {name}")
            return _checked(environ[name], f"${name}")
        raise ValueError(f"must be {_FORMS}")

    return read


def _checked(text: str, whose: str) -> str:
    """Fit for every login: one line with something in it."""
    if not text:
        raise ValueError(f"{whose} is empty")
    if len(text) > LONGEST or any(c in text for c in "\r\n\0"):
        raise ValueError(f"{whose} must be one line of at most {LONGEST} characters")
    return text


def inline_secrets(document: Mapping[str, Any]) -> list[str]:
    """The places of secrets that are written out in the file itself, which others may then not read."""
    oce, popfetch = document.get("oce"), document.get("popfetch")
    oce = oce if isinstance(oce, dict) else {}
    homes = [*_tables("relay", document.get("relay")), ("oce", oce), *_tables("oce.tribes", oce.get("tribes")),
             *_listed("popfetch.account", popfetch.get("account") if isinstance(popfetch, dict) else None)]
    return [f"{place}.{key}" for place, table in homes for key in _SECRETS if isinstance(table.get(key), str)]


def _tables(place: str, found: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(found, dict):
        yield from ((f"{place}.{name}", table) for name, table in found.items() if isinstance(table, dict))


def _listed(place: str, found: object) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(found, list):
        yield from ((f"{place}[{index}]", table) for index, table in enumerate(found) if isinstance(table, dict))
