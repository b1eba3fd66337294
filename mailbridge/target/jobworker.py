"""The worker process of one application: makes jobs of mail, writes, publishes, runs programs.

It is a process because what it does would hold the interpreter up, or be held up: MIME of strangers, and a dozen system
calls a job, each of which a busy reactor thread would let wait. It takes all requests that wait and syncs once for all
of them. It ends when its standard input does, and with the bridge when that is killed.
"""

from __future__ import annotations

import errno
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from mailbridge.application.job import Job
from mailbridge.application.refused import JobRefused
from mailbridge.outcome import Delivered, PermanentFailure, TransientFailure
from mailbridge.target import accounting
from mailbridge.target.accounting import Accounting
from mailbridge.target.jobcommand import JobCommand, verdict
from mailbridge.target.jobfolder import JobFolder, TakenError, writing_name
from mailbridge.target.jobwork import Answer, Assignment, Kind, Lying, Prepare, Publish, Remove, Request, Run, Sweep
from mailbridge.target.outlet import CommandOutlet

_OTHER_PLACE = "let the user that the bridge runs as write there, or choose another place"
_MAKE_ROOM = "make room there"
_REMEDIES = {
    errno.ENOENT: "make it, or mount its disk", errno.EROFS: "let it be written to, or choose another place",
    errno.ENOSPC: _MAKE_ROOM, errno.EDQUOT: _MAKE_ROOM,
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG), _OTHER_PLACE),
}
"""What an operator can do: these are faults of our own side, told by an alarm, and bounce nobody's mail."""
Reported = Callable[[list[tuple[int, Answer]]], None]
Numbered = tuple[int, Request]


def explained(error: OSError, path: object) -> Answer:
    """What an error of the system means for all of the outlet at `path`."""
    words = f"{path}: {error.strerror or error}"
    if error.errno in _REMEDIES:
        return Answer(Kind.FAULT, f"{words}: {_REMEDIES[error.errno]}")
    return Answer(Kind.UNREACHABLE, words)


