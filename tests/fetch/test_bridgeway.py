"""Fetched mail into the bridge: who gets what, one commit, nothing lost."""

from __future__ import annotations

import stat

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL, parse_mailbox
from mailbridge.errors import StoreError, StoreFull
from mailbridge.fetch.bridgeway import MOST_PUT_OFF
from mailbridge.fetch.decision import HEADER_TOO_LARGE, NO_MESSAGE
from mailbridge.fetch.recipient import Addressing
from mailbridge.fetch.wayin import End, Fate, Stop
from mailbridge.limits import Limits
from mailbridge.received import return_path
from mailbridge.routing.rules import Rule
from mailbridge.store.changes import Accept, Remember
from tests.fetch.bridge_world import BridgeWorld
from tests.fetch.upstream import ADDRESSING, account, message

NO_CARETAKER = Addressing(local=frozenset({"example.org"}))


class BridgeWayTests(SynchronousTestCase):
    """Messages by hand."""

    def setUp(self) -> None:
        self.world = BridgeWorld()
        self.addCleanup(self.world.close)

    def test_one_commit(self) -> None:
        """A message and what the ledger is told are one commit; every octet is kept below the trace line."""
        octets = message(1, b"bonnie@example.org, sales@example.org", 3000)
        fate = self.world.take(octets, account())
        self.assertEqual(fate, Fate(End.DELIVERED, "bonnie@example.org, sales@example.org"))
        [[accept, remember]] = self.world.commits
        assert isinstance(accept, Accept) and isinstance(remember, Remember)
        self.assertEqual((accept.deposits, accept.deliveries), ((1, 2), ()))
        self.assertEqual(accept.envelope.sender.text, "a@out.example")
        self.assertFalse(accept.envelope.origin.trusted)
        [stored] = self.world.mail("bonnie")
        self.assertRegex(stored, rb"\AReceived: from pop\.example \(local\)\r\n\tby bridge\.example\.org with POP3S ")
        self.assertTrue(stored.endswith(octets))
        self.assertEqual(stored.count(b"Received:"), 1)
        self.assertEqual(accept.maildrop_size, len(return_path("a@out.example")) + len(stored))

    def test_in_pieces(self) -> None:
        """However the octets come, the same is stored."""
        octets = message(1, size=5000)
        for pieces in (1, 7, 100, 1024, 4096):
            self.world.take(octets, account(), pieces)
        self.assertEqual({mail.partition(b"Return-Path")[2] for mail in self.world.mail("bonnie")},
                         {octets.partition(b"Return-Path")[2]})
        self.assertEqual(len(self.world.mail("bonnie")), 5)

    def test_some_refused(self) -> None:
        """Some refused: the others have it, and the caretaker gets one message for all the refused."""
        fate = self.world.take(message(1, b"nobody@example.org, bonnie@example.org, none@example.org"), account())
        self.assertEqual(fate.end, End.DELIVERED)
        self.assertEqual(len(self.world.mail("bonnie")), 1)
        [told] = self.world.mail("clyde")
        for words in (b"nobody@example.org\r\n    550 5.1.1", b"none@example.org", b"delivered to:\r\n  bonnie@"):
            self.assertIn(words, told)
        self.assertEqual(len(self.world.commits), 1)
        self.assertEqual([each.envelope.sender for each in self.world.accepts()],
                         [parse_mailbox(b"a@out.example"), NULL])

    def test_all_refused(self) -> None:
        """All refused: the caretaker has it alone."""
        fate = self.world.take(message(1, b"nobody@example.org"), account())
        self.assertEqual((fate.end, fate.text), (End.CARETAKER, "nobody@example.org: 550 5.1.1 No such user here"))
        self.assertEqual((len(self.world.mail("bonnie")), len(self.world.mail("clyde"))), (0, 1))

    def test_wrapped(self) -> None:
        """A large multipart message for the caretaker is wrapped and complete."""
        octets = (b"To: nobody@example.org\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n"
                  + b"line\r\n" * 20_000 + b"--b--\r\n")
        self.world.take(octets, account(), 4096)
        [told] = self.world.mail("clyde")
        self.assertIn(octets, told)
        self.assertTrue(told.endswith(b"--\r\n"))

    def test_no_recipient(self) -> None:
        """No recipient in the header: the message goes unchanged to the caretaker, under a line that says why."""
        octets = b"Subject: x\r\n\r\nbody\r\n"
        self.assertEqual(self.world.take(octets, account()), Fate(End.CARETAKER, "no-recipient-header"))
        [told] = self.world.mail("clyde")
        self.assertTrue(told.endswith(b"X-POPFetch-Reason: no-recipient-header\r\n" + octets))
        octets = b"To: out@elsewhere.example\r\n\r\nbody\r\n"
        self.assertEqual(self.world.take(octets, account()).text, "no-local-recipient")

    def test_duds(self) -> None:
        """Nobody to give it to: into duds.dat before the ledger is told, for its owner alone to read."""
        octets = b"To: nobody@example.org\r\n\r\nFrom here on\r\n>From there\r\n"
        fate = self.world.take(octets, account(addressing=NO_CARETAKER))
        self.assertEqual((fate.end, fate.row), (End.DUD, True))
        self.assertIn("there is no caretaker", fate.text)
        self.assertEqual(self.world.mail("bonnie"), [])
        [[remember]] = self.world.commits
        self.assertIsInstance(remember, Remember)
        dud = self.world.dud_file()
        self.assertRegex(dud, rb"\AFrom MAILER-DAEMON \w{3} Nov \d+ [\d:]+ 2025\nX-POPFetch-Dud: 1763730000; bob@pop\.")
        self.assertTrue(dud.endswith(b"\nTo: nobody@example.org\n\n>From here on\n>>From there\n\n"))
        self.assertEqual(stat.S_IMODE(self.world.duds.path.stat().st_mode), 0o600)

    def test_dud_beside_delivery(self) -> None:
        """When somebody has it, the dud for the others is written and does not count."""
        fate = self.world.take(message(1, b"bonnie@example.org, nobody@example.org"), account(addressing=NO_CARETAKER))
        self.assertEqual((fate.end, fate.row), (End.DUD, False))
        self.assertEqual(len(self.world.mail("bonnie")), 1)
        self.assertIn(b"To: bonnie@example.org, nobody", self.world.dud_file())

    def test_caretaker_refused(self) -> None:
        """A caretaker who does not exist makes a dud."""
        how = Addressing(local=frozenset({"example.org"}), caretaker=parse_mailbox(b"gone@example.org"))
        fate = self.world.take(message(1, b"nobody@example.org"), account(addressing=how))
        self.assertEqual(fate.end, End.DUD)
        self.assertIn("the caretaker: 550", fate.text)

    def test_no_message(self) -> None:
        """An empty message and one without a header are duds; a fixed user gets even what has no header."""
        self.assertEqual(self.world.take(b"", account()), Fate(End.DUD, NO_MESSAGE))
        self.assertEqual(self.world.take(b"only text\r\n", account()), Fate(End.DUD, NO_MESSAGE))
        fixed = account(addressing=Addressing(fixed=parse_mailbox(b"bonnie")))
        self.assertEqual(self.world.take(b"only text\r\n", fixed), Fate(End.DELIVERED, "bonnie@example.org"))
        self.assertEqual(self.world.take(b"", fixed).end, End.DUD)

    def test_large_header(self) -> None:
        """A header without end is the caretaker's, complete; without him a dud. Little of it is ever held."""
        world = BridgeWorld(limits=Limits(header_size=1000))
        self.addCleanup(world.close)
        octets = b"To: bonnie@example.org\r\n" + b"X: y\r\n" * 1000 + b"\r\nbody\r\n"
        self.assertEqual(world.take(octets, account(), 100), Fate(End.CARETAKER, HEADER_TOO_LARGE))
        self.assertEqual(world.take(octets, account()), Fate(End.CARETAKER, HEADER_TOO_LARGE))
        self.assertTrue(world.mail("clyde")[0].endswith(b"X-POPFetch-Reason: header-too-large\r\n" + octets))
        self.assertEqual(world.take(octets, account(addressing=NO_CARETAKER), 100).end, End.DUD)
        self.assertIn(octets.replace(b"\r\n", b"\n"), world.dud_file())

    def test_only_header(self) -> None:
        """A message that is all header is stored as it is."""
        for octets in (b"To: bonnie@example.org", b"To: bonnie@example.org\r\n", b"To: bonnie@example.org\r\n\r\n"):
            self.assertEqual(self.world.take(octets, account(), 3).end, End.DELIVERED)
            self.assertTrue(self.world.mail("bonnie")[-1].endswith(b"\r\n" + octets))

    def test_put_off(self) -> None:
        """A recipient who cannot be served for now leaves the message where it is; the sixth time he is refused."""
        rule = Rule.make("route[0]", "maildrop:ghost", r"later@example\.org")
        world = BridgeWorld(routes=(rule,))
        self.addCleanup(world.close)
        octets = message(1, b"bonnie@example.org, later@example.org")
        for _ in range(MOST_PUT_OFF):
            fate = world.take(octets, account())
            self.assertEqual(fate.end, End.LATER)
        self.assertEqual((world.commits, world.mail("bonnie")), ([], []))
        self.assertEqual(world.take(octets, account()).end, End.DELIVERED)
        self.assertIn(b"later@example.org\r\n    451", world.mail("clyde")[0])
        self.assertEqual(world.way.put_off, {})

    def test_store_fails(self) -> None:
        """A store that cannot is a Stop, and nothing is left half done."""
        for error in (StoreFull("full"), StoreError("broken")):
            self.world.store.commit_error = error
            self.assertRaises(Stop, self.world.take, message(1), account())
        self.world.store.commit_error = None
        self.world.store.write_error = StoreFull("full")
        self.assertRaises(Stop, self.world.take, message(1, size=5000), account())
        self.assertRaises(Stop, self.world.take, message(1), account(), 10)
        self.assertEqual(self.world.mail("bonnie"), [])
        self.assertEqual(self.world.store.aborted, 4)


