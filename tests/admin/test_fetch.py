"""The operator's commands for the fetcher, and when it raises an alarm."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.arguments import Arguments
from mailbridge.admin.fetch import MOST_ACCOUNTS, FetchOperations, alarms
from mailbridge.admin.messages import Kind, OperationError
from mailbridge.fetch.tally import Tally


def account(name: str, error: str = "", fetched: int = 0, **more: Any) -> dict[str, Any]:
    """The record of an account."""
    tally = Tally(name, "pop.example:110", "bob", error=error)
    tally.count("fetched", fetched)
    return {**tally.record(), "next": None, **more}


class Fake:
    """A fetcher that notes what it is told."""

    def __init__(self, *accounts: dict[str, Any]) -> None:
        self.accounts = list(accounts)
        self.told: list[object] = []

    def status(self) -> dict[str, Any] | None:
        return {"running": True, "stopped": "", "duds": 0, "duds_in_a_row": 0, "max_duds": 10,
                "accounts": self.accounts} if self.accounts else None

    def names(self) -> tuple[str, ...]:
        return tuple(account["account"] for account in self.accounts)

    async def now(self, names: Container[str] | None, verbose: bool) -> dict[str, Any]:
        self.told.append((names, verbose))
        return self.status() or {}

    def resume(self) -> None:
        self.told.append("resume")

    async def preview(self, names: Container[str] | None) -> list[dict[str, Any]]:
        return [{"account": "a", "error": "\x1b[2J", "messages": []}]

    def lines(self, after: int) -> tuple[list[str], int]:
        lines = [f"line {number}\x07" for number in range(1000)]
        return lines[after:], 1000


class FetchOperationsTests(SynchronousTestCase):
    """Each command."""

    def run_(self, fake: Fake | None, command: str, **arguments: Any) -> Any:
        """The result of a command; raises what it raises."""
        work = FetchOperations(fake).commands[command](Arguments(arguments))
        return self.successResultOf(Deferred.fromCoroutine(work))  # type: ignore[arg-type]

    def refused(self, fake: Fake | None, command: str, **arguments: Any) -> OperationError:
        """The error of a command."""
        work = FetchOperations(fake).commands[command](Arguments(arguments))
        failure = self.failureResultOf(Deferred.fromCoroutine(work), OperationError)  # type: ignore[arg-type]
        assert isinstance(failure.value, OperationError)
        return failure.value

    def test_not_there(self) -> None:
        """Without a running bridge, without [popfetch] and with an unknown account each says what is missing."""
        self.assertIn("not running", str(self.refused(None, "fetch status")))
        error = self.refused(Fake(), "fetch now")
        self.assertEqual((error.kind, "no [popfetch]" in str(error)), (Kind.USAGE, True))
        self.assertIn("there is no account 'b'", str(self.refused(Fake(account("a")), "fetch now", accounts=["b"])))
        self.assertIn("unknown argument", str(self.refused(Fake(account("a")), "fetch status", x=1)))

    def test_now(self) -> None:
        """`now` collects what is named and sums up just that, with the failed first."""
        fake = Fake(account("a", fetched=3), account("b", "lost", 4), account("c", fetched=5))
        told = self.run_(fake, "fetch now", accounts=["a", "b"], verbose=True)
        self.assertEqual(fake.told, [({"a", "b"}, True)])
        self.assertEqual([each["account"] for each in told["accounts"]], ["b", "a"])
        self.assertEqual((told["all_accounts"], told["failed"], told["totals"]["fetched"]), (2, 1, 7))
        self.run_(fake, "fetch now")
        self.assertEqual(fake.told[1:], [(None, False)])

    def test_many(self) -> None:
        """An answer has at most 500 accounts, and still counts all."""
        told = self.run_(Fake(*(account(f"a{number}", fetched=1) for number in range(2000))), "fetch status")
        self.assertEqual((len(told["accounts"]), told["all_accounts"], told["totals"]["fetched"]),
                         (MOST_ACCOUNTS, 2000, 2000))

    def test_resume(self) -> None:
        """`resume` is passed on."""
        fake = Fake(account("a"))
        self.run_(fake, "fetch resume")
        self.assertEqual(fake.told, ["resume"])

    def test_plain(self) -> None:
        """Words of strangers move no cursor; lines come page by page."""
        fake = Fake(account("a", "\x1b[31m-ERR"))
        self.assertEqual(self.run_(fake, "fetch status")["accounts"][0]["error"], "\\x1b[31m-ERR")
        self.assertEqual(self.run_(fake, "fetch preview")["accounts"][0]["error"], "\\x1b[2J")
        page = self.run_(fake, "fetch lines", after=10)
        self.assertEqual((page["lines"][0], len(page["lines"]), page["last"]), ("line 10\\x07", 300, 310))
        self.assertEqual(self.run_(fake, "fetch lines", after=1000), {"lines": [], "last": 1000})


class AlarmTests(SynchronousTestCase):
    """When the operator is told in `mailbridge status`."""

    def alarms(self, now: float, *accounts: dict[str, Any], **more: Any) -> list[str]:
        """The texts at that time, of a fetcher that began at 0 with accounts of a period of 300 seconds."""
        status = {**(Fake(*accounts).status() or {}), **more}
        return [alarm.text for alarm in alarms(status, {"a": 300.0}, 0.0, now)]

    def test_stopped(self) -> None:
        """A fetcher that has stopped says how to go on."""
        (text,) = self.alarms(1.0, account("a"), stopped="max_duds", duds_in_a_row=10)
        self.assertIn("10 messages in a row", text)
        self.assertIn("mailbridge fetch resume", text)
        self.assertEqual(alarms(None, {}, 0.0, 1.0), ())

    def test_failing(self) -> None:
        """Three periods without success are an alarm, with the reason; a success ends it."""
        self.assertEqual(self.alarms(899.0, account("a", "login refused")), [])
        self.assertEqual(self.alarms(901.0, account("a", "login refused")), [
            "no mail could be collected from a: login refused"])
        self.assertEqual(self.alarms(901.0, account("a", "login refused", last_success=100.0)), [])

    def test_hanging(self) -> None:
        """A server that never answers is an alarm too; a long collection that goes on is none."""
        (text,) = self.alarms(901.0, account("a", running=True))
        self.assertIn("does not answer", text)
        self.assertEqual(self.alarms(901.0, account("a", fetched=5, running=True)), [])
