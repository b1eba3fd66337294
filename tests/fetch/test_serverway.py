"""Fetched mail to an SMTP server: every row of POPFetch's table of outcomes, kills at each step, msg.dat."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.edge.sending import Manner, Server
from mailbridge.errors import StoreError
from mailbridge.fetch.collection import QUIT_TIME, Collection
from mailbridge.fetch.cycle import Cycle
from mailbridge.fetch.duds import Duds
from mailbridge.fetch.recipient import Addressing
from mailbridge.fetch.serverway import CORRUPT, MOST_WAKES, ServerWay, Surroundings
from mailbridge.fetch.spool import DONE, Spool
from mailbridge.fetch.transaction import LocalServer
from mailbridge.fetch.wayin import End, Fate, Stop
from mailbridge.store.memory import MemoryStore
from mailbridge.testing.acting import Close, Script
from mailbridge.testing.hostile import HostileFactory, ehlo
from mailbridge.testing.network import Network
from tests.fetch.upstream import ADDRESSING, Mailbox, account, message

TWO = b"bonnie@example.org, nobody@example.org"
REFUSED: Script = {"RCPT TO:<nobody": (b"550 5.1.1 no such user\r\n",)}
NO_CARETAKER = evolve(ADDRESSING, caretaker=None)


class ServerWorld:
    """A POP mailbox, an SMTP server with a script, and a fetcher's way between them."""

    def __init__(self, script: Script | None = None, how: Addressing = ADDRESSING, **messages: bytes) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.network = Network()
        self.network.rightNow = 1_763_730_000.0
        self.server = HostileFactory(self.network, script or {})
        self.network.servers["smtp.local", 25] = self.server
        self.store = MemoryStore(self.network)
        self.box = Mailbox(messages=dict(messages))
        self.how = how
        self.fates: list[Fate] = []
        self.start()

    def start(self) -> None:
        """A new process: nothing is known but what is on the disk and in the store."""
        network = self.network
        caretaker = self.how.caretaker
        self.duds = Duds(self.folder, maybeDeferred, network.seconds)
        self.spool = Spool(self.folder, maybeDeferred)
        local = LocalServer(network, Server("smtp.local", 25, "off"), Manner("us.example"))
        self.way = ServerWay(Surroundings(
            local, self.spool, self.duds, self.store, "us.example", network.seconds, lambda size: b"r" * size,
            lambda name: caretaker.text if caretaker is not None else None,
        ))
        self.collection = Collection(account(self.box, addressing=self.how), self.box.open, self.way, self.store,
                                     network, self.fates.append)
        self.cycle = Cycle([self.collection], self.way, network, 0.0, self.fates.append)

    def run(self) -> bool:
        """One cycle; whether it ended well."""
        result: list[Any] = []
        self.cycle.begin()
        Deferred.fromCoroutine(self.cycle.run()).addBoth(result.append)
        for _ in range(3):
            self.network.settle()
            if not result:
                self.network.advance(600)
        assert result, "the cycle has not ended"
        if isinstance(result[0], Failure):
            result[0].raiseException()
        well: bool = result[0]
        return well

    def script(self, **script: Any) -> None:
        """What the server does from now on."""
        self.server.script = {name.replace("__", " "): actions for name, actions in script.items()}

    def taken(self) -> list[tuple[list[str], bytes]]:
        """(recipients, content) of each message whose end the server has seen, but for transactions given up."""
        return [([line.decode().split("<")[1].rstrip(">") for line in envelope if line.startswith(b"RCPT")], content)
                for envelope, content in self.server.messages if content]

    def state(self) -> Any:
        """What msg.state says."""
        return self.spool._load()[0]

    def clean(self) -> bool:
        """Whether nothing is left in the folder."""
        return sorted(path.name for path in self.folder.iterdir()) in ([], ["duds.dat"])

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


