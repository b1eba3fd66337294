"""The contract of the queue's part of IStore: wishes, moves, deposits, selections, operators' changes, ready lanes."""

from __future__ import annotations

from attrs import evolve

from mailbridge.errors import StoreConflict
from mailbridge.store.changes import (
    Accept,
    Deposit,
    Discard,
    Hold,
    LaneState,
    Move,
    Queued,
    RemoveUser,
    Reroute,
    RetryNow,
    Selection,
    SetLane,
    Settle,
    Unhold,
    Unlink,
    Verdict,
    Wishes,
)
from tests.store.contract import TO_OFFICE, StoreContract
from tests.store.contract_queue import QueueContract
from tests.store.values import envelope

ALL = Selection()


class OperatorContract:
    """Tests of what every store does for the queue; `store`, `clock`, `wait` and `settle` as for StoreContract."""

    commit = StoreContract.commit
    user = StoreContract.user
    uids = StoreContract.uids
    lane = QueueContract.lane
    claim = QueueContract.claim

    def enqueue(self, *queued, queue_id="q1", sender=None):
        """The id of a message with these deliveries."""
        made = envelope(queue_id=queue_id)
        if sender is not None:
            made = evolve(made, sender=sender)
        return self.commit(Accept(made, (), queued))[0].message

    def page(self, selection=ALL, after=0, limit=1000):
        """A page of the queue."""
        return self.wait(self.store.queue(selection, after, limit))

    def recipients(self, selection=ALL, state=None):
        """Who is selected."""
        return [entry.recipient for entry in self.page(selection) if state in (None, entry.state)]

    def lanes(self):
        """(target, destination): (waiting, due) of every lane."""
        return {(lane.target, lane.destination): (lane.waiting, lane.due) for lane in self.wait(self.store.lanes())}

    # --- what is kept of a delivery

    def test_wishes(self):
        """What the sender wants to hear is there at each claim."""
        wishes = Wishes(("SUCCESS", "FAILURE"), "rfc822;a@b")
        self.enqueue(evolve(TO_OFFICE, wishes=wishes), evolve(TO_OFFICE, recipient="b@x"))
        self.assertEqual([delivery.wishes for delivery in self.claim()], [wishes, Wishes()])

    def test_answer_and_notice(self):
        """The last answer and that a notice went out are kept; an empty answer changes neither, a long one is cut."""
        self.enqueue(TO_OFFICE)
        (first,) = self.claim()
        self.assertEqual((first.noticed, first.answer, first.pinned), (False, "", False))
        self.commit(Settle(first.id, first.fence, Verdict.AGAIN, 0.0, "450 later" + "x" * 600, True))
        (second,) = self.claim()
        self.assertEqual((second.noticed, second.answer), (True, ("450 later" + "x" * 600)[:500]))
        self.commit(Settle(second.id, second.fence, Verdict.AGAIN))
        (third,) = self.claim()
        self.assertEqual((third.noticed, third.answer[:9], third.attempts), (True, "450 later", 2))
        self.assertEqual(self.page()[0].answer[:9], "450 later")

    def test_declared(self):
        """What MAIL said of notices and of the body is there with the message."""
        made = evolve(envelope("Grüße\r\n".encode()), ret="HDRS", envid="x+y=z", body_8bit=True)
        (receipt,) = self.commit(Accept(made, (), (TO_OFFICE,)))
        message = self.store.messages([receipt.message])[receipt.message]
        declared = message.declared
        self.assertEqual((declared.ret, declared.envid, declared.body_8bit, message.content.eight_bit),
                         ("HDRS", "x+y=z", True, True))

    def test_eight_bit(self):
        """Whether content has octets above 127 is known, small or large, wherever the octet is."""
        for size in (10, 200_000):
            for at in (None, 0, size - 1):
                octets = bytearray(b"x" * size)
                if at is not None:
                    octets[at] = 200
                writer = self.store.content()
                for start in range(0, size, 30_000):
                    writer.write(bytes(octets[start:start + 30_000]))
                content = writer.finish()
                content = content if hasattr(content, "size") else self.wait(content)
                (receipt,) = self.commit(Accept(envelope(content), (), (TO_OFFICE,)))
                stored = self.store.messages([receipt.message])[receipt.message].content
                self.assertEqual((content.eight_bit, stored.eight_bit), (at is not None,) * 2)

    # --- moves and deposits

    def test_move(self):
        """A claimed delivery goes to another lane without an attempt; the claim is over."""
        self.enqueue(TO_OFFICE, evolve(TO_OFFICE, recipient="stays@x"))
        first, other = self.claim()
        self.assertEqual(self.commit(Move(first.id, first.fence, "relay:new", "y", 7.0),
                                     Settle(first.id, first.fence, Verdict.DONE)), (True, False))
        self.assertEqual(self.lanes(), {("relay:office", "example.com"): (0, None), ("relay:new", "y"): (1, 7.0)})
        lane = next(lane.id for lane in self.wait(self.store.lanes()) if lane.target == "relay:new")
        (moved,) = self.wait(self.store.claim("me", lane, 10, 60))
        self.assertEqual((moved.id, moved.attempts, moved.recipient), (first.id, 0, "bob@example.com"))
        self.assertEqual(self.commit(Move(first.id, first.fence, "relay:x", ""), Move(99, 1, "a", "b")), (False, False))
        self.assertEqual(self.commit(Move(other.id, other.fence, "relay:office", "example.com", 9.0)), (True,))
        self.assertEqual(self.lanes()["relay:office", "example.com"], (1, 9.0))

    def test_deposit(self):
        """A claimed delivery becomes an entry of a maildrop, and stays one when the delivery's message is freed."""
        user = self.user()
        message = self.enqueue(TO_OFFICE)
        (delivery,) = self.claim()
        self.assertEqual(self.commit(Deposit(delivery.id, delivery.fence, user, 77)), (True,))
        self.assertEqual(self.commit(Deposit(delivery.id, delivery.fence, user, 77)), (False,))
        self.settle()
        snapshot = self.wait(self.store.snapshot(user))
        self.assertEqual((list(snapshot.uids), list(snapshot.sizes)), ([message], [77]))
        self.assertIn(message, self.store.messages([message]))
        self.assertEqual(self.page(), ())
        self.commit(Unlink(user, (message,)))
        self.settle()
        self.assertEqual(self.store.messages([message]), {})

    def test_deposit_for_several(self):
        """One claim can be deposited with several users in one commit; who has the message already gets no second."""
        one, two = self.user("one"), self.user("two")
        (receipt,) = self.commit(Accept(envelope(), (two,), (TO_OFFICE,)))
        (delivery,) = self.claim()
        deposits = [Deposit(delivery.id, delivery.fence, user, 5) for user in (one, two)]
        self.assertEqual(self.commit(*deposits), (True, True))
        self.assertEqual((self.uids(one), self.uids(two)), ([receipt.message], [receipt.message]))
        for user in (one, two):
            self.assertIn(receipt.message, self.store.messages([receipt.message]))
            self.commit(Unlink(user, (receipt.message,)))
            self.settle()
        self.assertEqual(self.store.messages([receipt.message]), {})

    def test_deposit_in_another_commit(self):
        """Once the claim is over, another commit deposits nothing."""
        one, two = self.user("one"), self.user("two")
        self.enqueue(TO_OFFICE)
        (delivery,) = self.claim()
        self.commit(Deposit(delivery.id, delivery.fence, one, 5))
        self.assertEqual(self.commit(Deposit(delivery.id, delivery.fence, two, 5)), (False,))
        self.assertEqual(self.uids(two), [])

    def test_deposit_and_unlink(self):
        """A deposit counts in the same commit; and nothing is deposited with a user who is gone."""
        user = self.user()
        message = self.enqueue(TO_OFFICE, TO_OFFICE)
        first, second = self.claim()
        self.commit(Deposit(first.id, first.fence, user, 5), Unlink(user, (message,)))
        self.assertEqual(self.uids(user), [])
        removed = self.commit(Deposit(second.id, second.fence, user, 5), RemoveUser(user))
        self.assertEqual(removed, (True, 1))
        self.assertRaises(StoreConflict, self.commit, Deposit(second.id, second.fence, user, 5))
        self.settle()
        self.assertEqual(self.store.messages([message]), {})

    # --- pages and selections

    def fill(self):
        """Deliveries to select from."""
        bob, eve = envelope().sender, evolve(envelope().sender, local="Eve", domain="Sub.Example.org")
        self.enqueue(Queued("a@x.org", "relay:one", "x.org", 10.0), Queued("B@X.ORG", "relay:one", "x.org", 20.0),
                    queue_id="aa11", sender=bob)
        self.enqueue(Queued("a@x.org", "relay:two", "", 30.0), Queued("c@notx.org", "relay:one", "notx.org", 40.0),
                    queue_id="bb22", sender=eve)

    def test_page(self):
        """The queue is shown in pages by id, with all that an operator wants to know of each delivery."""
        self.fill()
        entries = self.page()
        self.assertEqual([entry.delivery for entry in entries], [1, 2, 3, 4])
        first = entries[0]
        self.assertEqual((first.queue_id, first.sender, first.recipient, first.target, first.destination, first.state,
                          first.due, first.attempts, first.size),
                         ("aa11", "harold@example.org", "a@x.org", "relay:one", "x.org", "waiting", 10.0, 0,
                          envelope().content.size))
        self.assertEqual([entry.delivery for entry in self.page(after=1, limit=2)], [2, 3])
        self.assertEqual((self.page(after=4), self.page(limit=0)), ((), ()))

    def test_select(self):
        """Deliveries are found by queue id, recipient, sender, domain, target and destination, in any case."""
        self.fill()
        for selection, expected in (
            (Selection(queue_id="AA11"), [1, 2]), (Selection(queue_id="aa1"), []), (Selection(queue_id="nope"), []),
            (Selection(recipient="A@X.org"), [1, 3]), (Selection(recipient="@x.org"), [1, 2, 3]),
            (Selection(recipient="x.org"), []), (Selection(sender="@sub.example.org"), [3, 4]),
            (Selection(sender="harold@example.org"), [1, 2]), (Selection(sender="@example.org"), [1, 2]),
            (Selection(target="RELAY:one"), [1, 2, 4]), (Selection(target="relay:two"), [3]),
            (Selection(destination="X.org"), [1, 2]), (Selection(destination=""), [3]),
            (Selection(target="relay:one", recipient="b@x.org"), [2]), (Selection(target="relay:none"), []),
            (Selection("bb22", "@x.org", "@sub.example.org", "relay:two", ""), [3]),
        ):
            self.assertEqual([entry.delivery for entry in self.page(selection)], expected, selection)

    def test_select_pages(self):
        """A page of several lanes is in the order of ids, and the next goes on after it."""
        for number in range(12):
            self.enqueue(Queued(f"{number}@x", "relay:r", f"d{number % 3}", 1.0))
        found = []
        while page := self.page(Selection(target="relay:r"), found[-1] if found else 0, 5):
            found += [entry.delivery for entry in page]
        self.assertEqual(found, list(range(1, 13)))

    def test_due(self):
        """What is due waits all the same while its lane is put off, and the operator sees until when."""
        self.enqueue(TO_OFFICE)
        now = self.clock.seconds()
        self.assertLessEqual(self.page()[0].due, now)
        self.commit(SetLane(self.lane().id, LaneState.OPEN, "cannot be reached", now + 300.0))
        self.assertEqual(self.page()[0].due, now + 300.0)

    def test_states(self):
        """Claimed and held deliveries say so; a claim that ran out is waiting again."""
        self.enqueue(*(Queued(f"{name}@x", "relay:r", "x", 1.0) for name in "abc"))
        self.commit(Hold(Selection(recipient="c@x")))
        self.claim(1, ttl=10)
        self.assertEqual([entry.state for entry in self.page()], ["claimed", "waiting", "held"])
        self.clock.advance(11)
        self.assertEqual([entry.state for entry in self.page()], ["waiting", "waiting", "held"])

    # --- operators' changes

    def test_hold_and_unhold(self):
        """What is held is not claimed and not counted as waiting; released it is due at once."""
        self.fill()
        later = self.clock.seconds() + 1000
        self.enqueue(Queued("late@x.org", "relay:one", "x.org", later), queue_id="cc33")
        self.assertEqual(self.commit(Hold(Selection(recipient="@x.org"))), (4,))
        self.assertEqual(self.commit(Hold(Selection(recipient="@x.org"))), (0,))
        self.assertEqual(self.lanes(), {("relay:one", "x.org"): (0, None), ("relay:two", ""): (0, None),
                                        ("relay:one", "notx.org"): (1, 40.0)})
        for lane in self.wait(self.store.lanes()):
            for delivery in self.wait(self.store.claim("me", lane.id, 10, 10)):
                self.assertEqual(delivery.recipient, "c@notx.org")
        self.assertEqual(self.commit(Unhold(Selection(queue_id="cc33"))), (1,))
        self.assertEqual(self.lanes()["relay:one", "x.org"], (1, self.clock.seconds()))
        self.assertEqual(self.commit(Unhold(ALL)), (3,))
        self.assertEqual(self.lanes()["relay:one", "x.org"][0], 3)

    def test_retry_now(self):
        """What waits for later is due at once, and its lane is opened unless the operator holds that."""
        later = self.clock.seconds() + 1000
        for name in ("x", "y", "z"):
            self.enqueue(Queued(f"a@{name}", "relay:r", name, later))
        x, y, z = (lane.id for lane in self.wait(self.store.lanes()))
        self.commit(SetLane(x, LaneState.PAUSED, "login refused", later), SetLane(y, LaneState.OPEN, "down", later),
                    SetLane(z, LaneState.HELD, "mine"))
        self.assertEqual(self.commit(RetryNow(Selection(target="relay:r"))), (3,))
        lanes = self.wait(self.store.lanes())
        self.assertEqual([(lane.state, lane.reason, lane.not_before) for lane in lanes],
                         [(LaneState.OPEN, "", 0.0)] * 2 + [(LaneState.HELD, "mine", 0.0)])
        self.assertEqual({lane.due for lane in lanes}, {self.clock.seconds()})

    def test_reroute(self):
        """Waiting and held deliveries go to another lane, where they are pinned; the waiting ones are due at once."""
        self.fill()
        self.commit(Hold(Selection(recipient="b@x.org")))
        self.assertEqual(self.commit(Reroute(Selection(target="relay:one"), "relay:new")), (3,))
        now = self.clock.seconds()
        self.assertEqual(self.lanes(), {
            ("relay:one", "x.org"): (0, None), ("relay:two", ""): (1, 30.0), ("relay:one", "notx.org"): (0, None),
            ("relay:new", "x.org"): (1, now), ("relay:new", "notx.org"): (1, now)})
        self.assertEqual(self.commit(Reroute(ALL, "relay:new", "all")), (4,))
        (lane,) = (lane for lane in self.wait(self.store.lanes()) if lane.destination == "all")
        self.assertEqual([delivery.pinned for delivery in self.wait(self.store.claim("me", lane.id, 10, 10))],
                         [True] * 3)
        self.assertEqual(self.recipients(state="held"), ["B@X.ORG"])

    def test_discard(self):
        """Removed deliveries are gone, and their message with the last of them."""
        self.fill()
        self.commit(Hold(Selection(recipient="b@x.org")))
        self.assertEqual(self.commit(Discard(Selection(queue_id="aa11"))), (2,))
        self.settle()
        self.assertEqual(self.recipients(), ["a@x.org", "c@notx.org"])
        self.assertEqual(list(self.store.messages([1, 2])), [2])
        self.assertEqual(self.lanes()["relay:one", "x.org"], (0, None))

    def test_claimed_are_passed_over(self):
        """No operator's change touches a delivery that is being made; its claim stays good."""
        self.enqueue(TO_OFFICE)
        (delivery,) = self.claim()
        for change in (Hold(ALL), Unhold(ALL), RetryNow(ALL), Reroute(ALL, "relay:x"), Discard(ALL)):
            self.assertEqual(self.commit(change), (0,))
        self.assertEqual(self.commit(Settle(delivery.id, delivery.fence, Verdict.DONE)), (True,))

    def test_late_word_on_held(self):
        """A delivery that was held after its claim ran out: the late word counts, and to try again does not free it."""
        self.enqueue(TO_OFFICE, evolve(TO_OFFICE, recipient="two@x"), evolve(TO_OFFICE, recipient="three@x"))
        one, two, three = self.claim(ttl=5)
        self.clock.advance(6)
        self.assertEqual(self.commit(Hold(ALL)), (3,))
        self.assertEqual(self.commit(Settle(one.id, one.fence, Verdict.DONE),
                                     Settle(two.id, two.fence, Verdict.AGAIN, 5.0),
                                     Move(three.id, three.fence, "relay:x", "", 6.0)), (True,) * 3)
        self.assertEqual([entry.state for entry in self.page()], ["held", "held"])
        self.assertEqual({waiting for waiting, _ in self.lanes().values()}, {0})
        self.assertEqual(self.commit(Unhold(ALL)), (2,))

    def test_only_change_of_its_commit(self):
        """An operator's change beside another is refused, and nothing of the commit happens."""
        self.fill()
        user = self.user()
        for change in (Hold(ALL), Unhold(ALL), RetryNow(ALL), Reroute(ALL, "x"), Discard(ALL)):
            self.assertRaises(StoreConflict, self.commit, Accept(envelope(), (user,)), change)
        self.assertEqual((self.uids(user), len(self.page())), ([], 4))

    def test_many(self):
        """More deliveries than fit one slice are all changed, and counted; lanes stay exact."""
        for part in range(5):
            self.enqueue(*(Queued(f"{part}.{n}@x", "relay:r", f"{n % 2}", 5.0) for n in range(500)))
        self.assertEqual(self.commit(Hold(ALL)), (2500,))
        self.assertEqual(self.commit(Unhold(Selection(target="relay:r", destination="0"))), (1250,))
        self.assertEqual(self.commit(Reroute(ALL, "relay:s", "all")), (2500,))
        self.assertEqual(self.commit(RetryNow(ALL)), (1250,))
        self.assertEqual({lane: waiting for lane, (waiting, _) in self.lanes().items()},
                         {("relay:r", "0"): 0, ("relay:r", "1"): 0, ("relay:s", "all"): 1250})
        self.assertEqual(self.commit(Discard(ALL)), (2500,))
        self.assertEqual(self.page(), ())

    # --- lanes that are ready

    def test_ready(self):
        """Lanes with due deliveries are told of, longest ready first, and when the next one will be."""
        now = self.clock.seconds()
        for name, due in (("a", now + 100), ("b", now - 1), ("c", now - 5), ("d", now + 50), ("e", now - 9)):
            self.enqueue(Queued(f"x@{name}", "relay:r", name, due))
        ids = {lane.destination: lane.id for lane in self.wait(self.store.lanes())}
        self.commit(SetLane(ids["e"], LaneState.HELD))
        lanes, following = self.wait(self.store.ready(10))
        self.assertEqual(([lane.destination for lane in lanes], following), (["c", "b"], now + 50))
        self.assertEqual([lane.destination for lane in self.wait(self.store.ready(1))[0]], ["c"])
        self.commit(SetLane(ids["c"], LaneState.OPEN, "down", now + 20), SetLane(ids["b"], LaneState.PAUSED, "tls"))
        self.assertEqual(self.wait(self.store.ready(10)), ((), now + 20))
        self.commit(SetLane(ids["b"], LaneState.PAUSED, "tls", now + 10))
        self.assertEqual(self.wait(self.store.ready(10)), ((), now + 10))
        self.clock.advance(10)
        self.assertEqual([lane.destination for lane in self.wait(self.store.ready(10))[0]], ["b"])

    def test_nothing_ready(self):
        """With nothing in the queue nothing is ever ready."""
        self.assertEqual(self.wait(self.store.ready(10)), ((), None))

    def test_paused_lane_gives_one(self):
        """A paused lane gives nothing before its time, one delivery afterwards, and none when it has no time."""
        self.enqueue(*(Queued(f"{name}@x", "relay:r", "x", 1.0) for name in "abc"))
        lane, now = self.lane().id, self.clock.seconds()
        self.commit(SetLane(lane, LaneState.PAUSED, "tls", now + 10))
        self.assertEqual(self.claim(), ())
        self.clock.advance(10)
        self.assertEqual(len(self.claim()), 1)
        self.commit(SetLane(lane, LaneState.PAUSED, "tls"))
        self.assertEqual(self.claim(), ())
