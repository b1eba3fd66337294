"""The rules of one SMTP listener: who may come, how many, how they end their data, and what its log says."""

from __future__ import annotations

import base64
from typing import Any

from attrs import evolve
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.mail.smtp import IMessageDelivery
from twisted.trial.unittest import SynchronousTestCase

from mailbridge import reply
from mailbridge.accounts.foreign import foreign_login, sends_as_himself
from mailbridge.accounts.login import Avatar
from mailbridge.accounts.throttle import Throttle
from mailbridge.edge.delivery import UserDelivery
from mailbridge.edge.smtp_listener import EndMark, SMTPServerFactory
from mailbridge.limits import Limits
from mailbridge.logs.journal import Journal
from mailbridge.routing.clients import ClientList
from tests.logs.sinks import Lines

from .smtp_world import LOOPBACK, PLAIN, STRANGER, TRUSTED, Client, World

OPENING = b"HELO x\r\nMAIL FROM:<a@elsewhere.example>\r\n"
KNOWN = "203.0.113.9"


class StrangerTests(SynchronousTestCase):
    """`strangers = "refuse"`."""

    def test_sent_away(self) -> None:
        """Where nobody can log in, who is not listed hears so at once and takes up no place; listed clients are served.
        """
        world = World(Limits(connections=1), strangers="refuse", auth="off")
        for _ in range(3):
            client = world.connect(STRANGER)
            self.assertEqual(client.greeting, reply.STRANGER.wire)
            self.assertTrue(client.closed)
            self.assertEqual(client.say(OPENING), b"")
        self.assertTrue(world.connect(TRUSTED).deliver().startswith(b"250 "))

    def test_no_way_to_log_in(self) -> None:
        """A login that would need TLS, which is not there, is no way in; from this host, or with TLS, it is."""
        for peer, listener, greeted in [
            (STRANGER, {}, False), (STRANGER, {"starttls": "offer"}, True), (STRANGER, {"auth_in_clear": True}, True),
            (LOOPBACK, {}, True), (LOOPBACK, {"auth": "off"}, False),
        ]:
            rules: dict[str, Any] = {"strangers": "refuse", **listener}
            client = World(**rules).connect(peer)
            self.assertEqual(client.greeting.startswith(b"220 "), greeted, (peer, listener))

    def test_login_instead(self) -> None:
        """Who can log in is greeted, and has to, before MAIL and in time."""
        world = World(strangers="refuse", auth_in_clear=True)
        client = world.connect()
        self.assertEqual(client.codes(OPENING), [250, 530])
        client.say(b"EHLO x\r\n" + PLAIN)
        self.assertEqual(client.codes(b"MAIL FROM:<bonnie@example.org>\r\n"), [250])
        slow = world.connect()
        world.clock.advance(world.limits.login_time + 1)
        world.sessions._sweep()
        self.assertEqual(slow.read(), reply.LOGIN_TOO_SLOW.wire)

    def test_known(self) -> None:
        """Who may connect without being trusted needs no login for mail to users, and may not relay."""
        world = World(strangers="refuse", auth="off", known=ClientList.parse([KNOWN]))
        client = world.connect(KNOWN)
        self.assertTrue(client.deliver().startswith(b"250 "))
        self.assertEqual(client.codes(b"MAIL FROM:<a@b>\r\nRCPT TO:<x@elsewhere.example>\r\n"), [250, 550])

    def test_known_by_name(self) -> None:
        """A host on the list is known once its name was looked up; before that the client is asked to come again."""
        world = World(strangers="refuse", auth="off", known=ClientList.parse(["cxhlpsrv"]))
        self.assertEqual(world.connect(KNOWN).greeting, reply.STRANGER_YET.wire)
        world.factory.hosts = {"cxhlpsrv": frozenset({KNOWN})}
        self.assertTrue(world.connect(KNOWN).greeting.startswith(b"220 "))
        self.assertEqual(world.connect(STRANGER).greeting, reply.STRANGER.wire)

    def test_before_a_handshake(self) -> None:
        """With implicit TLS a stranger is cut off: no word reaches it."""
        client = World(strangers="refuse", auth="off", implicit_tls=True).connect()
        self.assertEqual(client.greeting, b"")
        self.assertTrue(client.closed)

    def test_greeted_by_default(self) -> None:
        """Other listeners take mail for their users from anybody."""
        self.assertTrue(World(auth="off").connect().deliver().startswith(b"250 "))


