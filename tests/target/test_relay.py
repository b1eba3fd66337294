"""The relay: an outcome for each recipient, failover, kept connections, and nothing sent twice."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailbridge.interfaces import ITarget
from mailbridge.outcome import Delivered, Outcome, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.store.changes import Wishes
from mailbridge.target.pool import PoolLimits
from mailbridge.testing.hostile import GREETING, Close, Script, Slowly, ehlo
from tests.target.relay_world import RelayWorld, result

NO_8BIT: Script = {"EHLO": (ehlo("PIPELINING", "SIZE"),)}
PLAIN: Script = {"EHLO": (ehlo("SIZE"),)}


def said(outcome: Outcome) -> str:
    """Kind and enhanced code in short."""
    if isinstance(outcome, Delivered):
        return "delivered"
    if isinstance(outcome, RouteFailure):
        return "route"
    return outcome.reply.enhanced


class OutcomeTests(SynchronousTestCase):
    """One server."""

    def test_interface(self) -> None:
        """The relay is a target with the name of its routes."""
        relay = RelayWorld().relay
        verifyObject(ITarget, relay)
        self.assertEqual(relay.name, "relay:office")
        self.assertEqual(relay.concurrency(None), 10)  # type: ignore[arg-type]

    def test_one_transaction(self) -> None:
        """All recipients of one message go in one transaction, and each has the server's word."""
        world = RelayWorld()
        outcomes = world.send("b@there.example", "c@there.example")
        self.assertEqual(set(outcomes), {1, 2})
        for outcome in outcomes.values():
            self.assertEqual(outcome, Delivered("250 2.0.0 taken", "one.example:25", took_wishes=True))
        [(envelope, content)] = world.peers["one.example"].messages
        self.assertEqual(envelope[1:], (b"RCPT TO:<b@there.example>", b"RCPT TO:<c@there.example>"))
        self.assertEqual(content, b"Subject: x\r\n\r\nbody\r\n")

    def test_split(self) -> None:
        """More than a hundred recipients take several transactions over the same connection."""
        world = RelayWorld()
        outcomes = world.send(*(f"u{number}@there.example" for number in range(250)))
        self.assertEqual({said(outcome) for outcome in outcomes.values()}, {"delivered"})
        self.assertEqual(len(outcomes), 250)
        peer = world.peers["one.example"]
        self.assertEqual([len(envelope) - 1 for envelope, _ in peer.messages], [100, 100, 50])
        self.assertEqual(len(peer.sessions), 1)

    def test_each_recipient(self) -> None:
        """Some taken, some refused for now, some for good: each hears its own."""
        for script in ({}, PLAIN):
            world = RelayWorld(scripts={"one.example": {
                **script, "RCPT TO:<no@": (b"550 5.1.1 who\r\n",), "RCPT TO:<later@": (b"450 4.2.1 busy\r\n",)}})
            outcomes = world.send("b@there.example", "no@there.example", "later@there.example")
            self.assertEqual([said(outcomes[id]) for id in (1, 2, 3)], ["delivered", "5.1.1", "4.2.1"])
            self.assertIsInstance(outcomes[2], PermanentFailure)
            self.assertIsInstance(outcomes[3], TransientFailure)

    def test_table(self) -> None:
        """What a server says, and where, decides for all."""
        for script, expected in [
            ({"MAIL": (b"550 5.7.1 no\r\n",)}, "5.7.1"), ({"MAIL": (b"451 4.3.0 later\r\n",)}, "4.3.0"),
            ({"RCPT": (b"550 5.1.1 who\r\n",)}, "5.1.1"), ({"DATA": (b"554 5.6.0 no\r\n",)}, "5.6.0"),
            ({"end": (b"552 5.3.4 big\r\n",)}, "5.3.4"), ({"end": (b"451 4.3.0 later\r\n",)}, "4.3.0"),
            ({"end": (Close(),)}, "4.4.2"), ({"MAIL": (Close(),)}, "4.4.2"),
            ({"connect": (b"554 no\r\n",)}, "route"), ({"connect": (b"421 busy\r\n", Close())}, "4.3.2"),
            ({"connect": (b"250 hello\r\n",)}, "4.5.0"), ({"EHLO": (b"220 hello\r\n",)}, "4.5.0"),
            ({"EHLO": (ehlo("SIZE 10"),)}, "5.3.4"), ({"MAIL": (b"530 5.7.0 log in\r\n",)}, "route"),
        ]:
            world = RelayWorld(scripts={"one.example": script})
            self.assertEqual(said(world.send()[1]), expected, script)

    def test_unreachable(self) -> None:
        """A server that refuses connections makes its whole lane wait."""
        world = RelayWorld()
        del world.network.servers["one.example", 25]
        outcome = world.send()[1]
        self.assertIsInstance(outcome, TransientFailure)
        self.assertTrue(outcome.unreachable)  # type: ignore[union-attr]

    def test_wishes(self) -> None:
        """Wishes of the sender go on to a server that knows them; of another, the queue hears that it does not."""
        wishes = Wishes(("SUCCESS", "FAILURE"), "rfc822;x@y.example")
        for script, took in (({}, True), (PLAIN, False)):
            world = RelayWorld(scripts={"one.example": script})
            outcome = world.send(wishes=wishes, origin='{"ret":"HDRS","envid":"id=1"}')[1]
            self.assertEqual(outcome.took_wishes, took)  # type: ignore[union-attr]
            commands = world.peers["one.example"].commands
            self.assertEqual(b"RET=HDRS ENVID=id+3D1" in commands[1], took)
            self.assertEqual(b"NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x@y.example" in commands[2], took)

    def test_null_sender(self) -> None:
        """A bounce goes out with the null sender."""
        world = RelayWorld()
        world.send(sender="")
        self.assertTrue(world.peers["one.example"].commands[1].startswith(b"MAIL FROM:<>"))


