"""The operator's commands for the fetcher: collect now, how it goes, go on, what would become of each message.

The fetcher is known by what these need of it. Words of strangers (answers of servers, addresses) are made plain.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container, Mapping
from typing import Any, Protocol

from mailbridge.admin.arguments import Arguments
from mailbridge.admin.messages import Kind, OperationError, usage
from mailbridge.admin.plain import plain
from mailbridge.admin.status import Alarm

Record = dict[str, Any]
MISSED = 3
"""So many cycles without success are an alarm."""
LEAST = 600.0
_LONGEST_LINE = 2000
_LINES_A_PAGE = 300
MOST_ACCOUNTS = 500


class Fetching(Protocol):
    """The fetcher of a bridge."""

    def status(self) -> Record | None:
        """How it goes; None where nothing is configured to be collected."""

    def names(self) -> tuple[str, ...]:
        """All accounts."""

    def now(self, names: Container[str] | None, verbose: bool) -> Awaitable[Record]:
        """Collect at once; the status at the end. `verbose`: `lines` will have all that is said."""

    def resume(self) -> None:
        """Go on after too many duds."""

    def preview(self, names: Container[str] | None) -> Awaitable[list[Record]]:
        """What a collection would do."""

    def lines(self, after: int) -> tuple[list[str], int]:
        """The log behind line `after`, and the number of its last line."""


class FetchOperations:
    """The commands. `fetching` is None while no bridge runs."""

    def __init__(self, fetching: Fetching | None) -> None:
        self._fetching = fetching
        self.commands: dict[str, Callable[[Arguments], Awaitable[Any]]] = {
            "fetch now": self.now,
            "fetch status": self.status,
            "fetch resume": self.resume,
            "fetch preview": self.preview,
            "fetch lines": self.lines,
        }

    async def now(self, arguments: Arguments) -> Record:
        """`fetch now`: `accounts` (all when there are none), `verbose`."""
        fetching = self._configured()
        names, verbose = self._names(arguments, fetching), arguments.optional_flag("verbose") or False
        arguments.end()
        return _page(await fetching.now(names, verbose), names)

    async def status(self, arguments: Arguments) -> Record:
        """`fetch status`."""
        arguments.end()
        return _page(self._configured().status() or {})

    async def resume(self, arguments: Arguments) -> Record:
        """`fetch resume`."""
        arguments.end()
        fetching = self._configured()
        fetching.resume()
        return _page(fetching.status() or {})

    async def preview(self, arguments: Arguments) -> Record:
        """`fetch preview`: `accounts`."""
        fetching = self._configured()
        names = self._names(arguments, fetching)
        arguments.end()
        return {"accounts": _plain(await fetching.preview(names))}

    async def lines(self, arguments: Arguments) -> Record:
        """`fetch lines`: `after`, the number of the last line that is known."""
        after = arguments.number("after", 0, 2**53, 0)
        arguments.end()
        lines, last = self._configured().lines(after)
        page = lines[:_LINES_A_PAGE]
        return {"lines": [plain(line, _LONGEST_LINE) for line in page], "last": last - len(lines) + len(page)}

    def _configured(self) -> Fetching:
        if self._fetching is None:
            raise OperationError(Kind.FAILED, "mailbridge is not running")
        if self._fetching.status() is None:
            raise usage("the configuration has no [popfetch]: nothing is collected")
        return self._fetching

    @staticmethod
    def _names(arguments: Arguments, fetching: Fetching) -> frozenset[str] | None:
        names = frozenset(arguments.texts("accounts"))
        known = fetching.names()
        unknown = sorted(names.difference(known))
        if unknown:
            raise usage(f"there is no account {plain(unknown[0], 80)!r}; the configuration has {', '.join(known[:20])}")
        return names or None


def _page(status: Record, names: Container[str] | None = None) -> Record:
    """A status with sums of the present or last cycle and at most 500 accounts, those that failed first."""
    accounts = [account for account in status.get("accounts", ()) if names is None or account["account"] in names]
    totals: dict[str, int] = {}
    for account in accounts:
        for name, count in account["last"].items():
            totals[name] = totals.get(name, 0) + count
    failed = sum(bool(account["error"]) for account in accounts)
    accounts.sort(key=lambda account: not account["error"])
    shown: Record = _plain({**status, "accounts": accounts[:MOST_ACCOUNTS]})
    return {**shown, "all_accounts": len(accounts), "failed": failed, "totals": totals}


def _plain(value: Any) -> Any:
    """JSON values without anything that moves a cursor."""
    if isinstance(value, str):
        return plain(value, _LONGEST_LINE)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value


def alarms(status: Record | None, periods: Mapping[str, float], since: float, now: float) -> tuple[Alarm, ...]:
    """What keeps mail from being collected: a stopped fetcher, accounts without success for three of their periods.

    `since` is when the fetcher began; all times are seconds since 1970.
    """
    if status is None:
        return ()
    if status["stopped"]:
        return (Alarm(f"the fetcher has stopped: {status['duds_in_a_row']} messages in a row could be delivered to "
                      "nobody and are in duds.dat: look at them, then `mailbridge fetch resume`", since),)
    found = []
    for account in status["accounts"]:
        name, last = account["account"], max(account["last_success"], since)
        if now - last < max(LEAST, MISSED * periods.get(name, 0.0)):
            continue
        if account["running"] and not account["error"] and account["last"]["fetched"]:
            continue  # it takes long, and goes on
        reason = account["error"] or ("the server does not answer" if account["running"] else "no cycle has run")
        found.append(Alarm(plain(f"no mail could be collected from {name}: {reason}", _LONGEST_LINE), last))
    return tuple(found)
