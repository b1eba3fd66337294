"""The arguments of a command: taken one by one with their types; what is left over is an error."""

from __future__ import annotations

from typing import Any

from mailbridge.admin.messages import usage

LONGEST_TEXT = 4096
LONGEST_LIST = 10_000


class Arguments:
    """Reads a JSON object. Every method raises OperationError (usage) that names the argument."""

    def __init__(self, given: dict[str, Any]) -> None:
        self._left = dict(given)

    def given(self, name: str) -> object:
        """What is there under a name, which stays to be taken."""
        return self._left.get(name)

    def text(self, name: str) -> str:
        """A text that must be there."""
        value = self.optional_text(name)
        if value is None:
            raise usage(f"{name} is missing")
        return value

    def optional_text(self, name: str) -> str | None:
        """A text, or None when it is not there."""
        value = self._left.pop(name, None)
        if value is not None and (not isinstance(value, str) or len(value) > LONGEST_TEXT):
            raise usage(f"{name} must be text of at most {LONGEST_TEXT} characters")
        return value

    def optional_flag(self, name: str) -> bool | None:
        """True or false, or None when it is not there."""
        value = self._left.pop(name, None)
        if value is not None and not isinstance(value, bool):
            raise usage(f"{name} must be true or false")
        return value

    def number(self, name: str, low: int, high: int, default: int) -> int:
        """A whole number from `low` to `high`; `default` when it is not there."""
        value = self._left.pop(name, default)
        if type(value) is not int or not low <= value <= high:
            raise usage(f"{name} must be a whole number, {low} to {high}")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; empty when it is not there."""
        value = self._left.pop(name, [])
        if not isinstance(value, list) or len(value) > LONGEST_LIST:
            raise usage(f"{name} must be a list of at most {LONGEST_LIST} texts")
        if not all(isinstance(item, str) and len(item) <= LONGEST_TEXT for item in value):
            raise usage(f"{name} must hold texts of at most {LONGEST_TEXT} characters")
        return tuple(value)

    def end(self) -> None:
        """Nothing else may have been given."""
        if self._left:
            raise usage(f"unknown argument: {min(self._left)[:40]!r}")
