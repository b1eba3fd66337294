"""What can be asked of a store and what it answers, as plain values that could cross a process.

Changes are what `IStore.commit` takes; the receipt of each is named in its docstring. Records are what reads return.
Times are seconds since 1970, sizes octets, ids integers that are never used twice.
"""

from __future__ import annotations

import json
from array import array
from enum import Enum

from attrs import frozen

from mailbridge.content import Content
from mailbridge.envelope import Envelope, MailParameters
from mailbridge.store.users import AddUser as AddUser
from mailbridge.store.users import Alias as Alias
from mailbridge.store.users import Allocate as Allocate
from mailbridge.store.users import ChangeUser as ChangeUser
from mailbridge.store.users import Credentials as Credentials
from mailbridge.store.users import People as People
from mailbridge.store.users import Remember as Remember
from mailbridge.store.users import RemoveUser as RemoveUser
from mailbridge.store.users import SetAlias as SetAlias
from mailbridge.store.users import User as User

# --- messages and their maildrop entries ------------------------------------------------------------------------------


@frozen
class Wishes:
    """What a recipient's sender wants to hear of it (RFC 3461): `notify` of NEVER, SUCCESS, FAILURE, DELAY; `original`
    is ORCPT as it came, `rfc822;a@b`.
    """

    notify: tuple[str, ...] = ()
    original: str | None = None


NO_WISHES = Wishes()


@frozen
class Queued:
    """A delivery to make: the recipient as text, and the lane (route and destination) it waits in."""

    recipient: str
    target: str
    destination: str
    due: float = 0.0
    wishes: Wishes = NO_WISHES


@frozen
class Accept:
    """Store a message with an entry in the maildrop of each user of `deposits` and the `deliveries` to queue.

    `maildrop_size` is what POP3 will send of it before dot-stuffing, see `received.maildrop_size`; 0 stands for the
    size of the content. `key`, when given, makes it idempotent: a second Accept with the key of a first stores nothing.
    Receipt: Accepted.
    """

    envelope: Envelope
    deposits: tuple[int, ...] = ()
    deliveries: tuple[Queued, ...] = ()
    key: str | None = None
    maildrop_size: int = 0


@frozen
class Accepted:
    """The id of the message; `repeated` when the key was known already."""

    message: int
    repeated: bool = False


@frozen
class ForgetKeys:
    """Forget keys of Accepts that begin with `prefix`, come after the key `after`, and belong to messages with an id
    below `before`. At most `limit` (1,000) keys are looked at.

    Receipt: the last key that was looked at, "" when there was none: the end.
    """

    prefix: str
    after: str
    before: int
    limit: int = 1000


@frozen
class Unlink:
    """Take messages out of a user's maildrop; the content is freed later by the purge. Receipt: None."""

    user: int
    uids: tuple[int, ...]


@frozen
class Message:
    """A stored message. `origin` is JSON: the Origin without its time, and what MAIL declared."""

    id: int
    queue_id: str
    sender: str
    origin: str
    received: float
    content: Content

    @property
    def declared(self) -> MailParameters:
        """What MAIL declared but for the size, to be told to the next server and in notices."""
        said = json.loads(self.origin) if self.origin else {}
        return MailParameters(
            None, bool(said.get("body_8bit")), bool(said.get("utf8")), said.get("ret"), said.get("envid")
        )


@frozen
class Snapshot:
    """A maildrop at one moment: parallel arrays, oldest first. `sizes` are the `maildrop_size` of each Accept."""

    uids: array[int]
    sizes: array[int]


# --- the queue --------------------------------------------------------------------------------------------------------


class LaneState(Enum):
    """May a lane's deliveries be claimed? `paused` is the bridge's own doing, with an alarm; `held` the operator's.

    Once the `not_before` of a paused lane has passed, if it is not 0, one delivery may be claimed to see how it goes.
    """

    OPEN = "open"
    PAUSED = "paused"
    HELD = "held"


