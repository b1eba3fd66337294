"""The POP3 edge: sessions over a transport in memory."""

from __future__ import annotations

import inspect
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import Clock
from twisted.mail import pop3
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailbridge.edge.pop3 import POP3Server
from mailbridge.edge.session import Session
from mailbridge.errors import StoreError
from mailbridge.limits import Limits
from mailbridge.pop3 import dialogue
from mailbridge.pop3.settings import Settings
from mailbridge.store.memory import MemoryStore
from tests.edge.pop3_world import MESSAGE, Connection, Wire, World


class SlowStore(MemoryStore):
    """Commits of `hold` wait until the test lets them go; `failing` ones fail."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.hold = self.failing = False
        self.held: list[Any] = []

    def commit(self, *changes: object) -> Deferred[tuple[object, ...]]:
        """Now, later, or never."""
        if self.failing:
            return fail(StoreError("no"))
        if not self.hold:
            return super().commit(*changes)
        waiting: Deferred[tuple[object, ...]] = Deferred()
        self.held.append(lambda: super(SlowStore, self).commit(*changes).chainDeferred(waiting))
        return waiting


class ClassTests(SynchronousTestCase):
    """What stands behind the class."""

    def test_isinstance(self) -> None:
        """Our session is a twisted.mail POP3, so code that asks gets the answer it expects."""
        session = World().connect().session
        self.assertIsInstance(session, pop3.POP3)
        self.assertTrue(verifyObject(IPushProducer, session))

    def test_stock_wire_code_is_unreachable(self) -> None:
        """No octet reaches the inherited parser: every way into it is replaced, no do_ or state_ is called."""
        self.assertTrue(issubclass(POP3Server, Session))
        for name in ("dataReceived", "connectionMade", "connectionLost", "stopProducing"):
            self.assertIsNot(getattr(POP3Server, name), getattr(pop3.POP3, name))
        reached: list[str] = []
        stock = {name: method for name, method in inspect.getmembers(pop3.POP3, inspect.isfunction)
                 if name.startswith(("do_", "state_", "line", "process", "authenticate", "_"))}
        self.assertGreater(len(stock), 20)

        def trap(name: str) -> Any:
            return lambda self, *arguments: reached.append(name)

        trapped = {name: trap(name) for name in stock if getattr(POP3Server, name) is getattr(pop3.POP3, name)}
        self.assertIn("do_RETR", trapped)
        session_class = type("Trapped", (POP3Server,), trapped)
        world = World()
        world.deposit(MESSAGE)
        session = session_class()
        session.factory = world.factory
        client = Connection(session, Wire(), world.clock)
        client.log_in()
        for line in (b"CAPA", b"STAT", b"LIST", b"UIDL", b"RETR 1", b"TOP 1 0", b"DELE 1", b"RSET", b"LAST", b"RPOP x",
                     b"APOP a b", b"AUTH", b"NOOP", b"QUIT"):
            client.say(line + b"\r\n")
        self.assertEqual(reached, [])


class SessionTests(SynchronousTestCase):
    """From login to QUIT."""

    def test_session(self) -> None:
        """A person logs in, reads what was sent, octet for octet, deletes it, and it is gone after QUIT."""
        world = World()
        world.deposit(MESSAGE, b"Subject: second\r\n\r\nx\r\n")
        client = world.connect()
        self.assertEqual(client.greeting, b"+OK mail.example POP3 ready\r\n")
        size = len(b"Return-Path: <a@x.example>\r\n" + MESSAGE)
        self.assertIn(b"+OK 2 messages", client.log_in())
        self.assertEqual(client.say(b"LIST 1\r\n"), b"+OK 1 %d\r\n" % size)
        self.assertEqual(client.say(b"RETR 1\r\n"), b"+OK %d octets\r\nReturn-Path: <a@x.example>\r\n" % size
                         + MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n")
        self.assertEqual(client.say(b"DELE 1\r\nQUIT\r\n"), dialogue.DELETED + dialogue.BYE)
        self.assertTrue(client.wire.disconnecting)
        client.hang_up()
        self.assertEqual(world.realm.logouts, 1)
        self.assertIn(b"+OK 1 messages", world.connect().log_in())

    def test_lost_connection_deletes_nothing(self) -> None:
        """A connection that dies before QUIT deletes nothing, and the maildrop is free at once."""
        world = World()
        world.deposit(MESSAGE)
        client = world.connect()
        client.log_in()
        client.say(b"DELE 1\r\n")
        client.hang_up()
        self.assertEqual((world.realm.logouts, len(world.sessions)), (1, 0))
        self.assertIn(b"+OK 1 messages", world.connect().log_in())

    def test_in_use(self) -> None:
        """A second session for one maildrop hears [IN-USE] and may try again; another user's is not concerned."""
        world = World()
        first, second = world.connect(), world.connect()
        first.log_in()
        self.assertEqual(second.log_in(), dialogue.IN_USE)
        self.assertIn(b"+OK 0 messages", world.connect().log_in(b"clyde"))
        first.say(b"QUIT\r\n")
        self.assertIn(b"+OK 0 messages", second.log_in())

    def test_ok_to_quit_comes_after_the_commit(self) -> None:
        """QUIT is answered when the deletion is stored; a client that hangs up meanwhile changes nothing in that."""
        world = World(store=SlowStore)
        world.deposit(MESSAGE)
        for hangs_up in (False, True):
            client = world.connect()
            client.log_in()
            world.store.hold = True
            self.assertEqual(client.say(b"DELE 1\r\nQUIT\r\n"), dialogue.DELETED)
            self.assertEqual(client.session.deadline, float("inf"))
            if hangs_up:
                client.hang_up()
                self.assertEqual(world.connect().log_in(), dialogue.IN_USE)
            world.store.hold = False
            world.store.held.pop()()
            if not hangs_up:
                self.assertEqual(client.wire.take(), dialogue.BYE)
                client.hang_up()
                world.deposit(MESSAGE)
        self.assertIn(b"+OK 0 messages", world.connect().log_in())

    def test_store_fails_at_quit(self) -> None:
        """When the deletion cannot be stored the client hears it, and nothing is lost."""
        world = World(store=SlowStore)
        world.deposit(MESSAGE)
        client = world.connect()
        client.log_in()
        client.say(b"DELE 1\r\n")
        world.store.failing = True
        self.assertEqual(client.say(b"QUIT\r\n"), dialogue.NOT_REMOVED)
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)
        world.store.failing = False
        self.assertIn(b"+OK 1 messages", world.connect().log_in())

    def test_store_fails_at_login(self) -> None:
        """A store in trouble is [SYS/TEMP], never a wrong password."""
        world = World()
        client = world.connect()
        world.store.close()
        self.assertEqual(client.log_in(), dialogue.NOT_NOW)
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)

    def test_wrong_passwords(self) -> None:
        """After five wrong passwords a guesser has to wait, while the owner gets in from elsewhere."""
        world = World()
        world.factory.settings = Settings("mail.example", login_in_clear=True)
        for _ in range(5):
            client = world.connect("192.0.2.9")
            self.assertIn(dialogue.WRONG_PASSWORD, client.say(b"USER bonnie\r\nPASS guess\r\n"))
        self.assertEqual(client.log_in(), dialogue.LOGIN_LATER)
        self.assertIn(b"+OK 0 messages", world.connect("192.0.2.10").log_in())

    def test_no_password_in_clear(self) -> None:
        """From elsewhere than this host, USER is not even in CAPA without TLS."""
        client = World().connect("192.0.2.9")
        self.assertNotIn(b"USER\r\n", client.say(b"CAPA\r\n").replace(b"UTF8 USER", b""))
        self.assertEqual(client.log_in(), dialogue.USE_STLS)


