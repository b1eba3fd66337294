"""SMTP sessions word for word: see the files in `dialogues`."""

from __future__ import annotations

from pathlib import Path

from tests.dialogue import dialogue_tests

from .surroundings import Client

DialogueTests = dialogue_tests(Path(__file__).parent / "dialogues", Client)
