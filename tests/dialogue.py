"""Dialogues as text: `C:` lines are fed to a server, `S:` lines are what it must answer, octet for octet.

A file holds dialogues, each under a title; each begins with a fresh server:

    == A person logs in
    S: +OK ...
    C: USER bonnie
    S: +OK ...

Neighbouring `C:` lines go in one segment (pipelining). `C>` is text with Python escapes and no CR LF added, `E:` an
event of the test's own making (`E: tls`), `(closed)` demands that the server has closed. `...` in an `S:` line stands
for any octets up to the end of the line, or up to the text that follows. Blank lines and `#` lines mean nothing.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase


class Peer(Protocol):
    """The server under test."""

    closed: bool

    def feed(self, octets: bytes) -> bytes:
        """Give the server octets (at first none, for the greeting); what it answered at once."""

    def event(self, text: str) -> bytes:
        """Let happen what an `E:` line names; what the server said to it."""


@frozen
class Dialogue:
    """One dialogue of a file: `place` is FILE:LINE of its title."""

    title: str
    place: str
    lines: tuple[tuple[int, str], ...]

    def play(self, peer: Peer) -> None:
        """Raises AssertionError with the line at which the server answered otherwise."""
        answered, pending = peer.feed(b""), b""
        for number, line in self.lines:
            kind, text = line[:2], line[3:]
            if kind == "C:":
                pending += text.encode() + b"\r\n"
                continue
            if kind == "C>":
                pending += text.encode().decode("unicode_escape").encode("latin-1")
                continue
            if pending:
                answered, pending = answered + peer.feed(pending), b""
            if kind == "E:":
                answered += peer.event(text)
            elif kind == "S:":
                answered = self._expect(number, text, answered)
            elif line == "(closed)":
                assert peer.closed, f"{self.place}, line {number}: the server has not closed"
            else:
                raise AssertionError(f"{self.place}, line {number}: what is {line!r}?")
        if pending:
            answered += peer.feed(pending)
        assert not answered, f"{self.place}: the server also said {answered!r}"

    def _expect(self, number: int, text: str, answered: bytes) -> bytes:
        pattern = rb"[^\r\n]*".join(re.escape(part.encode()) for part in text.split("...")) + rb"\r\n"
        match = re.match(pattern, answered)
        assert match, f"{self.place}, line {number}: wanted {text!r}, got {answered[:200]!r}"
        return answered[match.end():]


def dialogues(path: Path) -> list[Dialogue]:
    """The dialogues of a file, in its order."""
    found: list[Dialogue] = []
    lines: list[tuple[int, str]] = []
    title, start = "", 0

    def end() -> None:
        if title:
            found.append(Dialogue(title, f"{path.name}:{start}", tuple(lines)))

    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        if line.startswith("== "):
            end()
            title, start, lines = line[3:].strip(), number, []
        elif line.strip() and not line.startswith("#"):
            lines.append((number, line))
    end()
    return found


def dialogue_tests(folder: Path, peer: Callable[[], Peer]) -> type[SynchronousTestCase]:
    """A test case with one test for each dialogue in the `*.txt` files of `folder`, each against a new `peer()`."""
    methods: dict[str, object] = {"__module__": sys._getframe(1).f_globals["__name__"]}  # so that trial finds it
    for path in sorted(folder.glob("*.txt")):
        for dialogue in dialogues(path):
            def test(self: SynchronousTestCase, dialogue: Dialogue = dialogue) -> None:
                dialogue.play(peer())

            name = "test_" + re.sub(r"\W+", "_", f"{path.stem} {dialogue.title}").strip("_").lower()
            assert name not in methods, f"{path}: two dialogues are called {dialogue.title!r}"
            test.__doc__ = dialogue.title
            methods[name] = test
    assert len(methods) > 1, f"no dialogues in {folder}"
    return type("DialogueTests", (SynchronousTestCase,), methods)
