"""The SMTP edge over a bridge in memory: transactions, failures, time, logins."""

from __future__ import annotations

import base64
import hashlib
import hmac

from attrs import evolve
from twisted.internet.defer import fail, succeed
from twisted.mail import smtp
from twisted.trial.unittest import SynchronousTestCase

from mailbridge import reply
from mailbridge.errors import StoreError, StoreFull
from mailbridge.limits import Limits
from mailbridge.store.changes import RemoveUser

from .smtp_world import LOOPBACK, PLAIN, STRANGER, TRUSTED, World

MAIL = b"MAIL FROM:<bonnie@example.org>\r\n"
OPENING = b"EHLO laptop\r\n" + MAIL + b"RCPT TO:<bonnie@example.org>\r\n"


class TransactionTests(SynchronousTestCase):
    """From MAIL to the reply after the dot."""

    def test_a_message(self) -> None:
        """A message lies in the maildrop, under a trace line, octet for octet."""
        world = World()
        client = world.connect()
        self.assertEqual(client.greeting, b"220 bridge.example.org ESMTP mailbridge\r\n")
        content = b"Subject: x\r\n\r\n.dot\r\n\x00\xff\x85 8 bit\r\n"
        self.assertRegex(client.deliver(content), rb"\A250 2.0.0 Stored as [0-9a-zA-Z]+\r\n\Z")
        [stored] = world.mail("bonnie")
        self.assertTrue(stored.startswith(b"Received: from laptop ([192.0.2.7])\r\n"))
        self.assertTrue(stored.endswith(content))

    def test_is_a_stock_server(self) -> None:
        """The session and its factory pass for twisted.mail's own."""
        world = World()
        self.assertIsInstance(world.factory, smtp.SMTPFactory)
        self.assertIsInstance(world.connect().server, smtp.ESMTP)

    def test_250_only_after_the_commit(self) -> None:
        """While the store has not committed the client waits; then it gets its 250."""
        world = World()
        world.store.hold = True
        client = world.connect()
        self.assertEqual(client.deliver(), b"")
        self.assertEqual(world.mail("bonnie"), [])
        self.assertEqual(client.say(b"NOOP\r\n"), b"")
        world.store.let_go()
        self.assertEqual([line[:3] for line in client.read().splitlines()], [b"250", b"250"])
        self.assertEqual(len(world.mail("bonnie")), 1)

    def test_store_full(self) -> None:
        """A full store answers 452 and keeps nothing."""
        world = World()
        world.store.free = 0
        client = world.connect()
        self.assertEqual(client.deliver(), reply.STORE_FULL.wire)
        self.assertEqual(world.mail("bonnie"), [])
        self.assertEqual(world.store.aborted, 1)

    def test_store_full_while_writing(self) -> None:
        """A disk that fills up while content arrives answers 452 at its end, once."""
        world = World()
        client = world.connect()
        client.say(OPENING + b"DATA\r\n")
        world.store.write_error = StoreFull("ENOSPC")
        self.assertEqual(client.say(b"Subject: x\r\n\r\n" + b"x" * 50_000 + b"\r\n"), b"")
        self.assertEqual(client.say(b"QUIT\r\n.\r\n"), reply.STORE_FULL.wire)

    def test_store_error(self) -> None:
        """A failing store answers 451 and keeps nothing; the next message may do better."""
        world = World()
        client = world.connect()
        for world.store.commit_error in (StoreError("I/O error"), RuntimeError("unforeseen")):
            self.assertEqual(client.deliver(), reply.NOT_NOW.wire)
            self.assertEqual(world.mail("bonnie"), [])
            self.assertEqual(len(self.flushLoggedErrors(StoreError, RuntimeError)), 1)
        world.store.commit_error = None
        self.assertTrue(client.deliver().startswith(b"250 "))

    def test_recipient_removed_meanwhile(self) -> None:
        """A user who is removed between RCPT and the dot: 451, and the client's next try gets the truth."""
        world = World()
        client = world.connect()
        client.say(OPENING + b"DATA\r\n")
        world.store.commit(RemoveUser(1))
        self.assertEqual(client.say(b"Subject: x\r\n\r\n.\r\n"), reply.NOT_NOW.wire)
        self.flushLoggedErrors(StoreError)

    def test_lost_while_waiting(self) -> None:
        """A client that leaves while the store commits: the message is stored all the same, nothing is written."""
        world = World()
        world.store.hold = True
        client = world.connect()
        client.deliver()
        client.lose()
        world.store.let_go()
        self.assertEqual(len(world.mail("bonnie")), 1)
        self.assertEqual(client.read(), b"")
        self.assertEqual(len(world.sessions), 0)

    def test_lost_in_data(self) -> None:
        """A client that leaves within DATA: the content is given up."""
        world = World()
        client = world.connect()
        client.say(OPENING + b"DATA\r\nSubject: x\r\n\r\n" + b"x" * 20_000)
        client.lose()
        self.assertEqual(world.store.aborted, 1)
        self.assertEqual(world.mail("bonnie"), [])

    def test_unforeseen(self) -> None:
        """A fault nobody foresaw ends the session with 421, and is logged; nothing is accepted."""
        world = World()
        client = world.connect()
        world.factory.intake.begin = lambda *arguments: 1 / 0  # type: ignore
        self.assertEqual(client.say(b"EHLO x\r\n" + MAIL)[-len(reply.FAULT.wire):], reply.FAULT.wire[-100:])
        self.assertTrue(client.closed)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_question_that_fails(self) -> None:
        """A question that fails later is a transient refusal."""
        world = World()
        client = world.connect()
        world.factory.intake.begin = lambda *arguments: fail(ZeroDivisionError())  # type: ignore
        self.assertEqual(client.say(b"HELO x\r\n" + MAIL)[-len(reply.NOT_NOW.wire):], reply.NOT_NOW.wire)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertFalse(client.closed)

    def test_back_pressure(self) -> None:
        """While the store is behind, nothing more is read from the client; then it goes on."""
        world = World()
        world.store.slow = True
        client = world.connect()
        client.say(OPENING + b"DATA\r\nSubject: x\r\n\r\n" + b"x" * 30_000)
        self.assertEqual(client.transport.producerState, "paused")
        world.store.behind.pop().callback(None)
        self.assertEqual(client.transport.producerState, "producing")
        world.store.slow = False
        self.assertTrue(client.say(b"\r\n.\r\n").startswith(b"250 "))
        self.assertTrue(world.mail("bonnie")[0].endswith(b"Subject: x\r\n\r\n" + b"x" * 30_000 + b"\r\n"))

    def test_a_flood_waits(self) -> None:
        """A client that goes on talking while the store commits is stopped before it fills the memory."""
        world = World()
        world.store.hold = True
        client = world.connect()
        client.deliver()
        for _ in range(5):
            client.say(b"RSET\r\n" * 10_000)
        self.assertEqual(client.transport.producerState, "paused")
        world.store.let_go()
        client.world.clock.advance(0)
        self.assertTrue(client.read().endswith(reply.TOO_MANY_COMMANDS.wire))

    def test_deaf_client(self) -> None:
        """A client that asks and asks and does not read is cut off."""
        world = World()
        client = world.connect()
        client.transport.dataBuffer = b"x" * 300_000  # type: ignore[attr-defined]  # what the socket did not take
        client.say(b"NOOP\r\n")
        self.assertTrue(client.transport.disconnected)


