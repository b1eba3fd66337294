"""The contract of IStore for the queue: lanes, claims, fences; run like the rest of the contract."""

from __future__ import annotations

from typing import Any

from mailbridge.store.changes import Accept, LaneState, Queued, SetLane, Settle, Unlink, Verdict
from tests.store.contract import TO_OFFICE, Contract
from tests.store.values import envelope, mail


class QueueContract(Contract):
    """Tests of what every store does with deliveries."""

    def lane(self) -> Any:
        """The only lane."""
        (lane,) = self.wait(self.store.lanes())
        return lane

    def claim(self, limit: int = 10, owner: str = "me", ttl: float = 60.0) -> Any:
        """Deliveries of the only lane."""
        return self.wait(self.store.claim(owner, self.lane().id, limit, ttl))

    def queued(self, *queued: Queued) -> int:
        """The id of a message with these deliveries."""
        return self.commit(Accept(envelope(), (), queued))[0].message

    def test_lane(self):
        """Deliveries to one destination wait in one lane that knows how many they are and when the first is due."""
        self.queued(Queued("a@x", "relay:r", "x", 50.0), Queued("b@x", "relay:r", "x", 20.0))
        self.queued(Queued("c@x", "relay:r", "x", 30.0))
        lane = self.lane()
        self.assertEqual((lane.target, lane.destination, lane.state, lane.due, lane.waiting),
                         ("relay:r", "x", LaneState.OPEN, 20.0, 3))

    def test_claim_and_settle(self):
        """What was claimed is not claimed again; once it is done it and its message are gone."""
        message = self.queued(TO_OFFICE)
        (delivery,) = self.claim()
        self.assertEqual((delivery.message, delivery.recipient, delivery.attempts), (message, "bob@example.com", 0))
        self.assertEqual(self.claim(), ())
        self.assertEqual((self.lane().waiting, self.lane().due), (0, None))
        self.assertEqual(self.commit(Settle(delivery.id, delivery.fence, Verdict.DONE)), (True,))
        self.assertEqual(self.commit(Settle(delivery.id, delivery.fence, Verdict.DONE)), (False,))
        self.settle()
        self.assertEqual(self.store.messages([message]), {})

    def test_try_again(self):
        """A delivery to be tried again waits until it is due, with one attempt more and a new fence."""
        self.queued(TO_OFFICE)
        (first,) = self.claim()
        due = self.clock.seconds() + 300.0625
        self.assertEqual(self.commit(Settle(first.id, first.fence, Verdict.AGAIN, due),
                                     Settle(first.id, first.fence, Verdict.DONE)), (True, False))
        self.assertEqual((self.lane().due, self.lane().waiting), (due, 1))
        self.assertEqual(self.claim(), ())
        self.clock.advance(301)
        (second,) = self.claim()
        self.assertEqual((second.id, second.attempts), (first.id, 1))
        self.assertGreater(second.fence, first.fence)
        self.assertEqual(self.commit(Settle(first.id, first.fence, Verdict.DONE)), (False,))

    def test_order_and_limit(self):
        """The earliest due are claimed first, no more than asked for."""
        for at in (30.0, 10.0, 20.0):
            self.queued(Queued(f"{at:.0f}@x", "relay:r", "x", at))
        self.assertEqual([delivery.recipient for delivery in self.claim(2)], ["10@x", "20@x"])
        self.assertEqual([delivery.recipient for delivery in self.claim(0)], [])
        self.assertEqual([delivery.recipient for delivery in self.claim(2)], ["30@x"])

    def test_claim_runs_out(self):
        """After its time a claim is void: another takes the delivery, and the first owner's word counts no more."""
        self.queued(TO_OFFICE)
        (first,) = self.claim(ttl=10)
        self.clock.advance(11)
        self.assertEqual((self.lane().waiting, self.lane().due), (1, 0.0))
        self.assertEqual(self.wait(self.store.renew("me", [first], 10)), ())
        (second,) = self.claim(owner="other")
        self.assertEqual(self.commit(Settle(first.id, first.fence, Verdict.DONE)), (False,))
        self.assertEqual(self.commit(Settle(second.id, second.fence, Verdict.DONE)), (True,))

    def test_late_word_is_heard(self):
        """A settle after the claim ran out counts while nobody else has claimed: the mail was delivered."""
        self.queued(TO_OFFICE)
        (first,) = self.claim(ttl=10)
        self.clock.advance(11)
        self.assertEqual(self.lane().waiting, 1)
        self.assertEqual(self.commit(Settle(first.id, first.fence, Verdict.DONE)), (True,))
        self.assertEqual((self.lane().waiting, self.lane().due), (0, None))
        self.assertEqual(self.claim(), ())

    def test_renew(self):
        """A claim that is renewed in time goes on; nobody else's does."""
        self.queued(TO_OFFICE)
        (delivery,) = self.claim(ttl=10)
        self.clock.advance(9)
        self.assertEqual(self.wait(self.store.renew("other", [delivery], 10)), ())
        self.assertEqual(self.wait(self.store.renew("me", [delivery], 10)), (delivery,))
        self.clock.advance(9)
        self.assertEqual(self.claim(owner="other"), ())

    def test_unclaimed_cannot_be_settled(self):
        """Without a claim there is no fence to name."""
        self.queued(TO_OFFICE)
        self.assertEqual(self.commit(Settle(1, 0, Verdict.DONE), Settle(99, 1, Verdict.DONE)), (False, False))

    def test_lane_states(self):
        """Nothing is claimed from a lane that is held, paused or delayed; the delay ends by itself."""
        self.queued(TO_OFFICE)
        lane = self.lane().id
        for state in (LaneState.HELD, LaneState.PAUSED):
            self.assertEqual(self.commit(SetLane(lane, state, "because")), (None,))
            self.assertEqual((self.lane().state, self.lane().reason), (state, "because"))
            self.assertEqual(self.claim(), ())
        self.commit(SetLane(lane, LaneState.OPEN, "", self.clock.seconds() + 5))
        self.assertEqual(self.claim(), ())
        self.clock.advance(5)
        self.assertEqual(len(self.claim()), 1)

    def test_no_such_lane(self):
        """A claim of a lane that does not exist finds nothing."""
        self.assertEqual(self.wait(self.store.claim("me", 12345, 10, 10)), ())

    def test_settle_and_bounce(self):
        """The end of a delivery and the message that reports it are one commit."""
        user = self.user()
        self.queued(TO_OFFICE)
        (delivery,) = self.claim()
        settled, bounce = self.commit(Settle(delivery.id, delivery.fence, Verdict.DONE), mail(user))
        self.assertTrue(settled)
        self.assertEqual(self.uids(user), [bounce.message])

    def test_deposit_and_delivery(self):
        """A message stays until its last maildrop entry and its last delivery are gone."""
        user = self.user()
        (receipt,) = self.commit(Accept(envelope(), (user,), (TO_OFFICE,)))
        self.commit(Unlink(user, (receipt.message,)))
        self.settle()
        self.assertIn(receipt.message, self.store.messages([receipt.message]))
        (delivery,) = self.claim()
        self.commit(Settle(delivery.id, delivery.fence, Verdict.DONE))
        self.settle()
        self.assertEqual(self.store.messages([receipt.message]), {})