class ContentTests(SynchronousTestCase):
    """8-bit and UTF-8."""

    def test_recoded(self) -> None:
        """8-bit text to a server without 8BITMIME goes out as quoted-printable; with 8BITMIME as it is."""
        content = b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n.\r\n"
        world = RelayWorld()
        world.send(content=content)
        self.assertEqual(world.peers["one.example"].messages[0][1], content)
        self.assertIn(b"BODY=8BITMIME", world.peers["one.example"].commands[1])
        world = RelayWorld(scripts={"one.example": NO_8BIT})
        self.assertEqual(said(world.send(content=content)[1]), "delivered")
        sent = world.peers["one.example"].messages[0][1]
        self.assertIn(b"gr=C3=BC=C3=9Fe\r\n=2E\r\n", sent)
        self.assertIn(b"MAIL FROM:<a@us.example> SIZE=%d" % len(sent), world.peers["one.example"].commands)

    def test_large(self) -> None:
        """A large message is recoded a little at a time, and all of it arrives."""
        line = b"gr\xc3\xbc\xc3\x9fe an alle, die das lesen und weiter lesen\r\n"
        content = b"Content-Type: text/plain; charset=utf-8\r\nMIME-Version: 1.0\r\n\r\n" + line * 10_000
        world = RelayWorld(scripts={"one.example": NO_8BIT})
        attempt = world.begin(content=content)
        for _ in range(100):
            world.network.settle()
        self.assertEqual(said(result(attempt)[1]), "delivered")
        self.assertEqual(world.peers["one.example"].messages[0][1].count(b"gr=C3=BC=C3=9Fe an"), 10_000)

    def test_signed(self) -> None:
        """What must not be changed and cannot go as it is comes back with 5.6.3; the connection stays."""
        content = (b"Content-Type: multipart/signed; boundary=B\r\n\r\n--B\r\n\r\ngr\xc3\xbc\xc3\x9fe\r\n--B\r\n\r\n"
                   b"sig\r\n--B--\r\n")
        world = RelayWorld(scripts={"one.example": NO_8BIT})
        self.assertEqual(said(world.send(content=content)[1]), "5.6.3")
        self.assertEqual(said(world.send()[1]), "delivered")
        self.assertEqual(len(world.peers["one.example"].sessions), 1)

    def test_utf8_addresses(self) -> None:
        """Without SMTPUTF8 a UTF-8 domain is written in ASCII, and a UTF-8 name comes back with 5.6.7."""
        recipients = ("b@bücher.example", "jürgen@there.example", "c@there.example")
        world = RelayWorld()
        self.assertEqual({said(one) for one in world.send(*recipients).values()}, {"delivered"})
        self.assertIn("RCPT TO:<jürgen@there.example>".encode(), world.peers["one.example"].commands)
        world = RelayWorld(scripts={"one.example": PLAIN})
        outcomes = world.send(*recipients)
        self.assertEqual([said(outcomes[id]) for id in (1, 2, 3)], ["delivered", "5.6.7", "delivered"])
        self.assertIn(b"RCPT TO:<b@xn--bcher-kva.example>", world.peers["one.example"].commands)
        outcomes = world.send("c@there.example", sender="jürgen@us.example")
        self.assertEqual(said(outcomes[1]), "5.6.7")