class RecipientTests(SynchronousTestCase):
    """Who gets a copy, and who gets none."""

    def setUp(self) -> None:
        self.world = World()
        self.client = self.world.connect()

    def test_one_copy_each(self) -> None:
        """A recipient named twice, in other letters, or by two aliases, gets one copy."""
        recipients = (b"bonnie@example.org", b"bonnie@example.org", b"BONNIE@Example.ORG", b"sales@example.org",
                      b"office@example.org", b"bonnie+shop@example.org")
        self.assertTrue(self.client.deliver(recipients=recipients).startswith(b"250 "))
        self.assertEqual((len(self.world.mail("bonnie")), len(self.world.mail("clyde"))), (1, 1))

    def test_refused(self) -> None:
        """Unknown users get 550 5.1.1, relaying for strangers 550 5.7.1, bare names 501."""
        self.client.say(b"EHLO x\r\n" + MAIL)
        self.assertEqual(self.client.say(b"RCPT TO:<nobody@example.org>\r\n"), reply.NO_SUCH_USER.wire)
        self.assertEqual(self.client.say(b"RCPT TO:<a@elsewhere.example>\r\n"), reply.NO_RELAYING.wire)
        self.assertEqual(self.client.say(b"RCPT TO:<bonnie>\r\n"), reply.BAD_ADDRESS.wire)

    def test_postmaster(self) -> None:
        """Postmaster can always be reached, with and without a domain (RFC 5321 4.5.1)."""
        self.client.say(b"EHLO x\r\nMAIL FROM:<>\r\n")
        for name in (b"postmaster", b"Postmaster@example.org", b"POSTMASTER@[192.0.2.1]"):
            self.assertTrue(self.client.say(b"RCPT TO:<%b>\r\n" % name).startswith(b"250 "), name)

    def test_a_bare_name_from_a_trusted_client(self) -> None:
        """A device in the list may write a user's name alone."""
        trusted = self.world.connect(TRUSTED)
        self.assertTrue(trusted.deliver(recipients=(b"clyde",)).startswith(b"250 "))
        self.assertEqual(len(self.world.mail("clyde")), 1)

    def test_utf8(self) -> None:
        """A sender with other letters than ASCII is taken with SMTPUTF8 and stands so in the store."""
        self.client.say(b"EHLO x\r\nMAIL FROM:<j\xc3\xbcrgen@elsewhere.example> SMTPUTF8\r\n")
        self.assertEqual(self.client.codes(b"RCPT TO:<bonnie@example.org>\r\nBDAT 0 LAST\r\n"), [250, 250])
        self.assertIn(b"with UTF8SMTP id", self.world.mail("bonnie")[0])

    def test_many_recipients(self) -> None:
        """Recipients above the limit get 452; the rest of the message goes its way."""
        world = World(Limits(recipients=2))
        client = world.connect()
        answers = client.codes(OPENING + b"RCPT TO:<clyde@example.org>\r\nRCPT TO:<sales@example.org>\r\n")
        self.assertEqual(answers[-3:], [250, 250, 452])


