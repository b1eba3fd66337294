"""The defects of twisted.mail.pop3.POP3 (rows P1 to P7): each shown on the stock class, and its absence on ours."""

from __future__ import annotations

import gc
from base64 import b64encode
from hashlib import md5
from io import BytesIO
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.mail import pop3
from twisted.mail._cred import PLAINCredentials
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.edge.pop3 import CLOSING_TIME
from mailbridge.limits import Limits
from mailbridge.pop3 import dialogue
from mailbridge.pop3.settings import Settings
from tests.edge.pop3_world import MESSAGE, Connection, World

PLAIN = b64encode(b"\0bonnie\0right")


class ListMailbox(pop3.Mailbox):
    """A mailbox as in Twisted's documentation: messages in a list, files made of them."""

    def __init__(self, messages: list[bytes]) -> None:
        self.messages = messages
        self.deleted: set[int] = set()
        self.synced: list[bytes] | None = None

    def listMessages(self, i: int | None = None) -> Any:
        """Sizes; 0 for deleted ones."""
        if i is None:
            return [self.listMessages(i) for i in range(len(self.messages))]
        return 0 if i in self.deleted else len(self.messages[i])

    def getMessage(self, i: int) -> Any:
        """A file."""
        return BytesIO(self.messages[i])

    def getUidl(self, i: int) -> bytes:
        """A digest."""
        return md5(self.messages[i]).hexdigest().encode()

    def deleteMessage(self, i: int) -> None:
        """Mark."""
        if i >= len(self.messages):
            raise ValueError(i)
        self.deleted.add(i)

    def undeleteMessages(self) -> None:
        """Unmark."""
        self.deleted.clear()

    def sync(self) -> None:
        """Really delete."""
        self.synced = [message for i, message in enumerate(self.messages) if i not in self.deleted]


def both(*messages: bytes, mailbox: Any = ListMailbox) -> tuple[Connection, Connection]:
    """A stock session and one of ours, each with the same mailbox behind the same portal."""
    world = World(mailbox=lambda name: mailbox(list(messages)))
    return world.connect_stock(), world.connect()