class CapTests(SynchronousTestCase):
    """`thread_num` and `socket_timeout`."""

    def test_connections(self) -> None:
        """One more than this listener serves gets 421; a place that is given back is taken again; others go on."""
        world = World(connections=2)
        first = world.connect("192.0.2.1")
        world.connect("192.0.2.2")
        third = world.connect("192.0.2.3")
        self.assertEqual(third.greeting, reply.TOO_MANY_CONNECTIONS.wire)
        third.lose()
        self.assertEqual(world.connect("192.0.2.3").greeting, reply.TOO_MANY_CONNECTIONS.wire)
        first.lose()
        self.assertTrue(world.connect("192.0.2.3").greeting.startswith(b"220 "))
        other = SMTPServerFactory(evolve(world.settings, name="smtp[1]", connections=None), world.sessions, world.clock,
                                  world.intake, world.login)
        self.assertTrue(world.connect("192.0.2.4", other).greeting.startswith(b"220 "))

    def test_idle(self) -> None:
        """Each listener has the patience of its own limits."""
        world = World()
        server = evolve(world.settings.server, limits=evolve(world.limits, smtp_idle=60.0))
        hasty = SMTPServerFactory(evolve(world.settings, server=server), world.sessions, world.clock, world.intake)
        patient, other = world.connect(), world.connect(STRANGER, hasty)
        world.clock.advance(61)
        world.sessions._sweep()
        self.assertEqual(other.read(), reply.IDLE_TOO_LONG.wire)
        self.assertEqual(patient.read(), b"")


class EndMarkTests(SynchronousTestCase):
    """`nonstandard_data_terminator` and `terminator_clients`."""

    def test_by_client(self) -> None:
        """Only the clients on the list end their data with the other line: not others, logged in or not."""
        marks = (EndMark(b" .", ClientList.parse([KNOWN])), EndMark(b"END", ClientList.parse([KNOWN, TRUSTED])))
        world = World(end_marks=marks, auth_in_clear=True)
        for peer, sender, login, taken in [
            (KNOWN, b"a@b", b"", b"one\r\n"), (STRANGER, b"a@b", b"", b"one\r\n .\r\nEND\r\n"),
            (TRUSTED, b"a@b", b"", b"one\r\n .\r\n"), (STRANGER, b"bonnie@example.org", PLAIN, b"one\r\n .\r\nEND\r\n"),
        ]:
            client = world.connect(peer)
            client.say(b"EHLO x\r\n" + login)
            client.say(b"MAIL FROM:<%b>\r\nRCPT TO:<bonnie@example.org>\r\nDATA\r\n" % sender)
            said = [client.say(part) for part in (b"\r\none\r\n", b" .\r\n", b"END\r\n", b".\r\n")]
            self.assertIn(b"250 2.0.0 Stored", b"".join(said))
            self.assertTrue(world.mail("bonnie")[-1].endswith(b"\r\n\r\n" + taken), (peer, world.mail("bonnie")[-1]))

    def test_smuggled_behind_it(self) -> None:
        """Commands sent along with the end are not run: the message is answered and the session closed, also when they
        come while it is being stored.
        """
        world = World(end_marks=(EndMark(b" .", ClientList.parse([KNOWN])),))
        smuggled = b"MAIL FROM:<evil@x>\r\nRCPT TO:<clyde@example.org>\r\nDATA\r\ntwo\r\n.\r\n"
        for pieces in ((b" .\r\n" + smuggled,), (b" .\r\n", smuggled), (b" .\r\nM", smuggled[1:])):
            world.store.hold = True
            client = world.connect(KNOWN)
            client.say(OPENING + b"RCPT TO:<bonnie@example.org>\r\nDATA\r\n")
            for piece in pieces:
                self.assertEqual(client.say(piece), b"")
            world.store.let_go()
            said = client.read()
            self.assertRegex(said, rb"\A250 2\.0\.0 Stored as \w+\r\n421 4\.7\.0 [^\r]+\r\n\Z")
            self.assertTrue(client.closed)
        self.assertEqual(len(world.mail("bonnie")), 3)
        self.assertEqual(world.mail("clyde"), [])


class ForeignLoginTests(SynchronousTestCase):
    """A listener with `authentication_lib`."""

    def setUp(self) -> None:
        self.world = World(auth_in_clear=True, strangers="refuse")
        checker = InMemoryUsernamePasswordDatabaseDontUse(**{"lamp@plant.example": b"right", "bonnie": b"right"})
        login = foreign_login(checker, self.delivery_for, Throttle(self.world.clock.seconds), "bridge.example.org",
                              lambda size: b"\1" * size, self.world.clock)
        self.factory = self.world.make_factory(self.world.intake, login)

    def delivery_for(self, address: str) -> Avatar:
        delivery = UserDelivery(self.world.intake, address, self.world.clock, sends_as_himself)
        return IMessageDelivery, delivery, lambda: None

    def client(self, name: bytes, password: bytes = b"right") -> tuple[Client, bytes]:
        client = self.world.connect(STRANGER, self.factory)
        plain = base64.b64encode(b"\0%b\0%b" % (name, password))
        return client, client.say(b"EHLO x\r\nAUTH PLAIN " + plain + b"\r\n").splitlines(keepends=True)[-1]

    def test_sends_as_himself(self) -> None:
        """The login is the sender's address: that one is taken in any case, any other gets 553."""
        client, answer = self.client(b"lamp@plant.example")
        self.assertEqual(answer, reply.LOGGED_IN.wire)
        self.assertTrue(client.deliver(sender=b"Lamp@plant.EXAMPLE").startswith(b"250 "))
        self.assertIn(b"with ESMTPA", self.world.mail("bonnie")[0])
        for sender in (b"", b"bonnie@example.org", b"lamp@elsewhere.example"):
            self.assertEqual(client.say(b"MAIL FROM:<%b>\r\n" % sender), reply.NOT_YOUR_ADDRESS.wire)

    def test_is_no_user_of_ours(self) -> None:
        """A name that a user of ours has as well gives none of his rights."""
        client, answer = self.client(b"bonnie")
        self.assertEqual(answer, reply.LOGGED_IN.wire)
        self.assertEqual(client.say(b"MAIL FROM:<bonnie@example.org>\r\n"), reply.NOT_YOUR_ADDRESS.wire)

    def test_wrong_password(self) -> None:
        """A wrong password is 535, and the session stays without login."""
        client, answer = self.client(b"lamp@plant.example", b"wrong")
        self.assertEqual(answer, reply.WRONG_PASSWORD.wire)
        self.assertEqual(client.say(b"MAIL FROM:<lamp@plant.example>\r\n"), reply.NEED_LOGIN.wire)

    def test_offer(self) -> None:
        """EHLO offers PLAIN and LOGIN."""
        self.assertIn(b"250 AUTH PLAIN LOGIN\r\n", self.world.connect(STRANGER, self.factory).say(b"EHLO x\r\n"))


