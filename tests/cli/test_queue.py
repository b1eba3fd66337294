"""`mailbridge queue` and `clearqueue`: what they ask, what they print, what they ask before."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.messages import OperationError
from mailbridge.admin.queue import EVERYTHING
from mailbridge.cli import queue
from mailbridge.cli.main import main, parser
from mailbridge.cli.queuetable import span
from mailbridge.cli.user import Terminal
from mailbridge.config.load import load_text
from mailbridge.store.changes import LaneState
from tests.admin.queue_world import QueueWorld

RELAY = '[relay.office]\nservers = ["smtp.example.org"]\ndefault = true\n'


class QueueCommandTests(SynchronousTestCase):
    """Commands on a queue in memory, with the operations that a bridge would carry out."""

    def setUp(self) -> None:
        self.world = QueueWorld()
        self.asked: list[str] = []

    async def ask(self, command: str, arguments: dict[str, Any]) -> Any:
        self.asked.append(command)
        return await self.world.ask(command, arguments)

    def run_command(self, line: str, work: Callable[..., Awaitable[int]], *more: Any) -> tuple[int, str, str]:
        """(exit code, output, error output) of a command line."""
        args = parser().parse_args(line.split())
        args.json = getattr(args, "json", False)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code: int = self.successResultOf(Deferred.fromCoroutine(work(args, self.ask, *more)))  # type: ignore[arg-type]
        return code, out.getvalue().rstrip(), err.getvalue().rstrip()

    def typed(self, answer: str | None) -> Terminal:
        """A terminal at which `answer` is typed, or where nobody is; keeps the question."""

        def line(prompt: str) -> str:
            self.question = prompt
            if answer is None:
                raise EOFError
            return answer

        return Terminal(line, line, lambda most: b"")

    def left(self) -> int:
        """How many deliveries there are."""
        return len(self.world.done(self.world.store.queue(EVERYTHING, 0, 1000)))

    def test_list(self) -> None:
        """A row for each delivery under a heading, oldest first, with everything cut to its column."""
        self.world.some()
        self.world.accept("dddd", "a\u202e@example.org", ("z" * 60 + "@one.example", "relay:mx", "one.example"))
        code, out, _ = self.run_command("queue list", queue.list_entries)
        heading, first, *_, last = out.splitlines()
        self.assertEqual((0, 6), (code, len(out.splitlines())))
        self.assertEqual("ID AGE STATE TRIES NEXT TRY ROUTE SENDER RECIPIENT LAST ANSWER", " ".join(heading.split()))
        self.assertEqual("aaaa 2 min waiting 0 due relay:office bonnie@example.org x@one.example -",
                         " ".join(first.split()))
        self.assertNotIn("\u202e", out)
        self.assertIn("a\\u202e@example.org", last)
        self.assertEqual(heading.index("LAST ANSWER"), len(last) - 1)

    def test_list_in_pages(self) -> None:
        """A long queue is asked for page by page, under one heading; --limit ends it early."""
        self.world.accept("aaaa", "a@b", *((f"u{number}@x", "relay:mx", "x") for number in range(queue.PAGE + 10)))
        for line, rows, pages in (("queue list", queue.PAGE + 10, 2), ("queue list --limit 3", 3, 1),
                                  (f"queue list --limit {queue.PAGE + 1}", queue.PAGE + 1, 2)):
            self.asked.clear()
            _, out, _ = self.run_command(line, queue.list_entries)
            self.assertEqual((rows + 1, pages, 1), (len(out.splitlines()), len(self.asked), out.count("RECIPIENT")))

    def test_list_as_json(self) -> None:
        """With --json each delivery is an object on a line of its own; nothing is nothing."""
        self.assertEqual((0, "", ""), self.run_command("queue list --json", queue.list_entries))
        self.assertEqual("nothing waits", self.run_command("queue list", queue.list_entries)[1])
        self.world.some()
        lines = self.run_command("--json queue list --sender <>", queue.list_entries)[1].splitlines()
        self.assertEqual(["bbbb"], [json.loads(line)["queue_id"] for line in lines])

    def test_show(self) -> None:
        """One message with each delivery and its header."""
        self.world.some()
        _, out, _ = self.run_command("queue show aaaa", queue.show_message)
        for words in ("sender    bonnie@example.org", "received  2 min ago", "peer 10.0.0.1", "recipient y@two.example",
                      "  state     waiting, 0 tries, next due", "  Subject: \\x1b[31mred"):
            self.assertIn(words, out)

    def test_stats(self) -> None:
        """Totals, alarms with their remedy, then the routes."""
        self.world.some()
        self.world.set_lane("relay:office", LaneState.PAUSED, "535 5.7.8 no")
        _, out, _ = self.run_command("queue stats", queue.stats)
        total, alarm, _, first, *_ = out.splitlines()
        self.assertEqual("4 deliveries wait, the oldest for 2 min", total)
        self.assertTrue(alarm.startswith("ALARM: relay:office is paused: 535 5.7.8 no; 2 deliveries wait"), alarm)
        self.assertEqual(["relay:office", "paused", "2", "due", "535", "5.7.8", "no"], first.split())

    def test_changes(self) -> None:
        """Each change tells how many it touched; the exit code is 1 when it was none."""
        self.world.some()
        for line, code, words in (
            ("queue hold --id aaaa", 0, "2 deliveries are held"), ("queue release --all", 0, "2 deliveries are rel"),
            ("queue retry --target relay:mx --destination one.example", 0, "1 delivery is due now"),
            ("queue hold --recipient nobody@x", 1, "0 deliveries"),
            ("queue pause --target relay:mx --reason works", 0, "2 routes are paused"),
            ("queue resume --all", 0, "2 routes are open"),
        ):
            told = self.run_command(line, queue.change_selected)
            self.assertEqual((code, True), (told[0], told[1].startswith(words)), told)
        told = self.run_command("queue reroute --all --to relay:office --to-destination x", queue.reroute)
        self.assertTrue(told[1].startswith("4 deliveries are put on the other way"), told)

    def test_remove_asks(self) -> None:
        """Removing asks first and says how many; anything but yes removes nothing."""
        self.world.some()
        for answer in ("n", "", None, "yess"):
            code, _, err = self.run_command("queue remove --id aaaa", queue.remove, self.typed(answer))
            self.assertEqual((1, 4, True), (code, self.left(), "nothing was removed" in err))
        self.assertEqual("remove 2 deliveries for good, telling nobody? [y/N] ", self.question)
        self.assertEqual((0, "2 deliveries are removed", ""),
                         self.run_command("queue remove --id aaaa", queue.remove, self.typed("Y")))
        self.assertEqual(2, self.left())

    def test_remove_nothing(self) -> None:
        """Where nothing is meant there is no question."""
        code, out, _ = self.run_command("queue remove --id aaaa", queue.remove)
        self.assertEqual((1, "nothing that waits is meant by that"), (code, out))

    def test_clearqueue(self) -> None:
        """`clearqueue` removes everything, after a question or with --yes without one."""
        self.world.some()
        self.assertEqual(1, self.run_command("clearqueue", queue.remove, self.typed("n"))[0])
        self.assertEqual("remove 4 deliveries for good, telling nobody? [y/N] ", self.question)
        self.assertEqual("4 deliveries are removed", self.run_command("clearqueue --yes", queue.remove)[1])
        self.assertEqual(0, self.left())

    def test_selection_is_needed(self) -> None:
        """A change of everything has to be said."""
        args = parser().parse_args(["queue", "remove", "--yes"])
        args.json = False
        self.failureResultOf(Deferred.fromCoroutine(queue.remove(args, self.ask)), OperationError)

    def test_reroute_to_nowhere(self) -> None:
        """Mail is not sent a way that the configuration does not have; those that it has are named."""
        config = load_text('hostname = "b.example.org"\n' + RELAY, "x.toml", Path("/nowhere"))
        args = parser().parse_args(["queue", "reroute", "--all", "--to", "relay:ofice"])
        self.assertIn("relay:office", str(self.assertRaises(OperationError, queue.known_target, args, config)))
        queue.known_target(parser().parse_args(["queue", "reroute", "--all", "--to", "relay:office"]), config)

    def test_no_store_yet(self) -> None:
        """Looking makes no store: before the first start there is nothing, and nothing is made."""
        path = Path(self.mktemp())
        path.write_text('hostname = "b.example.org"\nstate = "no-such-state"\n')
        err = io.StringIO()
        with redirect_stderr(err):
            self.assertEqual(0, main(["--config", str(path), "queue", "list"]))
        self.assertIn("nothing waits", err.getvalue())
        self.assertFalse((path.parent / "no-such-state").exists())

    def test_spans(self) -> None:
        """Short times are told in seconds."""
        for seconds, text in ((5.0, "5 s"), (119.0, "119 s"), (120.0, "2 min"), (7200.0, "2 h 0 min")):
            self.assertEqual(text, span(seconds))