class TraceTests(SynchronousTestCase):
    """The Received line."""

    def stored(self, opening: bytes, recipients: bytes = b"RCPT TO:<bonnie@example.org>\r\n", peer: str = STRANGER,
               world: World | None = None) -> bytes:
        world = world or World()
        client = world.connect(peer)
        client.say(opening + b"MAIL FROM:<bonnie@example.org>\r\n" + recipients + b"DATA\r\n")
        client.say(b"Subject: x\r\n\r\n.\r\n")
        return world.mail("bonnie")[0]

    def test_content(self) -> None:
        """Who, whence, how, when, and for whom when there is one recipient only."""
        self.assertRegex(
            self.stored(b"EHLO laptop\r\n"),
            rb"\AReceived: from laptop \(\[192\.0\.2\.7\]\)\r\n\tby bridge\.example\.org with ESMTP id \w+\r\n"
            rb"\tfor <bonnie@example\.org>;\r\n\t\w{3}, \d\d Nov 2025 \d\d:\d\d:\d\d [+-]\d{4}\r\nSubject: x\r\n\r\n\Z")

    def test_two_recipients(self) -> None:
        """With two recipients none is named: a blind copy stays blind."""
        stored = self.stored(b"HELO x\r\n", b"RCPT TO:<bonnie@example.org>\r\nRCPT TO:<clyde@example.org>\r\n")
        self.assertNotIn(b"for <", stored)
        self.assertNotIn(b"clyde", stored)

    def test_no_injection(self) -> None:
        """A name full of mischief stays one harmless word of the line."""
        for name in ("x (y) by evil; \\\" with", "x\u2028y", "x\u0085Bcc: z", "a" * 255, "\u202e"):
            stored = self.stored(b"EHLO " + name.encode() + b"\r\n")
            head = stored.partition(b"Subject")[0]
            self.assertRegex(head, rb"\AReceived: from [!-'*-:<-~]{1,255} \(\[192\.0\.2\.7\]\)\r\n\tby [ -~\r\n\t]+\Z")
            self.assertLess(max(map(len, head.split(b"\r\n"))), 998)

    def test_protocols(self) -> None:
        """SMTP, ESMTP, ESMTPA; an IPv6 client as RFC 5321 writes it."""
        self.assertIn(b"with SMTP id", self.stored(b"HELO x\r\n"))
        self.assertIn(b"with ESMTPA id", self.stored(b"EHLO x\r\n" + PLAIN, peer=LOOPBACK, world=_Worked()))
        self.assertIn(b"([IPv6:2001:db8::1])", self.stored(b"HELO x\r\n", peer="2001:db8::1"))