class FailoverTests(SynchronousTestCase):
    """Several servers."""

    servers = ("one.example", "two.example", "three.example")

    def test_before_the_content(self) -> None:
        """What fails for now before the content has gone out is tried with the next server."""
        for script in [
            {"connect": (b"421 busy\r\n", Close())}, {"connect": (b"554 no\r\n",)}, {"connect": (Close(),)},
            {"MAIL": (b"451 4.3.0 later\r\n",)}, {"RCPT": (b"450 4.2.0 grey\r\n",)}, {"DATA": (b"451 4.3.0 no\r\n",)},
            {"MAIL": (Close(),)}, {"RCPT": (b"421 4.3.2 bye\r\n", Close())},
        ]:
            world = RelayWorld(self.servers, {"one.example": script})
            self.assertEqual(world.send()[1].server, "two.example:25", script)  # type: ignore[union-attr]
            self.assertEqual(len(world.peers["two.example"].messages), 1)

    def test_after_the_dot(self) -> None:
        """Once all content has gone out, no other server gets it, whatever the first one says."""
        for script in ({"end": (b"451 4.3.0 later\r\n",)}, {"end": (Close(),)}, {"end": (b"421 bye\r\n", Close())}):
            world = RelayWorld(self.servers, {"one.example": script})
            self.assertIsInstance(world.send()[1], TransientFailure)
            self.assertEqual(world.peers["two.example"].sessions, [])

    def test_for_good(self) -> None:
        """A refusal for good is the last word; other servers are not asked."""
        world = RelayWorld(self.servers, {"one.example": {"RCPT": (b"550 5.1.1 who\r\n",)}})
        self.assertEqual(said(world.send()[1]), "5.1.1")
        self.assertEqual(world.peers["two.example"].sessions, [])

    def test_only_those_who_wait(self) -> None:
        """The next server gets only the recipients who have no outcome yet."""
        world = RelayWorld(self.servers, {"one.example": {"RCPT TO:<later@": (b"450 4.2.1 busy\r\n",)}})
        outcomes = world.send("b@there.example", "later@there.example")
        self.assertEqual([outcomes[id].server for id in (1, 2)],  # type: ignore[union-attr]
                         ["one.example:25", "two.example:25"])
        self.assertEqual(world.peers["two.example"].messages[0][0][1:], (b"RCPT TO:<later@there.example>",))

    def test_none_left(self) -> None:
        """With no server left, the word of one that spoke counts before those that could not be reached."""
        world = RelayWorld(self.servers, {"two.example": {"RCPT": (b"450 4.2.0 grey\r\n",)}})
        del world.network.servers["one.example", 25], world.network.servers["three.example", 25]
        outcome = world.send()[1]
        self.assertEqual(said(outcome), "4.2.0")
        self.assertFalse(outcome.unreachable)  # type: ignore[union-attr]

    def test_own_fault(self) -> None:
        """A fault of our own at one server pauses the route, unless another server takes the mail."""
        refuses: Script = {"connect": (b"554 you are listed\r\n",)}
        world = RelayWorld(self.servers[:2], {"one.example": refuses})
        self.assertEqual(said(world.send()[1]), "delivered")
        del world.network.servers["two.example", 25]
        world.network.advance(60)
        self.assertEqual(said(world.send()[1]), "route")


