"""Plays the client's steps against a written dialogue: `C: ` what it has to say, `S: ` what the server says."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from mailbridge.smtp.answer import AnswerReader
from mailbridge.smtp.steps import Encrypt, Hear, Say, Step, Stream


class Mismatch(AssertionError):
    """The client did not say what the dialogue has."""


def play(steps: Generator[Step, Any, Any], dialogue: str) -> Any:
    """What the steps return. `C: (tls)`, `C: (content)` and `C: (chunk)` stand for steps without octets."""
    lines = [line.strip() for line in dialogue.strip().split("\n") if line.strip()]
    reader, answers, value = AnswerReader(), [], None
    try:
        while True:
            step = steps.send(value)
            value = None
            if isinstance(step, Hear):
                while not answers:
                    if not lines or not lines[0].startswith("S: "):
                        raise Mismatch(f"waits for {step.phase} where the dialogue has {lines[:1]}")
                    answers += reader.feed(lines.pop(0)[3:].encode() + b"\r\n")
                value = answers.pop(0)
                continue
            for said in _said(step):
                if not lines or lines[0] != f"C: {said}":
                    raise Mismatch(f"says {said!r} where the dialogue has {lines[:1]}")
                lines.pop(0)
    except StopIteration as stop:
        if lines:
            raise Mismatch(f"ends before {lines}") from None
        return stop.value


def _said(step: Step) -> list[str]:
    if isinstance(step, Say):
        return [line or "(empty)" for line in step.octets.decode().removesuffix("\r\n").split("\r\n")]
    if isinstance(step, Encrypt):
        return ["(tls)"]
    return ["(chunk)" if isinstance(step, Stream) and step.chunked else "(content)"]