class _Worked(World):
    """A world that checks passwords at once, so that commands may be pipelined behind AUTH."""

    def __init__(self) -> None:
        super().__init__()
        self.pool.run = lambda work, client, name: succeed(work())  # type: ignore


class HeaderTests(SynchronousTestCase):
    """Limits of the header, and what is added for devices."""

    def test_hops(self) -> None:
        """A message that went round in a circle is refused for good."""
        client = World(Limits(hops=3)).connect()
        self.assertTrue(client.deliver(b"Received: x\r\n" * 2 + b"\r\n").startswith(b"250 "))
        self.assertEqual(client.deliver(b"Received: x\r\n" * 3 + b"\r\n"), reply.TOO_MANY_HOPS.wire)

    def test_header_size(self) -> None:
        """A header over the limit is refused, whether its end came or not; a large body is no header."""
        world = World(Limits(header_size=1000, header_fields=20))
        client = world.connect()
        for content in (b"X: " + b"x" * 1000 + b"\r\n\r\n", b"x" * 5000 + b"\r\n", b"X: y\r\n" * 21 + b"\r\n"):
            self.assertEqual(client.deliver(content), reply.HEADER_TOO_LARGE.wire)
        self.assertEqual(world.mail("bonnie"), [])
        self.assertTrue(client.deliver(b"X: y\r\n" * 20 + b"\r\n" + b"x" * 5000 + b"\r\n").startswith(b"250 "))

    def test_nothing_but_a_dot(self) -> None:
        """An empty message is a message."""
        world = World()
        self.assertTrue(world.connect().deliver(b"").startswith(b"250 "))
        self.assertEqual(world.mail("bonnie")[0].count(b"\r\n"), 4)

    def test_one_octet_at_a_time(self) -> None:
        """A message that drips in is stored as one that came at once."""
        content = b"Subject: x\r\nTo: y\r\n\r\nbody\r\n\r\n.\r\n"
        world = World()
        client = world.connect()
        client.say(OPENING + b"DATA\r\n")
        for at in range(len(content)):
            client.server.dataReceived(content[at:at + 1])
        self.assertTrue(client.read().startswith(b"250 "))
        self.assertTrue(world.mail("bonnie")[0].endswith(b"\r\nSubject: x\r\nTo: y\r\n\r\nbody\r\n\r\n"))


