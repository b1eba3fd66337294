"""The fetcher: when cycles run, what keeps accounts apart, what stops it."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.fetch.account import Account
from mailbridge.fetch.collection import QUIT_TIME
from mailbridge.fetch.dmailconf import Dial
from mailbridge.fetch.fetcher import DIAL_MINIMUM, MAX_DUDS, Fetcher, Settings
from mailbridge.fetch.link import ALREADY, Hooks, Link
from mailbridge.fetch.recipient import Addressing
from mailbridge.pop3.failure import Kind, UpstreamError
from tests.fetch.bridge_world import BridgeWorld
from tests.fetch.upstream import Mailbox, account, message

NOBODY = Addressing(local=frozenset({"example.org"}))


class FetcherWorld(BridgeWorld):
    """A fetcher of some mailboxes, by host name."""

    def __init__(self, *boxes: Mailbox, dial: tuple[str, ...] = (), accounts: dict[str, Any] | None = None,
                 **changes: Any) -> None:
        super().__init__()
        self.boxes = {box.name: box for box in boxes}
        self.codes: list[int | Deferred[int]] = []
        self.ran: list[tuple[str, ...]] = []
        self.up = 0
        link = Link(Hooks(dial, ("hangup",), Dial(number="123")), self._run, self._came_up)
        self.fetcher = Fetcher(
            [account(box, **(accounts or {})) for box in boxes], Settings(**{"period": 300.0, **changes}), self._open,
            self.way, self.store, self.clock, link,
        )

    def _open(self, of: Account) -> Deferred[Any]:
        return self.boxes[of.upstream.host].open(of)

    def _run(self, argv: Any, environment: dict[str, str], seconds: float) -> Deferred[int]:
        self.ran.append((*argv, *environment))
        code = self.codes.pop(0) if self.codes else 0
        return code if isinstance(code, Deferred) else succeed(code)

    def _came_up(self) -> None:
        self.up += 1

    def close(self) -> None:
        """Stop, and remove the folder."""
        self.fetcher.stop()
        self.clock.advance(QUIT_TIME)
        super().close()


class FetcherTests(SynchronousTestCase):
    """With a clock."""

    def world(self, *boxes: Mailbox, **changes: Any) -> FetcherWorld:
        """A world that is removed at the end."""
        world = FetcherWorld(*boxes, **changes)
        self.addCleanup(world.close)
        return world

    def status(self, world: FetcherWorld, number: int = 0) -> Any:
        """The record of an account."""
        accounts: Any = world.fetcher.status()["accounts"]
        return accounts[number]

    def test_period(self) -> None:
        """The first cycle is at once, the next ones at fixed times from the start."""
        box = Mailbox().fill(1)
        world = self.world(box)
        world.fetcher.start()
        self.assertEqual((box.opened, len(world.mail("bonnie"))), (1, 1))
        self.assertEqual(self.status(world)["next"], world.clock.seconds() + 300)
        world.clock.advance(299)
        self.assertEqual(box.opened, 1)
        world.clock.advance(1)
        self.assertEqual(box.opened, 2)

    def test_late(self) -> None:
        """A cycle that takes longer than the period never runs twice at once, and skips the times it missed."""
        box = Mailbox().fill(1)
        box.hold_in.add("uid1")
        world = self.world(box)
        world.fetcher.start()
        world.clock.advance(700)
        self.assertEqual(box.opened, 1)
        box.hold_in.clear()
        box.held[0].errback(UpstreamError(Kind.TIME, "silent"))
        opened = box.opened
        world.clock.advance(199)
        self.assertEqual(box.opened, opened)
        world.clock.advance(1)
        self.assertEqual(box.opened, opened + 1)

    def test_interval(self) -> None:
        """pf_isinterval counts from the end."""
        box = Mailbox().fill(1)
        box.hold_in.add("uid1")
        world = self.world(box, is_interval=True)
        world.fetcher.start()
        world.clock.advance(250)
        box.hold_in.clear()
        box.messages.clear()
        box.held[0].errback(UpstreamError(Kind.REFUSED, "no"))
        world.clock.advance(299)
        self.assertEqual(box.opened, 1)
        world.clock.advance(1)
        self.assertEqual(box.opened, 2)

    def test_own_interval(self) -> None:
        """An account may have its own time."""
        one, other = Mailbox(name="one.example"), Mailbox(name="other.example")
        world = self.world(one, accounts={"interval": 60.0})
        world.fetcher.start()
        world.clock.pump([60.0] * 4)
        self.assertEqual((one.opened, other.opened), (5, 0))

    def test_independent(self) -> None:
        """One that hangs, one that refuses the login, one with a poison message: the others are collected at once."""
        boxes = [Mailbox(name=f"box{number}.example").fill(3) for number in range(10)]
        boxes[0].hold_in.update(boxes[0].messages)
        boxes[1].error_at_open = UpstreamError(Kind.LOGIN, "the server refused the login")
        boxes[2].cut_in.add("uid2")
        world = self.world(*boxes)
        world.fetcher.start()
        self.assertEqual([len(box.messages) for box in boxes], [3, 3, 1, 0, 0, 0, 0, 0, 0, 0])
        self.assertEqual(self.status(world, 1)["error"], "the server refused the login")
        self.assertTrue(self.status(world, 0)["running"])
        world.clock.advance(300)
        self.assertEqual([box.opened for box in boxes[3:]], [2] * 7)
        self.assertEqual((boxes[0].opened, boxes[1].opened), (1, 2))

    def test_parallel(self) -> None:
        """At most so many accounts at once."""
        boxes = [Mailbox(name=f"box{number}.example").fill(1) for number in range(5)]
        for box in boxes:
            box.hold_in.update(box.messages)
        world = self.world(*boxes, parallel=2)
        world.fetcher.start()
        self.assertEqual(sum(box.opened for box in boxes), 2)
        boxes[0].held[0].errback(UpstreamError(Kind.LOST, "lost"))
        self.assertGreaterEqual(sum(bool(box.opened) for box in boxes), 2)
        self.successResultOf(self.stop(world))
        self.assertEqual(sum(bool(box.opened) for box in boxes), 2)

    def stop(self, world: FetcherWorld) -> Deferred[None]:
        """Stop it and let the time for that pass."""
        stopping = world.fetcher.stop()
        world.clock.advance(QUIT_TIME)
        return stopping

    def test_wait(self) -> None:
        """A server that cannot be reached is tried once more after pf_wait, and then not before its time."""
        box = Mailbox(error_at_open=UpstreamError(Kind.CONNECT, "refused"))
        world = self.world(box)
        world.fetcher.start()
        world.clock.advance(39)
        self.assertEqual(box.opened, 1)
        world.clock.advance(1)
        self.assertEqual(box.opened, 2)
        world.clock.advance(259)
        self.assertEqual((box.opened, self.status(world)["error"]), (2, "refused"))
        world.clock.advance(1)
        self.assertEqual(box.opened, 3)
        self.successResultOf(self.stop(world))
        self.assertEqual(world.clock.getDelayedCalls(), [])

    def test_retry_delay(self) -> None:
        """After a failure pf_retry_delay makes an extra cycle, before the regular one; a refused login does not."""
        box = Mailbox(error_at_open=UpstreamError(Kind.CONNECT, "refused"))
        world = self.world(box, retry_delay=60.0, wait=0.0)
        world.fetcher.start()
        world.clock.advance(0)
        world.clock.advance(60)
        world.clock.advance(0)
        self.assertEqual(box.opened, 4)
        box.error_at_open = UpstreamError(Kind.LOGIN, "no")
        world.clock.advance(60)
        world.clock.advance(179)
        self.assertEqual(box.opened, 5)
        world.clock.advance(1)
        self.assertEqual(box.opened, 6)

    def test_now(self) -> None:
        """`fetch` collects at once, one account or all, and tells when it is done; the timer goes on."""
        one, other = Mailbox(name="one.example"), Mailbox(name="other.example")
        world = self.world(one, other)
        world.fetcher.start()
        world.clock.advance(100)
        status: Any = self.successResultOf(world.fetcher.now(["bob@one.example"]))
        self.assertEqual((one.opened, other.opened, len(status["accounts"])), (2, 1, 2))
        self.successResultOf(world.fetcher.now())
        self.assertEqual((one.opened, other.opened), (3, 2))
        world.clock.advance(200)
        self.assertEqual((one.opened, other.opened), (4, 3))

    def test_now_alone(self) -> None:
        """Without the timer one cycle runs and no other is planned: fetch --test."""
        box = Mailbox().fill(2)
        world = self.world(box)
        self.successResultOf(world.fetcher.now())
        self.assertEqual((box.opened, world.clock.getDelayedCalls(), self.status(world)["next"]), (1, [], None))

    def test_now_while_running(self) -> None:
        """A cycle that runs already is waited for."""
        box = Mailbox().fill(1)
        box.hold_in.add("uid1")
        world = self.world(box)
        world.fetcher.start()
        asked = world.fetcher.now()
        self.assertNoResult(asked)
        self.successResultOf(self.stop(world))
        self.successResultOf(asked)
        self.assertEqual(box.opened, 1)

    def test_max_duds(self) -> None:
        """So many duds in a row stop the fetcher, the last one on the disk and deleted, until it is told to go on."""
        box = Mailbox(messages={f"u{number}": message(number, b"no@example.org") for number in range(5)})
        world = self.world(box, max_duds=5, accounts={"addressing": NOBODY})
        world.fetcher.start()
        status = world.fetcher.status()
        self.assertEqual((status["stopped"], status["running"], status["duds"]), (MAX_DUDS, False, 5))
        self.assertEqual((box.messages, world.dud_file().count(b"X-POPFetch-Dud")), ({}, 5))
        world.clock.advance(3000)
        self.successResultOf(world.fetcher.now())
        self.assertEqual(box.opened, 1)
        world.fetcher.resume()
        self.assertEqual((box.opened, world.fetcher.status()["stopped"], world.fetcher.duds_in_a_row), (2, "", 0))
        world.clock.advance(300)
        self.assertEqual(box.opened, 3)

    def test_row_is_broken(self) -> None:
        """A delivery between duds begins the row anew, and a dud of which somebody has the message does not count."""
        messages = {f"u{n}": message(n, b"no@example.org" if n % 3 else b"bonnie@example.org") for n in range(12)}
        messages["both"] = message(99, b"bonnie@example.org, no@example.org")
        world = self.world(Mailbox(messages=messages), max_duds=3, accounts={"addressing": NOBODY})
        world.fetcher.start()
        self.assertEqual((world.fetcher.stopped, world.fetcher.duds, world.fetcher.duds_in_a_row), ("", 9, 2))

    def test_twice(self) -> None:
        """An account cannot be there twice."""
        self.assertRaises(ValueError, FetcherWorld, Mailbox(), Mailbox())

    def test_stop(self) -> None:
        """A stop ends sessions, gives up waiting and leaves no timer."""
        box = Mailbox().fill(1)
        box.hold_in.add("uid1")
        world = self.world(box, Mailbox(name="b", error_at_open=UpstreamError(Kind.CONNECT, "x")), Mailbox(name="c"))
        world.fetcher.start()
        stopping = world.fetcher.stop()
        self.assertNoResult(stopping)
        world.clock.advance(QUIT_TIME)
        self.successResultOf(stopping)
        self.assertEqual(world.clock.getDelayedCalls(), [])
        self.assertFalse(world.fetcher.status()["running"])


class DialTests(SynchronousTestCase):
    """With a line that has to be made."""

    def setUp(self) -> None:
        self.boxes = [Mailbox(name=f"box{number}.example").fill(1) for number in range(3)]
        self.fetched = FetcherWorld(*self.boxes, dial=("dial", "x"), period=60.0, retry_delay=1.0)
        self.addCleanup(self.fetched.close)

    def test_dials(self) -> None:
        """The line is dialled once for all accounts and hung up after the last; then not for five minutes."""
        world = self.fetched
        line: Deferred[int] = Deferred()
        world.codes.append(line)
        world.fetcher.start()
        self.assertEqual(([box.opened for box in self.boxes], world.ran), ([0, 0, 0], [("dial", "x", "RAS_NUMBER")]))
        line.callback(0)
        self.assertEqual(([box.opened for box in self.boxes], world.up), ([1, 1, 1], 1))
        self.assertEqual(world.ran[-1], ("hangup", "RAS_NUMBER"))
        self.assertEqual(len(world.ran), 2)
        world.clock.advance(DIAL_MINIMUM - 1)
        self.assertEqual(len(world.ran), 2)
        world.clock.advance(1)
        self.assertEqual(len(world.ran), 8)

    def test_connected_already(self) -> None:
        """A line that another program has made is used, and not hung up."""
        self.fetched.codes.append(ALREADY)
        self.fetched.codes.append(ALREADY)
        self.fetched.codes.append(ALREADY)
        self.fetched.fetcher.start()
        self.assertNotIn("hangup", [command[0] for command in self.fetched.ran])
        self.assertEqual([box.opened for box in self.boxes], [1, 1, 1])

    def test_no_line(self) -> None:
        """A dial command that fails is one failure for all who wait, and not repeated before its time."""
        world = self.fetched
        line: Deferred[int] = Deferred()
        world.codes.append(line)
        world.fetcher.start()
        line.callback(1)
        self.assertEqual((len(world.ran), world.up, [box.opened for box in self.boxes]), (1, 0, [0, 0, 0]))
        accounts: Any = world.fetcher.status()["accounts"]
        self.assertIn("dial", accounts[2]["error"])
        world.clock.advance(DIAL_MINIMUM - 1)
        self.assertEqual(len(world.ran), 1)