class TimeTests(SynchronousTestCase):
    """Deadlines and the end."""

    def test_idle(self) -> None:
        """A session that is idle for ten minutes ends without a word and without deleting anything."""
        world = World()
        world.sessions.start()
        world.deposit(MESSAGE)
        client = world.connect()
        client.log_in()
        client.say(b"DELE 1\r\n")
        world.clock.pump([1.0] * 590)
        self.assertFalse(client.wire.disconnecting)
        client.say(b"NOOP\r\n")
        world.clock.pump([1.0] * 590)
        self.assertFalse(client.wire.disconnecting)
        world.clock.pump([1.0] * 20)
        self.assertTrue(client.wire.disconnecting)
        self.assertEqual(client.wire.take(), b"")
        client.hang_up()
        self.assertIn(b"+OK 1 messages", world.connect().log_in())

    def test_login_time(self) -> None:
        """Who has not logged in after two minutes is sent away, however busy he is."""
        world = World()
        world.sessions.start()
        client = world.connect()
        for _ in range(12):
            client.say(b"CAPA\r\n")
            world.clock.pump([1.0] * 10)
        world.clock.pump([1.0] * 3)
        self.assertTrue(client.wire.disconnecting)

    def test_too_many_connections(self) -> None:
        """One connection too many hears why, and does not count."""
        world = World(limits=Limits(connections_per_client=2))
        first, _ = world.connect(), world.connect()
        third = world.connect()
        self.assertEqual(third.greeting, dialogue.TOO_MANY_CONNECTIONS)
        self.assertTrue(third.wire.disconnecting)
        third.hang_up()
        first.hang_up()
        self.assertTrue(world.connect().greeting.startswith(b"+OK"))

    def test_one_too_many_before_a_handshake(self) -> None:
        """With implicit TLS one too many is cut off: it would have to be waited for otherwise."""
        world = World(limits=Limits(connections=0))
        world.factory.implicit_tls = True
        client = world.connect()
        self.assertEqual(client.greeting, b"")
        self.assertTrue(client.wire.aborted)

    def test_shutdown(self) -> None:
        """At shutdown idle sessions close at once, and one in QUIT when its work is done."""
        world = World(store=SlowStore)
        world.deposit(MESSAGE)
        idle, leaving = world.connect(), world.connect()
        leaving.log_in()
        leaving.say(b"DELE 1\r\n")
        world.store.hold = True
        leaving.say(b"QUIT\r\n")
        done = world.sessions.goodbye()
        self.assertTrue(idle.wire.disconnecting)
        self.assertFalse(leaving.wire.disconnecting)
        world.store.held.pop()()
        self.assertEqual(leaving.wire.take(), dialogue.BYE)
        self.assertTrue(leaving.wire.disconnecting)
        idle.hang_up()
        leaving.hang_up()
        self.successResultOf(done)


