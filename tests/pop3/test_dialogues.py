"""The dialogues of this folder, played with the core."""

from __future__ import annotations

from pathlib import Path

from tests.dialogue import dialogue_tests
from tests.pop3.outside import FakeOutside

DialogueTests = dialogue_tests(Path(__file__).parent / "dialogues", FakeOutside)