class OutcomeTests(SynchronousTestCase):
    """The table."""

    def world(self, script: Script | None = None, how: Addressing = ADDRESSING, **messages: bytes) -> ServerWorld:
        """A world with one message for bonnie, if none is given."""
        world = ServerWorld(script, how, **(messages or {"a": message(1)}))
        self.addCleanup(world.close)
        return world

    def test_delivered(self) -> None:
        """250: the server has the octets as they were fetched, under their own sender; then they are deleted."""
        world = self.world(a=message(1), b=message(2), c=message(3))
        self.assertTrue(world.run())
        self.assertEqual(world.taken(), [(["bonnie@example.org"], message(n)) for n in (1, 2, 3)])
        self.assertEqual(world.server.messages[0][0][0].split()[1], b"FROM:<a@out.example>")
        self.assertEqual((world.box.messages, len(world.server.sessions)), ({}, 1))
        self.assertTrue(world.clean())
        self.assertEqual(world.server.commands[-1], b"QUIT")

    def test_stop(self) -> None:
        """No connection, a drop, 421 or 4yz anywhere: everything is closed, msg.dat kept, nothing deleted or lost."""
        for script in (
            {"connect": (Close(),)}, {"connect": (b"554 go away\r\n",)}, {"EHLO": (b"421 4.3.0 later\r\n", Close())},
            {"MAIL": (b"451 4.3.0 later\r\n",)}, {"RCPT": (b"421 4.3.0 later\r\n", Close())},
            {"DATA": (b"451 4.3.0 later\r\n",)}, {"DATA": (Close(),)}, {"content": (Close(),)},
            {"end": (b"451 4.3.0 later\r\n",)}, {"end": (b"452 4.3.1 full\r\n",)}, {"end": (Close(),)},
            {"end": ()}, {"connect": (b"nonsense\r\n",)},
        ):
            world = self.world(script, a=message(1), b=message(2))  # type: ignore[arg-type]
            self.assertFalse(world.run(), script)
            self.assertEqual((list(world.box.messages), len(world.box.retrieved)), (["a", "b"], 1), script)
            self.assertEqual((world.spool.message.read_bytes(), world.fates), (message(1), []))
            self.assertEqual(world.box.aborted + world.box.quits, 1)
            world.script()
            world.server.messages.clear()
            world.start()
            self.assertTrue(world.run(), script)
            self.assertEqual(world.taken(), [(["bonnie@example.org"], message(n)) for n in (1, 2)], script)
            self.assertEqual((world.box.messages, world.box.retrieved), ({}, ["a", "b"]))
            self.assertTrue(world.clean())

    def test_all_refused(self) -> None:
        """RCPT 5yz for all: the caretaker has it, from <>."""
        world = self.world(REFUSED, a=message(1, b"nobody@example.org"))
        self.assertTrue(world.run())
        [[recipients, content]] = world.taken()
        self.assertEqual(recipients, ["clyde@example.org"])
        self.assertIn(b"nobody@example.org\r\n    550 5.1.1 no such user", content)
        self.assertIn(b"MAIL FROM:<> ", world.server.messages[-1][0][0])
        self.assertEqual([fate.end for fate in world.fates], [End.CARETAKER])

    def test_some_refused(self) -> None:
        """RCPT 5yz for some: the others have it, and the caretaker one message for all the refused."""
        world = self.world(REFUSED, a=message(1, TWO))
        self.assertTrue(world.run())
        self.assertEqual([recipients for recipients, _ in world.taken()],
                         [["bonnie@example.org", "nobody@example.org"], ["clyde@example.org"]])
        self.assertIn(b"It was delivered to:\r\n  bonnie@example.org", world.taken()[1][1])
        self.assertEqual([fate.end for fate in world.fates], [End.DELIVERED])

    def test_some_put_off(self) -> None:
        """RCPT 4yz for some: the others have it once; those put off are tried alone, five times, then refused."""
        world = self.world({"RCPT TO:<nobody": (b"451 4.2.1 later\r\n",)}, a=message(1, TWO), b=message(2))
        for wake in range(1, MOST_WAKES):
            world.start()
            self.assertFalse(world.run())
            self.assertEqual((world.state().waiting, world.state().wakes), (("nobody@example.org",), wake))
        world.start()
        self.assertTrue(world.run())
        self.assertEqual([recipients for recipients, _ in world.taken()],
                         [["bonnie@example.org", "nobody@example.org"], ["clyde@example.org"], ["bonnie@example.org"]])
        self.assertIn(b"451 4.2.1 later", world.taken()[1][1])
        self.assertEqual(world.box.messages, {})

    def test_message_refused(self) -> None:
        """MAIL or the last dot 5yz: nobody has it, the caretaker gets it once; refused for him too it is a dud."""
        for event in ("MAIL FROM:<a@", "DATA", "end"):
            refuse: Script = {event: (b"554 5.6.0 not this\r\n",)}
            world = self.world(refuse)
            world.run()
            if event == "MAIL FROM:<a@":
                self.assertEqual([recipients for recipients, _ in world.taken()], [["clyde@example.org"]])
                self.assertEqual([fate.end for fate in world.fates], [End.CARETAKER])
            else:
                self.assertEqual([fate.end for fate in world.fates], [End.DUD])
                self.assertIn(b"the caretaker: 554 5.6.0 not this", world.duds.path.read_bytes())
            self.assertEqual(world.box.messages, {})
            self.assertTrue(world.clean())

    def test_no_caretaker(self) -> None:
        """No caretaker: a dud; it does not count when others have the message."""
        for to, row in ((b"nobody@example.org", True), (TWO, False)):
            world = self.world(REFUSED, NO_CARETAKER, a=message(1, to))
            self.assertTrue(world.run())
            self.assertEqual([(fate.end, fate.row) for fate in world.fates], [(End.DUD, row)])
            self.assertIn(b"To: " + to, world.duds.path.read_bytes())

    def test_caretaker_put_off(self) -> None:
        """The caretaker 4yz or lost: Stop, and the next time only he is tried."""
        for answer in ((b"451 4.2.1 later\r\n",), (Close(),)):
            world = self.world({**REFUSED, "RCPT TO:<clyde": answer}, a=message(1, TWO))
            self.assertFalse(world.run())
            self.assertEqual((world.state().stage, world.state().done), ("caretaker", ("bonnie@example.org",)))
            world.server.script = REFUSED
            world.start()
            self.assertTrue(world.run())
            self.assertEqual([recipients for recipients, _ in world.taken()][-1], ["clyde@example.org"])
            self.assertEqual(sum("bonnie@example.org" in recipients for recipients, _ in world.taken()), 1)

    def test_no_message(self) -> None:
        """Empty, or without a header: a dud."""
        for octets in (b"", b"only text\r\n"):
            world = self.world(a=octets)
            self.assertTrue(world.run())
            self.assertEqual(world.fates, [Fate(End.DUD, CORRUPT)])
            self.assertEqual((world.taken(), world.box.messages), ([], {}))

    def test_damaged(self) -> None:
        """A damaged msg.dat is a dud for people to see; the message is fetched anew."""
        for damage in (b"", b"x", message(1)[:-1]):
            world = self.world({"MAIL": (b"451 later\r\n",)})
            world.run()
            world.spool.message.write_bytes(damage)
            world.script()
            world.start()
            self.assertTrue(world.run())
            self.assertEqual([fate.end for fate in world.fates], [End.DUD, End.DELIVERED])
            self.assertEqual(world.taken(), [(["bonnie@example.org"], message(1))])
            self.assertTrue(world.clean())

    def test_missing(self) -> None:
        """A msg.dat or msg.state that is gone, or a state that is nonsense, costs nothing: it is fetched anew."""
        for name, octets in (("msg.dat", None), ("msg.state", None), ("msg.state", b"{}"), ("msg.state", b"\xff[")):
            world = self.world({"MAIL": (b"451 later\r\n",)})
            world.run()
            path = world.folder / name
            path.unlink() if octets is None else path.write_bytes(octets)
            world.script()
            world.start()
            self.assertTrue(world.run())
            self.assertEqual(world.taken(), [(["bonnie@example.org"], message(1))])
            self.assertEqual(world.box.messages, {})

    def test_no_recipient(self) -> None:
        """No recipient: unchanged to the caretaker, with the reason on top."""
        world = self.world(a=b"Subject: x\r\n\r\nbody\r\n")
        self.assertTrue(world.run())
        self.assertEqual(world.taken(), [(["clyde@example.org"], b"X-POPFetch-Reason: no-recipient-header\r\n"
                                                                 b"Subject: x\r\n\r\nbody\r\n")])

    def test_large_header(self) -> None:
        """A header without end is the caretaker's."""
        octets = b"To: bonnie@example.org\r\n" + b"X: y\r\n" * 50_000 + b"\r\nbody\r\n"
        world = self.world(a=octets)
        self.assertTrue(world.run())
        [[recipients, content]] = world.taken()
        self.assertEqual(recipients, ["clyde@example.org"])
        self.assertTrue(content == b"X-POPFetch-Reason: header-too-large\r\n" + octets, content[:200])

    def test_plain_server(self) -> None:
        """A server without extensions gets the octets as they are; one that has a size limit refuses by it."""
        octets = message(1)[:-2] + b"\xc5\xbd\r\n"
        world = self.world({"EHLO": (ehlo("PIPELINING"),)}, a=octets)
        self.assertTrue(world.run())
        self.assertEqual(world.taken(), [(["bonnie@example.org"], octets)])
        world = self.world({"EHLO": (ehlo("SIZE 10"),)})
        self.assertTrue(world.run())
        self.assertEqual([fate.end for fate in world.fates], [End.DUD])

    def test_other_letters(self) -> None:
        """An address with other than ASCII letters is refused where the server has no SMTPUTF8."""
        world = self.world({"EHLO": (ehlo("PIPELINING"),)}, a=message(1, "žofie@example.org".encode()))
        self.assertTrue(world.run())
        self.assertEqual([recipients for recipients, _ in world.taken()], [["clyde@example.org"]])


