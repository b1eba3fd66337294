"""A routing decision, step by step, for `mailbridge route FROM TO`.

The steps are those the router itself takes (`Table.decide`), so that the explanation cannot disagree with the answer.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from mailbridge.address import Address
from mailbridge.reply import Reply
from mailbridge.routing.route import Resolution, Route


@frozen
class Step:
    """One step: its name (`address`, `route[0]`, `application.sms`, `local`, `default`, `end`), what was compared, and
    what came of it.

    `answer` is set in the last step only; `groups` with it, when it is an application's.
    """

    name: str
    compared: str
    result: str
    answer: Resolution | None = None
    groups: Mapping[str, str] | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self.compared}: {self.result}"


@frozen
class Explanation:
    """All steps for one recipient; the last one has the answer."""

    recipient: Address
    sender: Address
    steps: tuple[Step, ...]

    @property
    def answer(self) -> Resolution:
        """What the router answers."""
        answer = self.steps[-1].answer
        assert answer is not None  # Table.decide ends with an answer
        return answer

    def lines(self) -> list[str]:
        """The explanation for a person, a line a step and one for the answer."""
        return [*(f"{number}. {step}" for number, step in enumerate(self.steps, 1)), f"answer: {show(self.answer)}"]

    def record(self) -> dict[str, object]:
        """The explanation for a program (`--json`); `groups` is what an application reads out of the address."""
        answer, groups = self.answer, self.steps[-1].groups
        return {
            "recipient": self.recipient.text,
            "sender": self.sender.text,
            "accepted": not isinstance(answer, Reply),
            "answer": show(answer),
            "targets": [] if isinstance(answer, Reply) else [route.target for route in answer],
            "groups": None if groups is None else dict(groups),
            "steps": [{"step": s.name, "compared": s.compared, "result": s.result} for s in self.steps],
        }


def show(answer: Resolution) -> str:
    """An answer in words: the reply, or the routes."""
    if isinstance(answer, Reply):
        return str(answer)
    return ", ".join(_route(route) for route in answer)


def _route(route: Route) -> str:
    if route.user is not None:
        return f"{route.target} of user {route.user}"
    return f"{route.target} for {route.destination}" if route.destination else route.target
