"""Both back ends, the same steps: they answer the same."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreConflict
from mailbridge.store.changes import (
    Accept,
    AddUser,
    Allocate,
    ChangeUser,
    Deposit,
    Discard,
    Hold,
    LaneState,
    Move,
    Queued,
    Remember,
    RemoveUser,
    Reroute,
    RetryNow,
    Selection,
    SetAlias,
    SetLane,
    Settle,
    Unhold,
    Unlink,
    Verdict,
    Wishes,
)
from mailbridge.store.check import check_store
from mailbridge.store.memory import MemoryStore
from mailbridge.store.sqlite import open_store
from tests.store.pump import Pump
from tests.store.values import CREDENTIALS, envelope

numbers = st.integers(0, 6)
names = st.sampled_from(("a", "A", "b", "c@d"))
wishes = st.builds(Wishes, st.lists(st.sampled_from(("SUCCESS", "FAILURE"))).map(tuple), st.none() | names)
changes = st.one_of(
    st.builds(Accept, st.builds(envelope, st.binary(max_size=40)), st.lists(numbers, max_size=3).map(tuple),
              st.lists(st.builds(Queued, names, st.sampled_from(("relay:x", "oce")), names,
                                 st.integers(0, 400).map(lambda at: 1_763_730_000.0 + at / 4), wishes),
                       max_size=2).map(tuple),
              st.none() | names),
    st.builds(Unlink, numbers, st.lists(numbers, max_size=4).map(tuple)),
    st.builds(Settle, numbers, numbers, st.sampled_from(Verdict),
              st.integers(0, 50).map(lambda at: 1_763_730_000.0 + at), st.text(max_size=3), st.booleans()),
    st.builds(Move, numbers, numbers, names, names, st.integers(0, 50).map(lambda at: 1_763_730_000.0 + at)),
    st.builds(Deposit, numbers, numbers, numbers, numbers),
    st.builds(SetLane, numbers, st.sampled_from(LaneState), names,
              st.sampled_from((0.0, 1_763_730_000.0, 1_763_730_040.0))),
    st.builds(AddUser, names, st.just(CREDENTIALS)),
    st.builds(ChangeUser, numbers, st.none() | st.just(CREDENTIALS), st.none() | st.lists(names).map(tuple)),
    st.builds(RemoveUser, numbers),
    st.builds(SetAlias, names, st.lists(names, max_size=2).map(tuple)),
    st.builds(Allocate, names, st.integers(0, 3)),
    st.builds(Remember, names, st.none() | names),
)
selections = st.builds(Selection, st.none() | st.just("Q1"), st.none() | names | st.sampled_from(("@D", "@x")),
                       st.none() | st.sampled_from(("harold@example.org", "@EXAMPLE.org", "")),
                       st.none() | st.sampled_from(("relay:x", "OCE")), st.none() | names)
operations = st.one_of(
    st.builds(Reroute, selections, names, st.none() | names),
    *(st.builds(kind, selections) for kind in (Hold, Unhold, RetryNow, Discard)),
)


class Model(RuleBasedStateMachine):
    """Steps on a MemoryStore and a SQLiteStore; after each, both tell the same story."""

    def __init__(self):
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = Clock()
        self.clock.advance(1_763_730_000.0)
        self.memory = MemoryStore(self.clock, min_free=0)
        self.open()

    def open(self):
        """Open the SQLite store."""
        self.pump = Pump()
        self.pump.rightNow = self.clock.rightNow
        self.sqlite = open_store(Path(self.folder.name), self.pump, min_free=0, reserve=0, on_death=print)

    def teardown(self):
        """Close and remove; a store is sound at its end."""
        self.pump.wait(self.sqlite.close())
        found = check_store(Path(self.folder.name) / "mail.db")
        self.folder.cleanup()
        assert found == []

    def both(self, call):
        """The answer of both stores to `call(store)`."""
        answers = []
        for store in (self.memory, self.sqlite):
            try:
                result = []
                deferred = call(store)
                deferred.addBoth(result.append)
                while not result:
                    assert self.pump.turn()
                if isinstance(result[0], Failure):
                    result[0].raiseException()
                answers.append(result[0])
            except StoreConflict:
                answers.append(StoreConflict)
        assert answers[0] == answers[1], answers
        return answers[0]

    @rule(changes=st.lists(changes, min_size=1, max_size=4))
    def commit(self, changes):
        """Any commit."""
        self.both(lambda store: store.commit(*changes))

    @rule(change=operations)
    def operate(self, change):
        """What an operator asks, and what he sees."""
        self.both(lambda store: store.commit(change))
        self.both(lambda store: store.queue(change.selection, 0, 5))

    @rule(names=st.lists(names, min_size=1, max_size=2), octets=st.binary(max_size=20))
    def populate(self, names, octets):
        """Commits that mostly succeed."""
        for name in names:
            user = self.both(lambda store, name=name: store.commit(AddUser(name, CREDENTIALS)))
            if user is not StoreConflict:
                change = Accept(envelope(octets), user, (Queued("x@y", "oce", name),))
                self.both(lambda store, change=change: store.commit(change))

    @rule(lane=st.integers(1, 4), limit=numbers, ttl=st.sampled_from((5.0, 50.0)), verdict=st.sampled_from(Verdict),
          part=numbers, user_to=st.booleans())
    def work(self, lane, limit, ttl, verdict, part, user_to):
        """Claim, renew some, settle some."""
        found = self.both(lambda store: store.claim("me", lane, limit, ttl))
        self.both(lambda store: store.renew("me", found[:part], ttl))
        if found[part:]:
            self.both(lambda store: store.commit(*[
                Settle(delivery.id, delivery.fence, verdict, self.clock.seconds() + 3, "no", True)
                for delivery in found[part:]]))
        if found[:part]:
            self.both(lambda store: store.commit(*[
                change for delivery in found[:part] for change in (
                    [Deposit(delivery.id, delivery.fence, user, 7) for user in (1, 2)] if user_to
                    else [Move(delivery.id, delivery.fence, "relay:x", "a", self.clock.seconds())])]))

    @rule(seconds=st.sampled_from((0.5, 10.0, 100.0)))
    def time(self, seconds):
        """Time passes; the purge works."""
        self.clock.advance(seconds)
        self.pump.advance(seconds)
        while self.pump.turn(0.001):
            pass

    @invariant()
    def same(self):
        """All that can be read is the same."""
        people = self.both(lambda store: store.people())
        self.both(lambda store: store.lanes())
        self.both(lambda store: store.ready(3))
        self.both(lambda store: store.queue(Selection(), 0, 1000))
        uids = set()
        for user in people.users:
            snapshot = self.both(lambda store, user=user: store.snapshot(user.id))
            uids.update(snapshot.uids)
        ids = sorted(uids)[:64]
        assert self.memory.messages(ids) == self.sqlite.messages(ids)
        for name in ("a", "b"):
            assert self.memory.recall(name) == self.sqlite.recall(name)


class ModelTests(SynchronousTestCase):
    """The machine above, run."""

    def test_same(self):
        """Whatever is done, in any order, the store in memory and the one on disk answer the same."""
        run_state_machine_as_test(Model, settings=settings(
            max_examples=12, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)))