class CrashTests(SynchronousTestCase):
    """A kill between any two steps."""

    def test_done_not_deleted(self) -> None:
        """Killed after the delivery and before its DELE: the ledger is told, and nothing is sent again."""
        world = ServerWorld(a=message(1))
        self.addCleanup(world.close)
        commit = world.store.commit
        held: Deferred[Any] = Deferred()
        world.store.commit = lambda *changes: held  # type: ignore[method-assign]
        cycle = Deferred.fromCoroutine(world.cycle.run())
        world.network.settle()
        self.assertNoResult(cycle)
        self.assertEqual((world.state().stage, len(world.taken())), (DONE, 1))
        held.errback(StoreError("killed"))
        world.network.settle()
        world.store.commit = commit  # type: ignore[method-assign]
        world.start()
        self.assertTrue(world.run())
        self.assertEqual((len(world.taken()), world.box.messages, world.box.retrieved), (1, {}, ["a"]))

    def test_disk_full(self) -> None:
        """A disk that takes nothing is a Stop, and the message stays where it is."""
        world = ServerWorld(a=message(1))
        self.addCleanup(world.close)

        def broken(function: Any, *arguments: Any) -> Deferred[Any]:
            raise OSError(28, "No space left on device")

        world.spool._in_thread = broken
        self.assertFalse(world.run())
        self.assertEqual((world.taken(), list(world.box.messages)), ([], ["a"]))
        with self.assertRaises(Stop):
            world.spool.begin = lambda: (_ for _ in ()).throw(OSError(28, "full"))  # type: ignore[method-assign]
            world.way.take(account(world.box), None)  # type: ignore[arg-type]

    def test_stopped(self) -> None:
        """A stop waits ten seconds for a server that does not answer, then keeps msg.dat for the next time."""
        for script in ({"end": ()}, {"connect": ()}):
            world = ServerWorld(script, a=message(1))  # type: ignore[arg-type]
            self.addCleanup(world.close)
            cycle = Deferred.fromCoroutine(world.cycle.run())
            world.network.settle()
            world.cycle.stop()
            world.network.advance(QUIT_TIME - 1)
            self.assertNoResult(cycle)
            world.network.advance(1)
            world.network.settle()
            world.network.advance(5)
            self.assertFalse(self.successResultOf(cycle))
            self.assertEqual((world.spool.message.read_bytes(), world.network.getDelayedCalls()), (message(1), []))
            world.script()
            world.start()
            self.assertTrue(world.run())
            self.assertEqual(world.box.messages, {})

    def test_stop_skips_accounts(self) -> None:
        """A Stop skips the accounts that are left; a failing POP server only itself."""
        world = ServerWorld({"MAIL": (b"451 later\r\n",)}, a=message(1))
        self.addCleanup(world.close)
        other = Mailbox(name="other.example", messages={"b": message(2)})
        second = Collection(account(other), other.open, world.way, world.store, world.network, world.fates.append)
        world.cycle = Cycle([world.collection, second], world.way, world.network, 0.0, world.fates.append)
        self.assertFalse(world.run())
        self.assertEqual(other.opened, 0)
        world.script()
        self.assertTrue(world.run())
        self.assertEqual((other.messages, world.box.messages), ({}, {}))