@frozen
class Lane:
    """Deliveries of one route to one destination wait here; `due` is the earliest due time, None when nothing waits."""

    id: int
    target: str
    destination: str
    state: LaneState
    reason: str
    not_before: float
    due: float | None
    waiting: int


@frozen
class Delivery:
    """One message to one recipient, claimed. `fence` grows with each claim; a Settle with an older one is stale.

    `noticed` says that a delay notice has gone out; `answer` is the last word of the next system. `pinned` says that an
    operator chose its lane (Reroute): it stays there whatever the routes say.
    """

    id: int
    message: int
    recipient: str
    lane: int
    attempts: int
    fence: int
    wishes: Wishes = NO_WISHES
    noticed: bool = False
    answer: str = ""
    pinned: bool = False


class Verdict(Enum):
    """What a Settle says of a delivery: done (delivered, or failed for good) and gone, or to be tried again."""

    DONE = "done"
    AGAIN = "again"


@frozen
class Settle:
    """End a claim. `due` is the time of the next attempt for AGAIN. Receipt: True, or False when the fence is stale.

    `answer` (its first 500 characters) is kept for the operator and for notices, an empty one leaves the last;
    `noticed` records that a delay notice went out with this commit.
    """

    delivery: int
    fence: int
    verdict: Verdict
    due: float = 0.0
    answer: str = ""
    noticed: bool = False


@frozen
class Move:
    """End a claim without an attempt: the delivery waits from `due` on in a lane, another or its own.

    Receipt: as Settle.
    """

    delivery: int
    fence: int
    target: str
    destination: str
    due: float = 0.0


@frozen
class Deposit:
    """A claimed delivery turned out to be for a local user: into the maildrop, and the delivery is done.

    `size` is the maildrop size. Several of one claim, one after the other in one commit, put it into several maildrops.
    StoreConflict when the user is gone. Receipt: as Settle.
    """

    delivery: int
    fence: int
    user: int
    size: int


@frozen
class Selection:
    """Which waiting deliveries an operator means; everything that is not None must match, text in any case.

    The five changes that take one are made in slices, which a crash can part, so each is a commit of its own
    (StoreConflict otherwise). Deliveries that are claimed at that moment are passed over.
    `queue_id` is a whole one, `recipient` and `sender` whole addresses or `@domain`, `target` and `destination` a
    lane's.
    """

    queue_id: str | None = None
    recipient: str | None = None
    sender: str | None = None
    target: str | None = None
    destination: str | None = None


@frozen
class QueueEntry:
    """One delivery as an operator sees it. `state` is waiting, claimed or held.

    `due` is when it may be tried next: not before its lane may.
    """

    delivery: int
    message: int
    queue_id: str
    sender: str
    recipient: str
    target: str
    destination: str
    state: str
    received: float
    due: float
    attempts: int
    size: int
    answer: str


@frozen
class Hold:
    """Keep deliveries from being claimed until they are released. Receipt: how many."""

    selection: Selection


@frozen
class Unhold:
    """Let held deliveries go, due at once. Receipt: how many."""

    selection: Selection


@frozen
class RetryNow:
    """Make waiting deliveries due at once, and open their lanes if those are paused or delayed. Receipt: how many."""

    selection: Selection


@frozen
class Reroute:
    """Put waiting and held deliveries into another lane (destination None: keep), pinned there, the waiting ones due at
    once. Receipt: how many.
    """

    selection: Selection
    target: str
    destination: str | None = None


@frozen
class Discard:
    """Remove waiting and held deliveries without a notice to anybody. Receipt: how many."""

    selection: Selection


@frozen
class SetLane:
    """Pause, hold, delay or open a lane. Receipt: None."""

    lane: int
    state: LaneState
    reason: str = ""
    not_before: float = 0.0


Change = (
    Accept | ForgetKeys | Unlink | Settle | Move | Deposit | SetLane | Hold | Unhold | RetryNow | Reroute | Discard
    | AddUser | ChangeUser | RemoveUser | SetAlias | Allocate | Remember
)