class TimeTests(SynchronousTestCase):
    """Deadlines and the sweep."""

    def setUp(self) -> None:
        self.world = World()
        self.world.sessions.start()
        self.addCleanup(self.world.sessions.stop)

    def test_idle(self) -> None:
        """A client that says nothing for five minutes is sent away."""
        client = self.world.connect()
        self.pass_time(200)
        client.say(b"NOOP\r\n")
        self.pass_time(200)
        self.assertFalse(client.closed)
        self.pass_time(102)
        self.assertEqual(client.read(), reply.IDLE_TOO_LONG.wire)
        self.assertTrue(client.closed)

    def pass_time(self, seconds: int) -> None:
        for _ in range(seconds):
            self.world.clock.advance(1)

    def test_busy_is_not_idle(self) -> None:
        """While the store commits, the client is not late, however long it takes (S9)."""
        self.world.store.hold = True
        client = self.world.connect()
        client.deliver()
        self.pass_time(1000)
        self.assertEqual(client.read(), b"")
        self.world.store.let_go()
        self.assertTrue(client.read().startswith(b"250 "))
        self.pass_time(302)
        self.assertEqual(client.read(), reply.IDLE_TOO_LONG.wire)

    def test_a_slow_store(self) -> None:
        """While the store is behind with content, the client is not late either."""
        self.world.store.slow = True
        client = self.world.connect()
        client.say(OPENING + b"DATA\r\nSubject: x\r\n\r\nbody\r\n")
        self.pass_time(1000)
        self.assertFalse(client.closed)
        self.world.store.slow = False
        self.world.store.behind.pop().callback(None)
        self.pass_time(299)
        self.assertTrue(client.say(b".\r\n").startswith(b"250 "))
        self.pass_time(302)
        self.assertEqual(client.read(), reply.IDLE_TOO_LONG.wire)

    def test_a_client_that_does_not_close(self) -> None:
        """Ten seconds after the farewell the connection is cut."""
        client = self.world.connect()
        client.say(b"QUIT\r\n")
        aborted: list[bool] = []
        client.transport.abortConnection = lambda: aborted.append(True)
        self.pass_time(9)
        self.assertEqual(aborted, [])
        self.pass_time(3)
        self.assertEqual(aborted, [True])

    def test_time_to_log_in(self) -> None:
        """Where a login is required it has two minutes, whatever the client says meanwhile."""
        world = World(auth="require")
        world.sessions.start()
        self.addCleanup(world.sessions.stop)
        slow, quick, trusted = world.connect(), world.connect(LOOPBACK), world.connect(TRUSTED)
        for _ in range(13):
            for client in (slow, trusted):
                client.say(b"NOOP\r\n")
            for _ in range(10):
                world.clock.advance(1)
            self.assertEqual(quick.say(b"EHLO x\r\n" + (PLAIN if not quick.server._user else b""))[:3], b"250")
        self.assertTrue(slow.closed)
        self.assertFalse(quick.closed or trusted.closed)

    def test_no_login_in_time(self) -> None:
        """The farewell says what was missed."""
        world = World(auth="require")
        world.sessions.start()
        self.addCleanup(world.sessions.stop)
        client = world.connect()
        for _ in range(122):
            world.clock.advance(1)
        self.assertEqual(client.read(), reply.LOGIN_TOO_SLOW.wire)


class CountTests(SynchronousTestCase):
    """How many may come."""

    def test_per_client(self) -> None:
        """The 21st connection of one client gets 421; when one has gone the next may come."""
        world = World()
        clients = [world.connect() for _ in range(20)]
        refused = world.connect()
        self.assertEqual(refused.greeting, reply.TOO_MANY_CONNECTIONS.wire)
        self.assertTrue(refused.closed)
        self.assertTrue(world.connect("192.0.2.8").greeting.startswith(b"220"))
        refused.lose()
        clients[0].lose()
        self.assertTrue(world.connect().greeting.startswith(b"220"))

    def test_in_all(self) -> None:
        """One more than all connections together gets 421."""
        world = World(Limits(connections=2))
        world.connect("192.0.2.1")
        world.connect("192.0.2.2")
        self.assertEqual(world.connect("192.0.2.3").greeting, reply.TOO_MANY_CONNECTIONS.wire)

    def test_one_too_many_before_a_handshake(self) -> None:
        """With implicit TLS one too many is cut off: it would have to be waited for otherwise."""
        world = World(Limits(connections=0), implicit_tls=True)
        client = world.connect()
        self.assertEqual(client.greeting, b"")
        self.assertTrue(client.closed)


