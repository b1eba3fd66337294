"""A process that uses a store until it is killed: it prints what it is about to do and what was acknowledged.

    python -m tests.store.victim FOLDER USER FIRST

`A n uid`: message n was accepted with this uid, and a delivery queued for every fourth. `u uid`: is about to be
deleted; `U uid`: was. `c recipient`: a delivery is about to be settled; `C recipient`: was.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mailbridge.content import Content
from mailbridge.store.changes import Accept, Queued, Settle, Unlink, Verdict
from mailbridge.store.sqlite import open_store
from tests.store.pump import Pump
from tests.store.values import envelope


def octets(number: int) -> bytes:
    """The content of message `number`: small, and every third large."""
    return b"message %d\r\n" % number * (3000 if number % 3 == 0 else 5)


def main(folder: str, user: int, first: int) -> None:
    """Until killed."""
    clock = Pump()
    store = open_store(Path(folder), clock, min_free=0, reserve=0, on_death=print)
    unlinked = 0
    accepted: list[int] = []
    while True:
        waiting = []
        for number in range(first, first + 12):
            writer = store.content()
            writer.write(octets(number))
            content = writer.finish()
            if not isinstance(content, Content):
                content = clock.wait(content)
            queued = (Queued(f"{number}@x", "relay:x", "x"),) if number % 4 == 0 else ()
            waiting.append((number, store.commit(Accept(envelope(content, str(number)), (user,), queued))))
        for number, deferred in waiting:
            uid = clock.wait(deferred)[0].message
            accepted.append(uid)
            print("A", number, uid, flush=True)
        first += 12
        gone = tuple(accepted[unlinked:unlinked + 7])
        unlinked += 7
        print(*(f"u {uid}" for uid in gone), sep="\n", flush=True)
        clock.wait(store.commit(Unlink(user, gone)))
        print(*(f"U {uid}" for uid in gone), sep="\n", flush=True)
        for lane in clock.wait(store.lanes()):
            for delivery in clock.wait(store.claim("victim", lane.id, 2, 60)):
                print("c", delivery.recipient, flush=True)
                clock.wait(store.commit(Settle(delivery.id, delivery.fence, Verdict.DONE)))
                print("C", delivery.recipient, flush=True)
        clock.advance(0.01)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
