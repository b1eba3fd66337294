"""One delivery on its way to becoming a job, and whether it may become one."""

from __future__ import annotations

from attrs import define, field, frozen

from mailbridge.application.job import Mail
from mailbridge.outcome import PermanentFailure
from mailbridge.reply import Reply
from mailbridge.store.changes import Delivery, Message, Remember
from mailbridge.target.daily import DailyCount


@define
class Admission:
    """May a message still become a job? `admit` is asked once for each; `end` is called whatever became of it.

    `expiry` are seconds since the message came, `daily_limit` jobs of one sender on one day (UTC); None: no limit.
    """

    application: str
    message: Message
    now: float
    daily: DailyCount
    expiry: float | None = None
    daily_limit: int | None = None
    _reserved: bool = field(init=False, default=False)

    def too_old(self) -> PermanentFailure | None:
        """Whether its time is over. Asked at each attempt, also while nothing can be written."""
        if self.expiry is None or self.now - self.message.received <= self.expiry:
            return None
        return PermanentFailure(Reply(
            550, "5.4.7", f"The message is too old for {self.application}, which takes none after "
                          f"{_duration(self.expiry)}"))

    def admit(self) -> PermanentFailure | None:
        """Whether the sender has made as many jobs as he may. Raises StoreError."""
        if self.daily_limit is not None:
            if not self.daily.reserve(self._sender, self.daily_limit, self.now):
                return PermanentFailure(Reply(
                    550, "5.7.1", f"You may send {self.daily_limit} messages a day to {self.application}, and these "
                                  "were sent today (UTC)"))
            self._reserved = True
        return None

    def counted(self) -> tuple[Remember, ...]:
        """The changes to commit when the job becomes one."""
        if not self._reserved:
            return ()
        self._reserved = False
        return (self.daily.count(self._sender),)

    def end(self) -> None:
        """Give back what was not used."""
        if self._reserved:
            self._reserved = False
            self.daily.give_back(self._sender)

    @property
    def _sender(self) -> str:
        return self.message.sender.casefold()


@frozen
class JobTask:
    """`mail` is without its content, which is in the pieces of `content`; `now` is when the attempt began."""

    message: Message
    delivery: Delivery
    mail: Mail
    content: tuple[bytes, ...] = field(repr=False)
    now: float
    admission: Admission


def _duration(seconds: float) -> str:
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length:
            count = seconds / length
            return f"{count:g} {name}" + ("" if count == 1 else "s")
    return "no time"