class JournalTests(SynchronousTestCase):
    """What the log of a listener says."""

    def world_with(self, letters: str, data: bool = False, **listener: Any) -> tuple[World, Lines]:
        world = World(**listener)
        lines = Lines()
        world.factory.journal = Journal(world.clock, [(letters, lines)], data)
        return world, lines

    def test_accepted(self) -> None:
        """A message that was accepted is one line: its queue id, the client, the sender and the recipients."""
        world, lines = self.world_with("EWI")
        answer = world.connect().deliver(recipients=(b"bonnie@example.org", b"clyde@example.org"))
        stored = answer.decode().strip()
        self.assertEqual(lines.texts, [
            "I smtp[0] 192.0.2.7: accepted mail from <a@elsewhere.example> to <bonnie@example.org>, "
            f"<clyde@example.org>: {stored}"
        ])

    def test_refused(self) -> None:
        """So is what was refused, with the reply."""
        world, lines = self.world_with("EWI", auth_in_clear=True)
        client = world.connect()
        client.say(OPENING + b"RCPT TO:<x@elsewhere.example>\r\n")
        client.deliver(b"bare\n\r\n")
        client.say(b"AUTH PLAIN AGJvbm5pZQB3cm9uZw==\r\n")
        self.assertEqual(lines.texts, [
            "W smtp[0] 192.0.2.7: refused RCPT TO:<x@elsewhere.example> from <a@elsewhere.example>: "
            f"{reply.NO_RELAYING}",
            "W smtp[0] 192.0.2.7: refused mail from <a@elsewhere.example> to <bonnie@example.org>: "
            f"{reply.BARE_NEWLINE}",
            f"W smtp[0] 192.0.2.7: refused AUTH PLAIN (hidden): {reply.WRONG_PASSWORD}",
        ])

    def test_user(self) -> None:
        """After a login the user is named with the client."""
        world, lines = self.world_with("EWI", auth_in_clear=True)
        client = world.connect()
        client.say(b"EHLO x\r\n" + PLAIN)
        client.deliver(sender=b"bonnie@example.org")
        self.assertEqual(lines.texts[0], "I smtp[0] 192.0.2.7 (bonnie): logged in")
        self.assertTrue(lines.texts[1].startswith("I smtp[0] 192.0.2.7 (bonnie): accepted mail from <bonnie@example"))

    def test_sent_away(self) -> None:
        """Strangers and late clients are told of."""
        world, lines = self.world_with("W", strangers="refuse", auth="off")
        world.connect()
        self.assertEqual(lines.texts, [f"W smtp[0] 192.0.2.7: sent away: {reply.STRANGER}"])

    def test_dialogue(self) -> None:
        """With T it is the whole dialogue, without content, unless that is asked for."""
        for data in (False, True):
            world, lines = self.world_with("T", data)
            client = world.connect()
            client.deliver(b"Subject: x\r\n\r\n.\xffbody\r\n")
            client.lose()
            said = [text.removeprefix("T smtp[0] 192.0.2.7: ") for text in lines.texts]
            self.assertEqual(said[0], "connected")
            self.assertIn("<- MAIL FROM:<a@elsewhere.example>", said)
            self.assertIn(f"-> {reply.SEND_DATA}", said)
            self.assertEqual([line for line in said if "body" in line],
                             ["<- Subject: x\\r\\n\\r\\n.\\udcffbody\\r\\n"] if data else [])
            self.assertEqual(said[-1], "ended")

    def test_same_session(self) -> None:
        """The witness changes nothing of what a client hears."""
        for letters, data in (("EWI", False), ("EWIT", True)):
            world, _ = self.world_with(letters, data)
            plain = World()
            octets = b"EHLO x\r\nFOO\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bonnie@example.org>\r\nRCPT TO:<x@y>\r\n"
            octets += b"DATA\r\nx\r\n.\r\nQUIT\r\n"
            self.assertEqual(world.connect().say(octets), plain.connect().say(octets))
            self.assertEqual(world.mail("bonnie"), plain.mail("bonnie"))