class StockTests(SynchronousTestCase):
    """P1 to P7, the stock class first."""

    def logged_in(self, *messages: bytes, mailbox: Any = ListMailbox) -> tuple[Connection, Connection]:
        """Both sessions after the login."""
        stock, ours = both(*messages, mailbox=mailbox)
        self.assertIn(b"+OK", stock.log_in())
        self.assertIn(b"+OK", ours.log_in())
        return stock, ours

    def test_p1_capabilities(self) -> None:
        """P1: CAPA names what RFC 2449 and its successors define, and nothing in jest."""
        stock, ours = both()
        stock_lines, lines = (client.say(b"CAPA\r\n").split(b"\r\n") for client in (stock, ours))
        for line in (b"RESP-CODES", b"AUTH-RESP-CODE", b"PIPELINING", b"UTF8 USER"):
            self.assertNotIn(line, stock_lines)
            self.assertIn(line, lines)
        for line in (b"PIPELINE", b"CELERITY", b"AUSPEX", b"POTENCE"):
            self.assertIn(line, stock_lines)
            self.assertNotIn(line, lines)
        secure = World(tls=object()).connect()  # never used: the certificate is needed at the handshake only
        self.assertIn(b"\r\nSTLS\r\n", secure.say(b"CAPA\r\n"))

    def test_p2_apop(self) -> None:
        """P2: APOP with the right digest succeeds."""
        world = World(settings=Settings("mail.example", apop=True))

        def log_in(client: Connection) -> bytes:
            stamp = client.greeting.split()[-1]
            return client.say(b"APOP bonnie %b\r\n" % md5(stamp + b"right").hexdigest().encode())

        self.assertTrue(log_in(world.connect_stock()).startswith(b"-ERR"))
        self.assertTrue(log_in(world.connect()).startswith(b"+OK 0 messages"))

    def test_p2_stamp_is_new_each_time(self) -> None:
        """P2: no two sessions have the same time stamp, and without APOP there is none."""
        count = iter(range(1, 100))
        world = World(settings=Settings("mail.example", apop=True), random=lambda size: bytes([next(count)]) * size)
        self.assertNotEqual(world.connect().greeting, world.connect().greeting)
        self.assertNotIn(b"<", World().connect().greeting)

    def test_p3_sasl(self) -> None:
        """P3: AUTH PLAIN works, with an initial response and without."""
        stock, _ = both()
        stock.session.factory.challengers = {b"PLAIN": PLAINCredentials}
        with self.assertRaises(TypeError):
            stock.say(b"AUTH PLAIN " + PLAIN + b"\r\n")
        self.flushLoggedErrors(TypeError)
        stock.say(b"AUTH PLAIN\r\n")
        self.assertTrue(stock.say(PLAIN + b"\r\n").startswith(b"-ERR"))
        self.assertTrue(World().connect().say(b"AUTH PLAIN " + PLAIN + b"\r\n").startswith(b"+OK 0"))
        client = World().connect()
        self.assertEqual(client.say(b"AUTH PLAIN\r\n"), b"+ \r\n")
        self.assertTrue(client.say(PLAIN + b"\r\n").startswith(b"+OK 0"))

    def test_p4_bad_commands(self) -> None:
        """P4: a bad argument or verb is answered -ERR, and the session goes on."""
        for line in (b"RETR", b"DELE x", b"DELE 9", b"TOP 2", b"\xff\xfe"):
            stock, ours = self.logged_in(MESSAGE)
            with self.assertRaises(Exception):  # noqa: B017 - whatever it is, it drops the link
                stock.say(line + b"\r\n")
            self.assertTrue(ours.say(line + b"\r\n").startswith(b"-ERR "), line)
            self.assertTrue(ours.say(b"STAT\r\n").startswith(b"+OK 1 "))
        self.flushLoggedErrors()

    def test_p4_numbers(self) -> None:
        """P4: what is no ASCII number is no message number."""
        stock, ours = self.logged_in(*[MESSAGE] * 10)
        for number in (b"1_0", b"+1", "\u0661".encode()):
            if number.isascii():
                self.assertTrue(stock.say(b"LIST " + number + b"\r\n").startswith(b"+OK"))
            self.assertEqual(ours.say(b"LIST " + number + b"\r\n"), dialogue.NOT_A_NUMBER)

    def test_p5_deleted_messages(self) -> None:
        """P5: deleted messages are in no listing, and not counted."""
        stock, ours = self.logged_in(MESSAGE, MESSAGE)
        for client in (stock, ours):
            client.say(b"DELE 1\r\n")
        size = len(MESSAGE)
        self.assertIn(b"\r\n1 0\r\n", stock.say(b"LIST\r\n"))
        self.assertIn(b"\r\n1 ", stock.say(b"UIDL\r\n"))
        self.assertEqual(stock.say(b"STAT\r\n"), b"+OK 2 %d\r\n" % size)
        self.assertNotIn(b"\r\n1 ", ours.say(b"LIST\r\n"))
        self.assertNotIn(b"\r\n1 ", ours.say(b"UIDL\r\n"))
        self.assertEqual(ours.say(b"STAT\r\n"), b"+OK 1 %d\r\n" % size)

    def test_p6_dots(self) -> None:
        """P6: a dot at the start of a line is doubled wherever the message is cut for sending."""
        head = b"Subject: x\n\n"
        message = head + b"y" * (2 ** 14 - len(head) - 1) + b"\n.\nthe rest\n"
        stock, ours = self.logged_in(message)
        self.assertIn(b"y\r\n.\r\nthe rest", self.all_of(stock, b"RETR 1\r\n"))
        self.assertIn(b"y\r\n..\r\nthe rest", self.all_of(ours, b"RETR 1\r\n"))

    def all_of(self, client: Connection, command: bytes) -> bytes:
        """A long answer, with a transport that takes all of it."""
        octets = client.say(command)
        while client.wire.producer is not None:
            client.wire.producer.resumeProducing()
            octets += client.wire.take()
        return octets

    def test_p6_sizes(self) -> None:
        """P6: LIST shows the octets that are sent, not the size of a file with other line ends."""
        message = b"Subject: x\n\none\ntwo\n"
        stock, _ = self.logged_in(message)
        size = int(stock.say(b"LIST 1\r\n").split()[2])
        sent = self.all_of(stock, b"RETR 1\r\n").partition(b"\r\n")[2]
        self.assertNotEqual(size, len(sent) - len(b".\r\n"))
        world = World()
        world.deposit(message.replace(b"\n", b"\r\n"))
        ours = world.connect()
        ours.log_in()
        size = int(ours.say(b"LIST 1\r\n").split()[2])
        sent = ours.say(b"RETR 1\r\n").partition(b"\r\n")[2]
        self.assertEqual(size, len(sent) - len(b".\r\n"))

    def test_p7_idle(self) -> None:
        """P7: a client has ten minutes (RFC 1939 section 3)."""
        self.assertLess(pop3.POP3.timeOut, 600)
        self.assertGreaterEqual(Limits().pop3_idle, 600)

    def test_p7_guessing(self) -> None:
        """P7: passwords cannot be guessed without end."""
        world = World()
        stock, ours = world.connect_stock(), world.connect()
        guess = b"USER bonnie\r\nPASS wrong\r\n"
        for _ in range(200):
            self.assertIn(b"-ERR", stock.say(guess))
        self.assertFalse(stock.wire.disconnecting)
        answers = [ours.say(guess) for _ in range(10)]
        self.assertIn(dialogue.LOGIN_LATER, answers[6])
        self.assertTrue(ours.wire.disconnecting)

    def test_p7_uidl_of_one(self) -> None:
        """P7: the answer to `UIDL n` names the message (twisted #9104)."""
        stock, ours = self.logged_in(MESSAGE)
        uid = md5(MESSAGE).hexdigest().encode()
        self.assertEqual(stock.say(b"UIDL 1\r\n"), b"+OK %b\r\n" % uid)
        self.assertEqual(ours.say(b"UIDL 1\r\n"), b"+OK 1 %b\r\n" % uid)

    def test_p7_error_in_a_long_operation(self) -> None:
        """P7: a mailbox that fails does not silence the session: the commands that follow are answered."""
        stock, ours = self.logged_in(MESSAGE, mailbox=FailingMailbox)
        stock.say(b"UIDL\r\n")
        self.assertEqual(stock.say(b"NOOP\r\nQUIT\r\n"), b"")
        del stock
        gc.collect()  # it logs the error when its Deferred dies
        self.assertEqual(ours.say(b"UIDL\r\nNOOP\r\n"), dialogue.UIDS + dialogue.END + dialogue.OK)
        self.assertEqual(ours.say(b"UIDL 1\r\n"), dialogue.DAMAGED)
        self.assertEqual(ours.say(b"RETR 1\r\nNOOP\r\n"), dialogue.NOT_NOW + dialogue.OK)
        self.flushLoggedErrors(RuntimeError)

    def test_p7_lock(self) -> None:
        """P7: two sessions for one maildrop would delete under each other's feet; the second hears [IN-USE]."""
        world = World()
        self.assertIn(b"+OK", world.connect_stock().log_in())
        self.assertIn(b"+OK", world.connect_stock().log_in())
        self.assertIn(b"+OK", world.connect().log_in())
        self.assertEqual(world.connect().log_in(), dialogue.IN_USE)