class StopTests(SynchronousTestCase):
    """The orderly end of the bridge."""

    def test_idle_sessions(self) -> None:
        """Idle sessions get 421 at once, and no new one is let in."""
        world = World()
        client = world.connect()
        gone = world.sessions.goodbye()
        self.assertEqual(client.read(), reply.SHUTTING_DOWN.wire)
        self.assertTrue(client.closed)
        self.assertNoResult(gone)
        self.assertEqual(world.connect("192.0.2.99").greeting, reply.TOO_MANY_CONNECTIONS.wire)
        client.lose()
        self.successResultOf(gone)

    def test_nobody_there(self) -> None:
        """With nobody there it is over at once, and nobody is let in any more."""
        world = World()
        self.successResultOf(world.sessions.goodbye())
        self.assertEqual(world.connect().greeting, reply.TOO_MANY_CONNECTIONS.wire)

    def test_message_in_progress(self) -> None:
        """A message in progress is taken to its end; then the session is told goodbye."""
        world = World()
        client = world.connect()
        client.say(OPENING + b"DATA\r\n")
        world.sessions.goodbye()
        self.assertEqual(client.read(), b"")
        self.assertRegex(client.say(b"Subject: x\r\n\r\n.\r\n"), rb"\A250 .*\r\n421 4\.3\.2 .*\r\n\Z")
        self.assertEqual(len(world.mail("bonnie")), 1)
        self.assertTrue(client.closed)

    def test_commit_in_progress(self) -> None:
        """A message that is being committed gets its answer first."""
        world = World()
        world.store.hold = True
        client = world.connect()
        client.deliver()
        world.sessions.goodbye()
        self.assertEqual(client.read(), b"")
        world.store.let_go()
        self.assertRegex(client.read(), rb"\A250 .*\r\n421 4\.3\.2 .*\r\n\Z")

    def test_reset_ends_it_too(self) -> None:
        """A transaction that is given up ends the session as well."""
        world = World()
        client = world.connect()
        client.say(OPENING)
        world.sessions.goodbye()
        self.assertEqual(client.say(b"RSET\r\n"), reply.FLUSHED.wire + reply.SHUTTING_DOWN.wire)


