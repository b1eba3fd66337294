"""What a collection would do to each message of an account, without doing it: `mailbridge fetch --dry-run`.

Logs in, lists, and reads headers by TOP (by RETR where the server has no TOP). Nothing is stored, delivered or deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mailbridge.errors import StoreError
from mailbridge.fetch import recipient
from mailbridge.fetch.account import Account
from mailbridge.fetch.decision import Decider
from mailbridge.fetch.ledger import Ledger
from mailbridge.fetch.plan import Action, Item, plan
from mailbridge.fetch.session import Opener, both
from mailbridge.interfaces import IStore
from mailbridge.limits import KIB
from mailbridge.message import header
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.routing.intake import Intake

MOST_HEADER = 256 * KIB
MOST_MESSAGES = 1000
MOST_SHOWN = 20
ROOM = 400_000
"""Characters for one account: what is more is only counted."""

Record = dict[str, Any]


async def preview(
    account: Account, opener: Opener, store: IStore, intake: Intake | None, seconds: Callable[[], float]
) -> Record:
    """The account, each message with its action and recipients, and the error that ended it. Never raises.

    `intake` is that of the bridge, None when the mail goes to an SMTP server, whose answers nobody knows before.
    """
    messages: list[Record] = []
    found: Record = {"account": account.name, "error": "", "listed": 0, "messages": messages}
    session = None
    room = ROOM
    try:
        ledger = Ledger(store, account.key)
        await ledger.load()
        session = await opener(account)
        sizes, uids = await both(session.list(), session.uidl())
        found["listed"] = len({*sizes, *(uids or ())})
        for item, action in plan(sizes, uids, ledger.get, account, seconds(), lambda _: False):
            if len(messages) >= MOST_MESSAGES or room < 0:
                break
            record: Record = {"number": item.number, "size": item.size,
                              "uid": (uids or {}).get(item.number), "action": action.value, "header": "",
                              "recipients": [], "text": ""}
            messages.append(record)
            if action is Action.FETCH:
                record |= _decided(await _header(session, item), account, intake, item)
            room -= len(str(record))
        await session.quit()
    except (UpstreamError, StoreError) as error:
        found["error"] = str(error)
    finally:
        if session is not None:
            session.abort()
    return found


async def _header(session: Any, item: Item) -> bytes:
    held = bytearray()

    def write(octets: bytes) -> None:
        if len(held) <= MOST_HEADER:
            held.extend(octets)

    try:
        await session.top(item.number, 0, write, 2 * MOST_HEADER)
    except UpstreamError as error:
        if error.kind is not Kind.REFUSED:
            raise
        await session.retrieve(item.number, write)
    return bytes(held)


def _decided(held: bytes, account: Account, intake: Intake | None, item: Item) -> Record:
    """Where the recipients come from, who they are, and what becomes of the message."""
    end = header.end_of_header(held)
    choice = recipient.choose(held if end < 0 else held[:end], account.addressing)
    record: Record = {"header": choice.source, "text": choice.reason,
                      "recipients": [{"address": address.text, "route": ""}
                                     for address in choice.recipients[:MOST_SHOWN]]}
    if intake is None:
        return record
    decision = Decider(intake, account).decide(held, end, end < 0, item.name, True)
    record["recipients"] = [
        {"address": address.text, "route": ", ".join(route.target for route in routes)}
        for copy in decision.copies for address, routes in copy.routes.items()
    ][:MOST_SHOWN]
    return {**record, "action": decision.fate.end.value, "text": decision.fate.text}