class FailingMailbox(ListMailbox):
    """Its files and ids cannot be had."""

    def getUidl(self, i: int) -> bytes:
        """Fails."""
        raise RuntimeError("no id")

    def getMessage(self, i: int) -> Any:
        """Fails."""
        return fail(RuntimeError("no file"))


class DeferredMailbox(ListMailbox):
    """Answers by Deferreds, which IMailbox allows in words."""

    def listMessages(self, i: int | None = None) -> Any:
        """Later."""
        answer: Deferred[Any] = Deferred()
        answer.callback(super().listMessages(i) if i is not None else [len(message) for message in self.messages])
        return answer

    def getMessage(self, i: int) -> Any:
        """When the test says."""
        self.asked: Deferred[Any] = Deferred()
        return self.asked


class ForeignTests(SynchronousTestCase):
    """A stock IMailbox with a foreign cred checker in our factory."""

    def client(self, mailbox: ListMailbox) -> Connection:
        """Logged in to that mailbox."""
        self.world = World(mailbox=lambda name: mailbox)
        client = self.world.connect()
        self.assertIn(b"+OK ", client.log_in())
        return client

    def test_session(self) -> None:
        """It is read and deleted as any other; it hears of deletions at QUIT only."""
        mailbox = ListMailbox([b"a: b\n\n.one\n", b"a: b\r\n\r\ntwo", b"three"])
        client = self.client(mailbox)
        self.assertIn(b"..one\r\n.\r\n", client.say(b"RETR 1\r\n"))
        self.assertTrue(client.say(b"RETR 2\r\n").endswith(b"a: b\r\n\r\ntwo\r\n.\r\n"))
        self.assertEqual(client.say(b"TOP 2 0\r\n"), dialogue.TOP_FOLLOWS + b"a: b\r\n\r\n.\r\n")
        client.say(b"DELE 1\r\nDELE 3\r\n")
        self.assertEqual(mailbox.deleted, set())
        self.assertEqual(client.say(b"QUIT\r\n"), dialogue.BYE)
        self.assertEqual(mailbox.synced, [b"a: b\r\n\r\ntwo"])
        client.hang_up()
        self.assertEqual(self.world.realm.logouts, 1)

    def test_deferreds(self) -> None:
        """Answers that come later keep the order of pipelined commands."""
        mailbox = DeferredMailbox([b"one\n", b"two\n"])
        client = self.client(mailbox)
        self.assertEqual(client.say(b"RETR 2\r\nSTAT\r\n"), b"")
        mailbox.asked.callback(BytesIO(b"two\n"))
        self.assertEqual(client.wire.take(), b"+OK 4 octets\r\ntwo\r\n.\r\n+OK 2 8\r\n")

    def test_gone_while_waiting(self) -> None:
        """A client that goes before its message arrives leaves nothing open."""
        mailbox = DeferredMailbox([b"one\n"])
        client = self.client(mailbox)
        client.say(b"RETR 1\r\n")
        client.hang_up()
        mailbox.asked.callback(BytesIO(b"one\n"))
        self.assertEqual((client.wire.take(), self.world.realm.logouts), (b"", 1))

    def test_odd_mailboxes(self) -> None:
        """Unique ids that POP3 cannot carry become ones that it can; a mailbox without one is left out of UIDL."""
        mailbox = ListMailbox([b"one\n", b"two\n", b"three\n"])
        ids: list[Any] = [b"a b\r\n+OK", "text", None]
        mailbox.getUidl = lambda i: ids[i] or [][0]  # type: ignore[method-assign]
        lines = self.client(mailbox).say(b"UIDL\r\n").split(b"\r\n")
        self.assertEqual((len(lines), lines[2], lines[3]), (5, b"2 text", b"."))
        self.assertRegex(lines[1], rb"^1 [0-9a-f]{64}$")

    def test_failing_delete(self) -> None:
        """When one message cannot be deleted, the client hears it and the mailbox is asked to keep them all."""
        mailbox = ListMailbox([b"one\n", b"two\n"])
        client = self.client(mailbox)
        client.say(b"DELE 1\r\nDELE 2\r\n")
        del mailbox.messages[1]
        self.assertEqual(client.say(b"QUIT\r\n"), dialogue.NOT_REMOVED)
        self.assertEqual((mailbox.deleted, mailbox.synced), (set(), None))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_our_mailbox_in_the_stock_server(self) -> None:
        """The other way round: our maildrop is an IMailbox that the stock class can serve."""
        world = World()
        world.deposit(b"a: b\r\n\r\none\r\n.two\r\n", b"a: b\r\n\r\nthree\r\n")
        stock = world.connect_stock()
        stock.log_in()
        self.assertTrue(stock.say(b"STAT\r\n").startswith(b"+OK 2 "))
        octets = stock.say(b"RETR 1\r\n")
        while stock.wire.producer is not None:
            stock.wire.producer.resumeProducing()
            octets += stock.wire.take()
        self.assertIn(b"a: b\r\n\r\none\r\n..two\r\n.\r\n", octets)
        stock.say(b"DELE 1\r\nQUIT\r\n")
        self.assertEqual(len(self.successResultOf(world.store.snapshot(world.users[b"bonnie"])).uids), 1)

    def test_closing_time(self) -> None:
        """A client that does not take its last reply is cut off."""
        world = World()
        world.sessions.start()
        client = world.connect()
        client.say(b"QUIT\r\n")
        world.clock.pump([1.0] * int(CLOSING_TIME + 3))
        self.assertTrue(client.wire.aborted)