class LoginTests(SynchronousTestCase):
    """AUTH at the edge."""

    def test_mechanisms(self) -> None:
        """PLAIN, LOGIN and SCRAM log in on this host."""
        for commands in (
            [PLAIN],
            [b"AUTH LOGIN\r\n", base64.b64encode(b"Bonnie@example.org") + b"\r\n",
             base64.b64encode(b"right") + b"\r\n"],
        ):
            world = World()
            client = world.connect(LOOPBACK)
            client.say(b"EHLO x\r\n")
            answers = [client.say(command) for command in commands]
            self.assertEqual(answers[-1], reply.LOGGED_IN.wire)
            self.assertTrue(client.deliver(sender=b"bonnie@example.org").startswith(b"250 "))
            client.lose()
            self.assertEqual(world.left, ["bonnie"])

    def test_scram(self) -> None:
        """SCRAM-SHA-256 logs in anywhere, and the server proves itself."""
        world = World()
        client = world.connect(STRANGER)
        client.say(b"EHLO x\r\n")
        first = b"n=bonnie,r=abc"
        answer = client.say(b"AUTH SCRAM-SHA-256 " + base64.b64encode(b"n,," + first) + b"\r\n")
        challenge = base64.b64decode(answer[4:])
        nonce, salt, rounds = (part[2:] for part in challenge.split(b","))
        salted = hashlib.pbkdf2_hmac("sha256", b"right", base64.b64decode(salt), int(rounds))
        final = b"c=biws,r=" + nonce
        said = b",".join([first, challenge, final])
        key = _hmac(salted, b"Client Key")
        mask = _hmac(hashlib.sha256(key).digest(), said)
        proof = bytes(a ^ b for a, b in zip(key, mask, strict=True))
        answer = client.say(base64.b64encode(final + b",p=" + base64.b64encode(proof)) + b"\r\n")
        signature = base64.b64encode(_hmac(_hmac(salted, b"Server Key"), said))
        self.assertEqual(base64.b64decode(answer[4:]), b"v=" + signature)
        self.assertEqual(client.say(b"\r\n"), reply.LOGGED_IN.wire)

    def test_hidden_without_tls(self) -> None:
        """From elsewhere no password is asked for in clear, and none is taken; on this host it is."""
        world = World()
        said = world.connect(STRANGER).say(b"EHLO x\r\n")
        self.assertIn(b"AUTH SCRAM-SHA-256", said)
        self.assertNotIn(b"PLAIN", said)
        self.assertNotIn(b"LOGIN", said)
        client = world.connect(STRANGER)
        client.say(b"EHLO x\r\n")
        self.assertEqual(client.say(PLAIN), reply.UNKNOWN_MECHANISM.wire)
        for peer in (LOOPBACK, "::1", "::ffff:127.0.0.1"):
            self.assertIn(b" PLAIN LOGIN", world.connect(peer).say(b"EHLO x\r\n"), peer)

    def test_allowed_in_clear(self) -> None:
        """The operator can allow it."""
        client = World(auth_in_clear=True).connect(STRANGER)
        self.assertIn(b" PLAIN LOGIN", client.say(b"EHLO x\r\n"))
        self.assertEqual(client.say(PLAIN), reply.LOGGED_IN.wire)

    def test_wrong_passwords(self) -> None:
        """A wrong password gets 535; after five of them further tries wait (454)."""
        client = World().connect(LOOPBACK)
        client.say(b"EHLO x\r\n")
        wrong = b"AUTH PLAIN " + base64.b64encode(b"\0bonnie\0wrong") + b"\r\n"
        for _ in range(5):
            self.assertEqual(client.say(wrong), reply.WRONG_PASSWORD.wire)
        client.say(wrong)
        self.assertEqual(client.say(PLAIN), reply.LOGIN_LATER.wire)

    def test_login_that_fails(self) -> None:
        """A fault of ours is 454 and logged, never 535."""
        world = World()
        world.login.login = lambda *arguments: fail(StoreError("no disk"))  # type: ignore
        client = world.connect(LOOPBACK)
        client.say(b"EHLO x\r\n")
        self.assertEqual(client.say(PLAIN), reply.AUTH_UNAVAILABLE.wire)
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)

    def test_lost_while_logging_in(self) -> None:
        """A client that leaves while its password is checked is logged out again."""
        world = World()
        client = world.connect(LOOPBACK)
        client.say(b"EHLO x\r\n")
        client.server.dataReceived(PLAIN)
        client.lose()
        world.pool.work_off()
        self.assertEqual(world.left, ["bonnie"])

    def test_sender(self) -> None:
        """Who is logged in sends as himself."""
        world = World()
        client = world.connect(LOOPBACK)
        client.say(b"EHLO x\r\n" + PLAIN)
        self.assertEqual(client.say(b"MAIL FROM:<clyde@example.org>\r\n"), reply.NOT_YOUR_ADDRESS.wire)
        self.assertEqual(client.say(b"MAIL FROM:<a@elsewhere.example>\r\n"), reply.NOT_YOUR_ADDRESS.wire)
        for sender in (b"", b"bonnie@example.org", b"Bonnie+tag@example.org", b"office@example.org"):
            self.assertEqual(client.codes(b"MAIL FROM:<%b>\r\nRSET\r\n" % sender), [250, 250], sender)

    def test_required(self) -> None:
        """Where a login is required, only listed clients go without."""
        world = World(auth="require")
        self.assertEqual(world.connect(STRANGER).say(b"HELO x\r\n" + MAIL)[-len(reply.NEED_LOGIN.wire):],
                         reply.NEED_LOGIN.wire)
        self.assertTrue(world.connect(TRUSTED).deliver().startswith(b"250 "))

    def test_off(self) -> None:
        """Where it is off, it is not offered and not taken."""
        client = World(auth="off").connect(LOOPBACK)
        self.assertNotIn(b"AUTH", client.say(b"EHLO x\r\n"))
        self.assertEqual(client.say(PLAIN), reply.UNKNOWN_MECHANISM.wire)

    def test_nobody_without_login(self) -> None:
        """A listener without a delivery for strangers wants a login from everybody."""
        world = World()
        client = world.connect(TRUSTED, world.make_factory(None))
        self.assertEqual(client.say(b"HELO x\r\n" + MAIL)[-len(reply.NEED_LOGIN.wire):], reply.NEED_LOGIN.wire)
        local = world.connect(LOOPBACK, world.make_factory(None))
        local.say(b"EHLO x\r\n" + PLAIN)
        self.assertTrue(local.deliver(sender=b"bonnie@example.org").startswith(b"250 "))


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