class FlowTests(SynchronousTestCase):
    """Clients that do not read, and clients that say too much."""

    def test_deaf_reader(self) -> None:
        """A client that asks for 50 MiB and does not read costs some 100 KiB, and nothing when it goes."""
        world = World()
        for _ in range(3):
            world.deposit(b"Subject: big\r\n\r\n" + b"x" * 40_000 + b"\r\n")
        client = world.connect(deaf=True)
        client.log_in()
        client.session.dataReceived(b"RETR 1\r\n" * 1200)
        for _ in range(50):
            world.clock.advance(0)
        self.assertLess(client.wire.largest, 250_000)
        self.assertLess(client.session._core.backlog, 10_000)
        octets = 0
        for _ in range(2000):
            world.clock.advance(0)
            octets += client.wire.take().count(b"+OK")
        self.assertEqual(octets, 1200)
        self.assertLess(client.wire.largest, 250_000)

    def test_deaf_reader_expires(self) -> None:
        """A deaf client is cut off after the idle time."""
        world = World()
        world.sessions.start()
        world.deposit(b"x" * 100_000 + b"\r\n")
        client = world.connect(deaf=True)
        client.log_in()
        client.session.dataReceived(b"RETR 1\r\n" * 10)
        world.clock.pump([1.0] * 610)
        self.assertTrue(client.wire.aborted)

    def test_flood_of_small_answers(self) -> None:
        """Endless small commands whose answers nobody reads do not fill the memory."""
        world = World(limits=Limits(junk_commands=1 << 30))
        client = world.connect(deaf=True)
        client.log_in()
        for _ in range(400):
            if client.wire.producerState == "producing":
                client.session.dataReceived(b"STAT\r\n" * 1000)
            world.clock.advance(0)
        self.assertLess(client.wire.largest, 200_000)
        self.assertLess(client.session._core.backlog, 80_000)
        self.assertEqual(client.wire.producerState, "paused")

    def test_large_list(self) -> None:
        """A listing of many messages is complete, whatever is deleted meanwhile by nobody."""
        world = World(mailbox=lambda name: Many(5000))
        client = world.connect(deaf=True)
        client.log_in()
        client.session.dataReceived(b"UIDL\r\nSTAT\r\nLIST\r\n")
        answer = b""
        for _ in range(100):
            answer += client.wire.take()
        self.assertEqual(answer.count(b"\r\n"), 2 * 5002 + 1)
        self.assertTrue(answer.endswith(b"5000 7\r\n.\r\n"))
        self.assertIsNone(client.wire.producer)

    def test_long_answers_in_a_row(self) -> None:
        """A thousand pipelined long answers need no deep stack."""
        world = World(mailbox=lambda name: Many(1100), limits=Limits(junk_commands=1 << 30))
        client = world.connect()
        client.log_in()
        answer = client.say(b"LIST\r\n" * 1000)
        for _ in range(20):
            world.clock.advance(0)
            answer += client.wire.take()
        self.assertEqual(answer.count(b"+OK"), 1000)


class Many(pop3.Mailbox):
    """A mailbox with many messages that nobody reads."""

    def __init__(self, count: int) -> None:
        self._count = count

    def listMessages(self, i: int | None = None) -> Any:
        """Seven octets each."""
        return [7] * self._count if i is None else 7

    def getUidl(self, i: int) -> bytes:
        """Its number."""
        return b"%d" % i
