"""fauSMTP's command line, as its page writes it: `mailbridge -smtpport 42420 -usefromsmtp 1 restart`.

Several options and one action in one call. Settings are changed first, all or none; then what was asked is shown; the
action comes last. Each is the modern command of the same name.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence

from attrs import define, field

from mailbridge.config.switches import SWITCHES

ACTIONS = ("start", "stop", "restart")
_SHOWN = ("settings", "client", "pullinfo", "clearqueue")
_GLOBAL = ("--config", "--json")
_HERE = ("set", "client", *ACTIONS)
"""Commands that run no reactor, so that others can follow them in the same process."""


class BadCommandLine(ValueError):
    """It is written otherwise; the text says how."""


@define
class Plan:
    """What a historic command line asks for. `common` are --config and --json; `commands` are in their order."""

    common: list[str] = field(factory=list)
    changes: dict[str, str] = field(factory=dict)
    register: tuple[str, str | None] | None = field(default=None, repr=False)  # a password may be in it
    shown: list[str] = field(factory=list)
    action: str | None = None


def is_historic(argv: Sequence[str]) -> bool:
    """Whether a command line has one of fauSMTP's options."""
    return any(_name(word) is not None for word in argv)


def _name(word: str) -> str | None:
    """The option a word is: one dash, or two as some type them; in any case."""
    if not word.startswith("-"):
        return None
    name = word[1:].lower() if not word.startswith("--") else ""
    return name if name in SWITCHES or name in _SHOWN or name == "r" else None


def parse(argv: Sequence[str]) -> Plan:
    """What is asked for. Raises BadCommandLine."""
    plan = Plan()
    words = list(argv)
    while words:
        word = words.pop(0)
        name = _name(word)
        if word.partition("=")[0] in _GLOBAL:
            plan.common.append(word)
            if word == "--config":
                plan.common.append(_value(word, words))
        elif name == "r":
            member = _value(word, words)
            password = words.pop(0) if words and words[0] not in ACTIONS and not words[0].startswith("-") else None
            plan.register = member, password
        elif name in SWITCHES:
            if name in plan.changes:
                raise BadCommandLine(f"-{name} comes twice")
            plan.changes[name] = _value(word, words)
        elif name is not None:
            plan.shown.append(name)
        elif word in ACTIONS and plan.action is None:
            plan.action = word
        else:
            known = ", ".join(f"-{each}" for each in ("r", *SWITCHES, *_SHOWN))
            raise BadCommandLine(f"{word!r} is not known here; known are {known}, and one of {', '.join(ACTIONS)}")
    return plan


def _value(word: str, words: list[str]) -> str:
    if not words or (words[0].startswith("-") and len(words[0]) > 1):
        raise BadCommandLine(f"{word} needs a value")
    return words.pop(0)


def commands(plan: Plan) -> list[list[str]]:
    """The modern command lines that do it, in their order."""
    return [[*plan.common, *words] for words in _commands(plan)]


def _commands(plan: Plan) -> Iterator[list[str]]:
    if plan.changes:
        yield ["set", *(word for pair in plan.changes.items() for word in pair)]
    if plan.register is not None:
        member, password = plan.register
        yield ["register", member, *([] if password is None else [password])]
    yield from ([name] for name in plan.shown)
    if plan.action is not None:
        yield [plan.action]


def runs_here(plan: Plan, words: Sequence[str]) -> bool:
    """Whether one of them needs no process of its own: a reactor runs once in a process."""
    return words[len(plan.common)] in _HERE


def run(words: Sequence[str]) -> int:
    """Run one of them in a process of its own. Its exit code."""
    program = "import sys; from mailbridge.cli.main import main; sys.exit(main())"
    return subprocess.run([sys.executable, "-c", program, *words], check=False).returncode