class WaysOutTests(SynchronousTestCase):
    """Mail that would leave the bridge."""

    def setUp(self) -> None:
        rule = Rule.make("route[0]", "relay:office", r".*@office\.example")
        self.world = BridgeWorld(routes=(rule,), targets=("relay:office",))
        self.addCleanup(self.world.close)

    def test_no_relaying(self) -> None:
        """Fetched mail takes no relay route, whatever the header says: it goes to the caretaker."""
        how = Addressing(caretaker=ADDRESSING.caretaker)
        fate = self.world.take(message(1, b"x@office.example"), account(addressing=how))
        self.assertEqual((fate.end, [each.deliveries for each in self.world.accepts()]), (End.CARETAKER, [()]))
        self.assertIn("550 5.7.1", fate.text)

    def test_may_relay(self) -> None:
        """An account may: then the sender is ours, so that what fails in the queue comes back to the caretaker."""
        how = Addressing(caretaker=ADDRESSING.caretaker)
        for changes, sender in (({"addressing": how}, "clyde@example.org"),
                                ({"addressing": Addressing()}, "postmaster@example.org")):
            self.world.commits.clear()
            self.world.take(message(1, b"x@office.example, bonnie@example.org"), account(may_relay=True, **changes))
            [accept] = self.world.accepts()
            self.assertEqual((accept.envelope.sender.text, accept.deposits, accept.envelope.origin.trusted),
                             (sender, (1,), True))
            self.assertEqual([(each.recipient, each.target) for each in accept.deliveries],
                             [("x@office.example", "relay:office")])

    def test_caretaker_elsewhere(self) -> None:
        """A caretaker elsewhere is reached by any way; what fails on it comes back to postmaster."""
        how = Addressing(local=frozenset({"example.org"}), caretaker=parse_mailbox(b"care@office.example"))
        self.world.take(message(1, b"nobody@example.org"), account(addressing=how))
        [accept] = self.world.accepts()
        self.assertEqual((accept.envelope.sender.text, accept.deliveries[0].target),
                         ("postmaster@example.org", "relay:office"))


class AnyMessageTests(SynchronousTestCase):
    """Any octets at all."""

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from([b"To: bonnie@example.org\r\n", b"To: no@example.org\r\n", b"\r\n", b"x: y",
                                     b"Content-Type: text/html\r\n"]) | st.binary(max_size=9), max_size=12),
           st.integers(1, 40), st.booleans())
    def test_kept(self, parts: list[bytes], pieces: int, caretaker: bool) -> None:
        """Whatever comes, it ends with somebody or in duds.dat, whole."""
        octets = b"".join(parts).replace(b"\r", b"").replace(b"\n", b"\r\n")
        world = BridgeWorld()
        try:
            fate = world.take(octets, account(addressing=ADDRESSING if caretaker else NO_CARETAKER), pieces)
            if fate.end is End.DUD:
                self.assertIn(octets.replace(b"\r\n", b"\n"), world.dud_file().replace(b">From ", b"From "))
            else:
                stored = b"".join(world.mail("bonnie") + world.mail("clyde"))
                head, separator, body = octets.partition(b"\r\n\r\n")
                self.assertIn(head, stored)
                self.assertIn(body, stored)
        finally:
            world.close()
