"""What an application asks of its worker process and what that answers, as plain values.

Requests are pickled, as they hold what the operator configured; answers are JSON, as the worker reads hostile mail.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Any, Protocol

from attrs import frozen

from mailbridge.application.job import Job, Mail
from mailbridge.target.outlet import Outlet


class Converts(Protocol):
    """What makes jobs of mail (`application.recipe.Recipe`)."""

    def job(self, mail: Mail, number: int, now: float) -> Job:
        """The job of one message for one recipient; `now` is seconds since 1970.

        `JobRefused` is the sender's fault, any other error our own.
        """


@frozen
class Assignment:
    """What a worker works for, told once. `nice` is added to the priority of its process (0 to 19)."""

    application: str
    recipe: Converts
    outlet: Outlet
    accounting: Path | None = None
    nice: int = 0


@frozen
class Prepare:
    """Make the job `number` of a message and write it, unpublished. Answer: DONE with a Prepared as JSON."""

    number: int
    mail: Mail
    queue_id: str
    now: float


@frozen
class Publish:
    """Rename the control file of a job that was written in the folder `identity`; `line` is for the accounts.

    Answer: DONE also when there is nothing to rename any more, as it was published before; ELSEWHERE when that cannot
    be known, as it is another folder.
    """

    control: str
    identity: int
    line: str = ""


@frozen
class Remove:
    """Take the files of a job away that was never staged. Answer: DONE."""

    names: tuple[str, ...]


@frozen
class Lying:
    """Which of these files are still there? Answer: DONE with their names."""

    names: tuple[str, ...]


@frozen
class Sweep:
    """Remove what a crash left: see `JobFolder.sweep`. Answer: DONE with the names that were removed."""

    below: int
    kept: frozenset[int]


@frozen
class Run:
    """Make the job `number` of a message and give it to the program. Answer: RAN with an outcome as JSON."""

    number: int
    mail: Mail
    queue_id: str
    now: float


Request = Prepare | Publish | Remove | Lying | Sweep | Run


class Kind(Enum):
    """How a request ended.

    REFUSED: the sender's fault, with code, enhanced code and text of the reply. TAKEN: names of that number are in use.
    UNREACHABLE, FAULT, FAILED: nothing happened, in words; the outlet cannot be used just now, it is a fault of our
    configuration, or this message could not be worked at.
    """

    DONE = "done"
    RAN = "ran"
    ELSEWHERE = "elsewhere"
    REFUSED = "refused"
    TAKEN = "taken"
    UNREACHABLE = "unreachable"
    FAULT = "fault"
    FAILED = "failed"


@frozen
class Answer:
    """The answer to one request."""

    kind: Kind
    body: Any = None