class KeptTests(SynchronousTestCase):
    """Connections that stay."""

    def test_reused(self) -> None:
        """Message after message goes over one connection, without a command too many."""
        world = RelayWorld()
        for _ in range(3):
            self.assertEqual(said(world.send()[1]), "delivered")
        peer = world.peers["one.example"]
        self.assertEqual(len(peer.sessions), 1)
        self.assertEqual([line.split(b" ")[0] for line in peer.commands],
                         [b"EHLO", *[b"MAIL", b"RCPT", b"DATA"] * 3])

    def test_after_a_refusal(self) -> None:
        """A transaction that came to nothing is undone before the next."""
        world = RelayWorld(scripts={"one.example": {"RCPT TO:<no@": (b"550 5.1.1 who\r\n",), "DATA": (b"554 no\r\n",)}})
        world.send("no@there.example")
        world.send("no@there.example")
        self.assertIn(b"RSET", world.peers["one.example"].commands)
        self.assertEqual(len(world.peers["one.example"].sessions), 1)

    def test_worn_out(self) -> None:
        """After so many messages a connection says goodbye."""
        world = RelayWorld(limits=PoolLimits(messages=2))
        for _ in range(3):
            world.send()
        peer = world.peers["one.example"]
        self.assertEqual(len(peer.sessions), 2)
        self.assertEqual(peer.commands.count(b"QUIT"), 1)

    def test_idle(self) -> None:
        """A connection without work says goodbye in time, and then nothing ticks any more."""
        world = RelayWorld(limits=PoolLimits(idle=30))
        world.send()
        for _ in range(32):
            world.network.advance(1)
        self.assertEqual(world.peers["one.example"].commands[-1], b"QUIT")
        world.network.settle()
        self.assertEqual(world.network.getDelayedCalls(), [])

    def test_closed_meanwhile(self) -> None:
        """A kept connection that the server has closed is no fault of the message."""
        world = RelayWorld()
        world.send()
        world.peers["one.example"].sessions[0].transport.loseConnection()
        world.network.settle()
        self.assertEqual(said(world.send()[1]), "delivered")
        self.assertEqual(len(world.peers["one.example"].sessions), 2)

    def test_closed_at_mail(self) -> None:
        """One that is closed, or says 421, at the first command is replaced by a new one, once."""
        for ending in ((Close(),), (b"421 4.3.2 idle too long\r\n", Close())):
            world = RelayWorld()
            world.send()
            peer = world.peers["one.example"]
            peer.script = {"MAIL FROM:<late@": ending}
            outcome = world.send(sender="late@us.example")[1]
            self.assertIsInstance(outcome, TransientFailure)
            self.assertEqual(len(peer.sessions), 2)
            self.assertEqual(len(peer.messages), 1)

    def test_other_destinations(self) -> None:
        """A connection is kept for its own destination only."""
        world = RelayWorld(())
        for domain in ("a.example", "b.example"):
            world.names.mx(domain, (10, f"mx.{domain}"))
            world.serve(f"mx.{domain}")
        for domain in ("a.example", "b.example", "a.example"):
            self.assertEqual(said(world.send(f"x@{domain}", destination=domain)[1]), "delivered")
        self.assertEqual([len(world.peers[f"mx.{name}.example"].sessions) for name in "ab"], [1, 1])
        self.assertEqual(world.names.asked.count(("MX", "a.example")), 1)

    def test_stop(self) -> None:
        """At the end kept connections say goodbye, and attempts that run are told so."""
        world = RelayWorld(scripts={"one.example": {"MAIL FROM:<slow@": ()}})
        world.send()
        running = world.begin(sender="slow@us.example")
        closed = world.relay.close()
        world.network.settle()
        self.assertEqual(said(result(running)[1]), "4.3.2")
        self.assertTrue(closed.called)
        self.assertEqual(world.network.getDelayedCalls(), [])

    def test_retire(self) -> None:
        """A relay that another one replaces hears the answer it waits for, or gives up in time, and is gone then."""
        for answer, expected in ((Slowly(b"250 2.0.0 taken\r\n", 0.1), "delivered"), (None, "4.4.2")):
            script: Script = {"end": (answer,) if answer is not None else ()}
            world = RelayWorld(scripts={"one.example": script}, timeout=20)
            running = world.begin()
            world.relay.retire()
            for _ in range(250):
                world.network.advance(0.1)
            self.assertEqual(said(result(running)[1]), expected)
            self.assertEqual(len(world.peers["one.example"].sessions), 1)
            self.assertEqual(world.network.getDelayedCalls(), [])


