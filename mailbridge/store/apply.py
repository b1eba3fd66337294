"""Which function applies which change. Each takes the batch, the change and the receipts of its commit to append to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mailbridge.store import changes, garbage, lanes, maildrops, operating, people, queue, settling
from mailbridge.store.accept import accept, forget_keys
from mailbridge.store.batch import Batch

APPLY: dict[type, Callable[[Batch, Any, list[object]], None]] = {
    changes.Accept: accept,
    changes.ForgetKeys: forget_keys,
    changes.Unlink: maildrops.unlink,
    changes.Settle: settling.settle,
    changes.Move: settling.settle,
    changes.Deposit: settling.deposit,
    changes.SetLane: lanes.set_lane,
    **dict.fromkeys(operating.OPERATIONS, operating.refuse),
    changes.AddUser: people.add_user,
    changes.ChangeUser: people.change_user,
    changes.RemoveUser: people.remove_user,
    changes.SetAlias: people.set_alias,
    changes.Allocate: people.allocate,
    changes.Remember: people.remember,
    queue.Claim: queue.claim,
    queue.Renew: queue.renew,
    lanes.ListLanes: queue.list_lanes,
    lanes.ListReady: queue.list_ready,
    operating.Operate: operating.operate,
    garbage.Free: garbage.free,
    garbage.DropSegments: garbage.drop_segments,
    garbage.ListSegments: garbage.list_segments,
    garbage.Residents: garbage.residents,
    garbage.Relocate: garbage.relocate,
}