class NewlineTests(SynchronousTestCase):
    """Bare newlines (invariant 3)."""

    CONTENT = b"Subject: x\n\none\n.\ntwo\r\n"

    def test_refused(self) -> None:
        """By default they are refused from everybody."""
        self.assertEqual(World().connect(TRUSTED).deliver(self.CONTENT), reply.BARE_NEWLINE.wire)

    def test_normalise(self) -> None:
        """Set to normalise, they become CR LF for listed and logged-in clients, and are refused from strangers."""
        world = World(normalise=True)
        self.assertEqual(world.connect(STRANGER).deliver(self.CONTENT), reply.BARE_NEWLINE.wire)
        self.assertTrue(world.connect(TRUSTED).deliver(self.CONTENT).startswith(b"250 "))
        self.assertTrue(world.mail("bonnie")[0].endswith(b"Subject: x\r\n\r\none\r\n.\r\ntwo\r\n"))
        client = world.connect(LOOPBACK)
        self.assertEqual(client.deliver(self.CONTENT), reply.BARE_NEWLINE.wire)
        client.say(PLAIN)
        self.assertTrue(client.deliver(self.CONTENT, b"bonnie@example.org").startswith(b"250 "))


class ReloadTests(SynchronousTestCase):
    """Settings replaced while it runs."""

    def test_later_sessions(self) -> None:
        """New sessions obey new settings."""
        world = World()
        world.factory.settings = evolve(world.settings, auth="off")
        self.assertNotIn(b"AUTH", world.connect(LOOPBACK).say(b"EHLO x\r\n"))


class QueueTests(SynchronousTestCase):
    """ETRN (RFC 1985)."""

    def test_etrn(self) -> None:
        """A listed client makes the queue try what waits for a domain and hears how much that is; no stranger may."""
        world = World()
        asked: list[str] = []
        counts = [succeed(3), succeed(0), fail(StoreError("no disk"))]
        self.assertEqual(world.connect(TRUSTED).say(b"HELO x\r\nETRN a.org\r\n").splitlines()[-1] + b"\r\n",
                         reply.ETRN_REFUSED.wire)
        world.factory.etrn = lambda domain: (asked.append(domain), counts.pop(0))[1]
        client = world.connect(TRUSTED)
        client.say(b"HELO x\r\n")
        self.assertEqual(client.say(b"ETRN a.org\r\n"), b"253 2.0.0 Trying 3 that waited\r\n")
        self.assertEqual(client.say(b"ETRN b.org\r\n"), reply.NOTHING_WAITS.wire)
        self.assertEqual(client.say(b"ETRN c.org\r\n"), reply.ETRN_UNAVAILABLE.wire)
        self.assertEqual(len(self.flushLoggedErrors(StoreError)), 1)
        stranger = world.connect(STRANGER)
        stranger.say(b"HELO x\r\n")
        self.assertEqual(stranger.say(b"ETRN d.org\r\n"), reply.ETRN_REFUSED.wire)
        self.assertEqual(asked, ["a.org", "b.org", "c.org"])