class TimeTests(SynchronousTestCase):
    """Limits."""

    def test_attempt(self) -> None:
        """An attempt that takes too long ends, before and after the dot alike."""
        for script, expected in (({"MAIL": ()}, "4.4.7"), ({"end": ()}, "4.4.2"), ({"connect": ()}, "4.4.7")):
            world = RelayWorld(scripts={"one.example": script}, timeout=20)
            attempt = world.begin()
            for _ in range(22):
                world.network.advance(1)
            self.assertEqual(said(result(attempt)[1]), expected, script)

    def test_connections(self) -> None:
        """No more connections than allowed go to one destination; others wait for their turn."""
        scripts: dict[str, Script] = {"one.example": {"MAIL FROM:<slow@": ()}}
        world = RelayWorld(scripts=scripts, limits=PoolLimits(connections=1), timeout=5)
        slow = world.begin(sender="slow@us.example")
        other = world.begin()
        self.assertEqual(len(world.peers["one.example"].sessions), 1)
        for _ in range(7):
            world.network.advance(1)
        self.assertEqual(said(result(slow)[1]), "4.4.7")
        self.assertIn(said(result(other)[1]), ("delivered", "4.4.7"))


class DirectTests(SynchronousTestCase):
    """By MX."""

    def test_failover(self) -> None:
        """Hosts are tried by preference."""
        world = RelayWorld(())
        world.names.mx("there.example", (20, "backup.example"), (10, "best.example"))
        world.serve("best.example", {"connect": (b"421 busy\r\n", Close())})
        world.serve("backup.example", {"connect": (GREETING,)})
        self.assertEqual(world.send(destination="there.example")[1].server, "backup.example:25")  # type: ignore

    def test_no_host(self) -> None:
        """A domain that takes no mail, is unknown, or leads back to us is an outcome, not an error."""
        world = RelayWorld(())
        world.names.null_mx("null.example")
        world.names.mx("loop.example", (10, "us.example"))
        for domain, expected in [
            ("null.example", "5.1.10"), ("loop.example", "5.4.6"), ("gone.example", "5.1.2"), ("[127.0.0.1]", "5.4.6"),
            ("a..b", "5.1.2"),
        ]:
            self.assertEqual(said(world.send(destination=domain)[1]), expected, domain)

    def test_strangers_refuse(self) -> None:
        """A stranger's 554 at the door is no fault of ours: the mail waits."""
        world = RelayWorld(())
        world.names.mx("there.example", (10, "best.example"))
        world.serve("best.example", {"connect": (b"554 no\r\n",)})
        self.assertIsInstance(world.send(destination="there.example")[1], TransientFailure)
