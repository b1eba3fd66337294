"""A sink that keeps its lines, for tests of what is logged."""

from __future__ import annotations


class Lines:
    """`texts` are the lines with their letter, `times` their seconds."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.times: list[float] = []

    def write(self, seconds: float, letter: str, text: str) -> None:
        """Keep one line."""
        self.texts.append(f"{letter} {text}")
        self.times.append(seconds)
