"""The operator's commands on the queue."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.messages import Answer, Kind, OperationError, encode_answer
from mailbridge.store.changes import LaneState, Reroute, Selection
from tests.admin.queue_world import NOW, QueueWorld


class QueueTests(SynchronousTestCase):
    """Commands on a store in memory."""

    def setUp(self) -> None:
        self.world = QueueWorld()

    def ask(self, command: str, **arguments: Any) -> Any:
        result = self.successResultOf(Deferred.fromCoroutine(self.world.ask(command, arguments)))
        encode_answer(Answer(1, result))  # it must pass the control socket
        return result

    def refused(self, command: str, **arguments: Any) -> OperationError:
        error: OperationError = self.failureResultOf(
            Deferred.fromCoroutine(self.world.ask(command, arguments)), OperationError
        ).value
        return error

    def recipients(self, **selection: Any) -> list[str]:
        return [entry["recipient"] for entry in self.ask("queue list", **selection)["entries"]]

    def states(self) -> list[str]:
        return [entry["state"] for entry in self.ask("queue list")["entries"]]

    def test_empty(self) -> None:
        """An empty queue has no entries, no alarms and no oldest message."""
        self.assertEqual({"now": NOW, "entries": [], "next": None}, self.ask("queue list"))
        told = self.ask("queue stats")
        self.assertEqual((0, None, [], []), tuple(told[key] for key in ("waiting", "oldest", "alarms", "lanes")))

    def test_selections(self) -> None:
        """What is selected must match in everything that is given, letters in any case."""
        self.world.some()
        one, two, three, four = everything = self.recipients()
        for selection, expected in (
            ({}, everything), ({"id": "aaaa"}, [one, two]), ({"recipient": "X@ONE.example"}, [one]),
            ({"recipient": "@one.example"}, [one, three]), ({"sender": "bonnie@example.org"}, [one, two]),
            ({"sender": "<>"}, [three]), ({"sender": ""}, [three]), ({"sender": "@example.org"}, [one, two, four]),
            ({"target": "relay:mx"}, [three, four]), ({"destination": "TWO.example"}, [four]),
            ({"id": "aaaa", "recipient": "@two.example"}, [two]), ({"id": "bbbb", "target": "relay:office"}, []),
        ):
            self.assertEqual(expected, self.recipients(**selection), selection)
            if selection:
                self.assertEqual({"count": len(expected)}, self.ask("queue count", **selection))

    def test_pages(self) -> None:
        """The queue is read in pages; the last one has no next."""
        self.world.some()
        found, after, pages = [], 0, 0
        while after is not None:
            page = self.ask("queue list", after=after, limit=3)
            found += [entry["recipient"] for entry in page["entries"]]
            after, pages = page["next"], pages + 1
        self.assertEqual((self.recipients(), 2), (found, pages))

    def test_counting_beyond_a_page(self) -> None:
        """Counting goes through all pages."""
        self.world.accept("aaaa", "a@b", *((f"u{number}@x", "relay:mx", "x") for number in range(1001)))
        self.assertEqual({"count": 1001}, self.ask("queue count", all=True))

    def test_show(self) -> None:
        """A message is shown with its deliveries and its header, in which nothing can hurt a terminal."""
        self.world.some()
        told = self.ask("queue show", id="aaaa")
        self.assertEqual(["Subject: \\x1b[31mred", "To: a@b"], told["header"])
        self.assertEqual(("bonnie@example.org", "10.0.0.1", 2, False),
                         (told["sender"], told["origin"]["peer"], len(told["deliveries"]), told["more"]))
        self.assertIn("queue list", str(self.refused("queue show", id="nope")))

    def test_long_header(self) -> None:
        """Of a long header the beginning is shown, and that it goes on."""
        for head in (b"X: y\r\n" * 300, b"X: " + b"y" * 100_000 + b"\r\n"):
            self.world.accept(f"id{len(head)}", "a@b", ("a@x", "relay:mx", "x"), message=head + b"\r\nbody")
            shown = self.ask("queue show", id=f"id{len(head)}")["header"]
            self.assertEqual("...", shown[-1])
            self.assertLess(sum(map(len, shown)), 110_000)
            self.assertLessEqual(max(map(len, shown)), 500)

    def test_nothing_selected(self) -> None:
        """A change needs a selection or `all`, and not both; nothing is touched otherwise."""
        self.world.some()
        for command in ("hold", "release", "retry", "remove", "count", "pause", "resume"):
            self.assertEqual(Kind.USAGE, self.refused(f"queue {command}").kind)
            self.assertEqual(Kind.USAGE, self.refused(f"queue {command}", all=True, target="relay:mx").kind)
        self.assertEqual(Kind.USAGE, self.refused("queue reroute", to="relay:x").kind)
        self.assertEqual(["waiting"] * 4, self.states())

    def test_wrong_arguments(self) -> None:
        """What is no address, no route or no number is named."""
        for command, arguments, named in (
            ("list", {"recipient": "a b"}, "recipient"), ("list", {"sender": "@"}, "sender"),
            ("list", {"limit": 0}, "limit"), ("list", {"limit": 1001}, "limit"), ("list", {"after": "x"}, "after"),
            ("list", {"after": True}, "after"), ("list", {"frob": 1}, "frob"), ("list", {"id": 3}, "id"),
            ("reroute", {"to": "rm -rf", "all": True}, "rm -rf"), ("reroute", {"all": True}, "to"),
            ("pause", {"recipient": "a@b"}, "target"),
        ):
            error = self.refused(f"queue {command}", **arguments)
            self.assertEqual((Kind.USAGE, True), (error.kind, named in str(error)), error)

    def test_hold_and_release(self) -> None:
        """What is held is not tried until it is released."""
        self.world.some()
        self.assertEqual({"count": 2}, self.ask("queue hold", id="aaaa"))
        self.assertEqual(["held", "held", "waiting", "waiting"], self.states())
        self.assertEqual({"count": 1}, self.ask("queue release", recipient="x@one.example"))
        self.assertEqual(["waiting", "held", "waiting", "waiting"], self.states())
        self.assertEqual({"count": 1}, self.ask("queue release", all=True))

    def test_retry_ends_a_pause(self) -> None:
        """What is retried is due now, and a route that had paused itself flows again."""
        self.world.some()
        self.world.set_lane("relay:mx", LaneState.PAUSED, "535 no")
        self.assertEqual({"count": 2}, self.ask("queue retry", target="relay:mx"))
        told = self.ask("queue stats")
        self.assertEqual(([], {"open"}), (told["alarms"], {lane["state"] for lane in told["lanes"]}))

    def test_reroute(self) -> None:
        """Mail takes another way out; the destination stays unless another is named."""
        self.world.some()
        self.assertEqual({"count": 2}, self.ask("queue reroute", target="relay:mx", to="relay:backup"))
        self.ask("queue reroute", id="aaaa", to="relay:backup", to_destination="hub.example")
        ways = [(entry["target"], entry["destination"]) for entry in self.ask("queue list")["entries"]]
        self.assertEqual([("relay:backup", "hub.example")] * 2
                         + [("relay:backup", "one.example"), ("relay:backup", "two.example")], ways)

    def test_remove(self) -> None:
        """What is removed is gone, the rest stays."""
        self.world.some()
        self.assertEqual({"count": 2}, self.ask("queue remove", recipient="@two.example"))
        self.assertEqual(["x@one.example", "clyde@one.example"], self.recipients())
        self.assertEqual({"count": 2}, self.ask("queue remove", all=True))
        self.assertEqual([], self.recipients())

    def test_pause_and_resume(self) -> None:
        """A paused route keeps its reason and raises no alarm, until it is resumed."""
        self.world.some()
        self.assertEqual({"count": 2}, self.ask("queue pause", target="RELAY:mx", reason="maintenance"))
        lanes = self.ask("queue stats")["lanes"]
        self.assertEqual([("held", "maintenance"), ("held", "maintenance"), ("open", "")],
                         [(lane["state"], lane["reason"]) for lane in lanes])
        self.assertEqual([], self.ask("queue stats")["alarms"])
        self.assertEqual({"count": 1}, self.ask("queue resume", destination="one.example"))
        self.assertEqual({"count": 1}, self.ask("queue resume", all=True))

    def test_stats(self) -> None:
        """Routes that do not flow come first, then those with most waiting; the oldest message is told."""
        self.world.some()
        self.world.set_lane("relay:mx", LaneState.PAUSED, "535 5.7.8 wrong \x1bpassword")
        told = self.ask("queue stats")
        self.assertEqual((4, NOW), (told["waiting"], told["oldest"]))
        self.assertEqual([("relay:mx", 1), ("relay:mx", 1), ("relay:office", 2)],
                         [(lane["target"], lane["waiting"]) for lane in told["lanes"]])
        (alarm,) = told["alarms"]
        self.assertEqual(NOW + 60, alarm["since"])
        for words in ("relay:mx is paused for 2 destinations", "535 5.7.8 wrong \\x1bpassword", "2 deliveries wait",
                      "[relay.mx]", "`mailbridge queue retry --target relay:mx`"):
            self.assertIn(words, alarm["text"])

    def test_alarm_of_the_oce(self) -> None:
        """The remedy names the table of the configuration."""
        self.world.some()
        self.successResultOf(self.world.store.commit(Reroute(Selection(), "oce")))
        self.world.set_lane("oce", LaneState.PAUSED, "KILL")
        (alarm,) = self.ask("queue stats")["alarms"]
        self.assertIn("correct [oce] in the", alarm["text"])

    def test_alarm_of_an_empty_route(self) -> None:
        """A paused route for which nothing waits is told, but holds nothing up."""
        self.world.some()
        self.world.set_lane("relay:office", LaneState.PAUSED, "")
        self.ask("queue remove", id="aaaa")
        (alarm,) = self.ask("queue stats")["alarms"]
        self.assertEqual((NOW + 120, True), (alarm["since"], "0 deliveries" in alarm["text"]))
