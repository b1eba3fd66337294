"""What became of an account's mail, counted: since the fetcher began, and in the present or last cycle."""

from __future__ import annotations

from attrs import define, field

from mailbridge.fetch.wayin import End


@define
class Counts:
    """Messages, but for `octets`. `listed` are those on the server; `left`, `too_large` and `poison` stay there."""

    listed: int = 0
    fetched: int = 0
    octets: int = 0
    delivered: int = 0
    caretaker: int = 0
    duds: int = 0
    known: int = 0
    later: int = 0
    deleted: int = 0
    left: int = 0
    too_large: int = 0
    poison: int = 0
    failures: int = 0

    @property
    def text(self) -> str:
        """`3 listed, 2 fetched, ...`, for the log."""
        counts = [f"{count} {name.replace('_', ' ')}" for name, count in self.record().items() if count]
        return ", ".join(counts) or "empty"

    def record(self) -> dict[str, int]:
        """As plain values."""
        return {name: getattr(self, name) for name in self.__slots__ if name != "__weakref__"}


_FIELD = {End.DELIVERED: "delivered", End.CARETAKER: "caretaker", End.DUD: "duds", End.KNOWN: "known",
          End.LATER: "later"}


@define
class Tally:
    """One account. Times are seconds since 1970, 0 for never; `error` is the last one of the present or last cycle."""

    name: str
    server: str
    user: str
    running: bool = False
    began: float = 0.0
    ended: float = 0.0
    last_success: float = 0.0
    error: str = ""
    now: Counts = field(factory=Counts)
    total: Counts = field(factory=Counts)

    def begin(self, time: float) -> None:
        """A cycle begins."""
        self.running, self.began, self.error, self.now = True, time, "", Counts()

    def end(self, time: float) -> None:
        """It is over."""
        self.running, self.ended = False, time
        if not self.error:
            self.last_success = time

    def count(self, name: str, many: int = 1) -> None:
        """Add to one of the counts."""
        for counts in (self.now, self.total):
            setattr(counts, name, getattr(counts, name) + many)

    def ended_as(self, end: End) -> None:
        """One message came to its end."""
        self.count(_FIELD[end])

    def record(self) -> dict[str, object]:
        """As plain values, for `fetch status --json`."""
        return {
            "account": self.name, "server": self.server, "user": self.user, "running": self.running,
            "began": self.began, "ended": self.ended, "last_success": self.last_success, "error": self.error,
            "last": self.now.record(), "total": self.total.record(),
        }