class JobWorker:
    """Works for one assignment; `report` takes answers, and is called in the threads of programs too.

    `complain` is told where a conversion failed, without the words of the error: they may be of the mail.
    """

    def __init__(self, assignment: Assignment, report: Reported, complain: Callable[[str], object] = sys.stderr.write,
                 folder: JobFolder | None = None) -> None:
        self._application = assignment.application
        self._recipe = assignment.recipe
        self._outlet = assignment.outlet
        self._accounting = Accounting(assignment.accounting) if assignment.accounting is not None else None
        self._report = report
        self._complain = complain
        self._command: JobCommand | None = None
        self._folder: JobFolder | None = None
        if isinstance(assignment.outlet, CommandOutlet):
            self._command = JobCommand(assignment.outlet.command, assignment.outlet.timeout)
        else:
            self._folder = folder or JobFolder(assignment.outlet.path)
        self._lock = threading.Lock()

    def work(self, requests: Sequence[Numbered]) -> None:
        """Do all that is asked, with one sync."""
        if self._folder is None:
            for id, request in requests:
                threading.Thread(target=self._run, args=(id, request), daemon=True).start()
            return
        answers: dict[int, Answer] = {}
        written: dict[int, Job] = {}
        try:
            self._folder.look()
            if self._accounting is not None:
                self._accounting.look()
            self._write_lines(self._folder, requests, answers)
            for id, request in requests:
                if id not in answers:
                    answers[id] = self._one(self._folder, id, request, written)
            self._folder.sync()
        except OSError as error:
            for job in written.values():
                self._folder.remove(_names(job))
            if self._accounting is not None and error.filename == os.fspath(self._accounting.path):
                failed = explained(error, "the accounting file " + str(self._accounting.path))
            else:
                failed = explained(error, self._folder.path)
            answers = dict.fromkeys((id for id, _ in requests), failed)
        self._report(list(answers.items()))

    def stop(self) -> None:
        """End programs that run."""
        if self._command is not None:
            self._command.kill_all()

    # --- the folder ---------------------------------------------------------------------------------------------------

    def _write_lines(self, folder: JobFolder, requests: Sequence[Numbered], answers: dict[int, Answer]) -> None:
        """The accounts of what is about to be published: a line too many can be told by its job, a missing one not."""
        lines = {id: request.line for id, request in requests if isinstance(request, Publish) and request.line}
        if lines and self._accounting is not None:
            try:
                self._accounting.write(lines.values())
            except OSError as error:
                failed = explained(error, f"the accounting file {self._accounting.path}")
                answers.update(dict.fromkeys(lines, failed))

    def _one(self, folder: JobFolder, id: int, request: Request, written: dict[int, Job]) -> Answer:
        try:
            match request:
                case Prepare():
                    job = self._recipe.job(request.mail, request.number, request.now)
                    folder.write(job)
                    written[id] = job
                    return Answer(Kind.DONE, self._prepared(folder, job, request))
                case Publish(control, identity):
                    published = folder.publish(control)
                    return Answer(Kind.DONE if published or folder.identity == identity else Kind.ELSEWHERE)
                case Remove(names):
                    folder.remove(names)
                    return Answer(Kind.DONE)
                case Lying(names):
                    return Answer(Kind.DONE, folder.lying(names))
                case Sweep(below, kept):
                    return Answer(Kind.DONE, folder.sweep(self._application, self._suffix, below, kept))
            raise TypeError(type(request).__name__)
        except TakenError as error:
            return Answer(Kind.TAKEN, str(error))
        except OSError as error:
            return explained(error, folder.path)
        except Exception as error:
            return self._failure(error)

    @property
    def _suffix(self) -> str:
        assert not isinstance(self._outlet, CommandOutlet)
        return self._outlet.suffix

    def _prepared(self, folder: JobFolder, job: Job, request: Prepare | Run) -> dict[str, Any]:
        return {
            "control": job.control.name, "names": _names(job), "identity": folder.identity,
            "line": self._line(job, request), "warnings": list(job.warnings),
        }

    def _line(self, job: Job, request: Prepare | Run) -> str:
        return accounting.line(job, request.queue_id, request.now) if self._accounting is not None else ""

    # --- the program --------------------------------------------------------------------------------------------------

    def _run(self, id: int, request: Request) -> None:
        try:
            answer = self._ran(request)
        except OSError as error:
            assert self._accounting is not None
            answer = explained(error, f"the accounting file {self._accounting.path}")
        except Exception as error:
            answer = self._failure(error)
        self._report([(id, answer)])

    def _ran(self, request: Request) -> Answer:
        if not isinstance(request, Run) or self._command is None or not isinstance(self._outlet, CommandOutlet):
            raise TypeError(type(request).__name__)
        job = self._recipe.job(request.mail, request.number, request.now)
        outcome = verdict(self._command.run(job.control.octets, job.application, job.number), self._outlet.command[0])
        if isinstance(outcome, Delivered) and self._accounting is not None:
            with self._lock:
                self._accounting.write([self._line(job, request)])
        warnings = list(job.warnings)
        match outcome:
            case Delivered(detail):
                return Answer(Kind.RAN, {"detail": detail, "warnings": warnings})
            case PermanentFailure(reply, detail) | TransientFailure(reply, detail):
                return Answer(Kind.RAN, {"reply": [reply.code, reply.enhanced, reply.text], "detail": detail,
                                         "warnings": warnings})
        return Answer(Kind.FAULT, outcome.reason)

    def _failure(self, error: Exception) -> Answer:
        if isinstance(error, JobRefused):
            return Answer(Kind.REFUSED, [error.reply.code, error.reply.enhanced, error.reply.text])
        places = "".join(traceback.format_tb(error.__traceback__))
        self._complain(f"a job could not be made: {type(error).__name__} at\n{places}")
        return Answer(Kind.FAILED, f"a fault in mailbridge: {type(error).__name__}")


def _names(job: Job) -> list[str]:
    return [*(file.name for file in job.files), writing_name(job.control.name)]
