"""What `mailbridge fetch` prints: progress, results, status, previews, and the table of settings of a dmail.conf."""

from __future__ import annotations

from time import localtime, strftime
from typing import Any

from mailbridge.admin.status import size
from mailbridge.fetch.settings import SETTINGS

Record = dict[str, Any]
MOST_PROGRESS = 20
_COUNTS = (("delivered", "delivered"), ("caretaker", "to the caretaker"), ("duds", "to duds.dat"),
           ("known", "had already"), ("later", "put off"), ("deleted", "deleted"), ("left", "kept there"),
           ("too_large", "too large"), ("poison", "passed over"), ("failures", "failures"))


def counts(last: Record) -> str:
    """`3 delivered (12.0 KiB), 3 deleted`."""
    parts = [f"{last[name]} {words}" for name, words in _COUNTS if last.get(name)]
    if last.get("octets"):
        parts.append(f"{size(last['octets'])} fetched")
    return ", ".join(parts) or "nothing new"


def progress(told: Record, names: frozenset[str]) -> list[str]:
    """A line for each account that is being collected."""
    running = [each for each in told["accounts"] if each["running"] and (not names or each["account"] in names)]
    lines = []
    for each in running[:MOST_PROGRESS]:
        last = each["last"]
        done = f"{last['fetched']:7} of {last['listed']} messages, {size(last['octets'])}"
        lines.append(f"{each['account'][:40]:40} {done}")
    if len(running) > MOST_PROGRESS:
        lines.append(f"... and {len(running) - MOST_PROGRESS} more")
    return lines


def conclusion(told: Record) -> list[str]:
    """What a collection came to."""
    lines = [f"{each['account']}: {counts(each['last'])}" + (f"; {each['error']}" if each["error"] else "")
             for each in told["accounts"]]
    if told["all_accounts"] > 1:
        lines.append(f"{told['all_accounts']} accounts, {told['failed']} failed: {counts(told['totals'])}")
    return lines + _stopped(told)


def _stopped(told: Record) -> list[str]:
    if not told["stopped"]:
        return []
    return [f"STOPPED after {told['duds_in_a_row']} messages in a row went to duds.dat: look at them, then `mailbridge "
            "fetch resume`"]


def status_lines(told: Record) -> list[str]:
    """How it goes, account by account."""
    lines = _stopped(told) or [f"the fetcher {'works' if told['running'] else 'does not run'}"]
    lines.append(f"duds: {told['duds']} since the start, {told['duds_in_a_row']} in a row; stops at "
                 f"{told['max_duds']}")
    for each in told["accounts"]:
        lines += [
            f"{each['account']} ({each['user']} at {each['server']})",
            f"    last     {_last(each)}",
            f"    next     {_time(each['next'])}",
            f"    in all   {counts(each['total'])}",
        ]
        if each["error"]:
            lines.append(f"    ERROR    {each['error']}; last success {_time(each['last_success'])}")
    return lines


def _last(each: Record) -> str:
    if each["running"]:
        last = each["last"]
        return f"runs since {_time(each['began'])}: {last['fetched']} of {last['listed']} messages"
    if not each["began"]:
        return "never"
    return f"{_time(each['ended'])}: {counts(each['last'])}"


def _time(seconds: float | None) -> str:
    return strftime("%Y-%m-%d %H:%M:%S", localtime(seconds)) if seconds else "never"


def preview_lines(account: Record) -> list[str]:
    """What would become of the messages of one account."""
    lines = [f"{account['account']}: {account['listed']} messages on the server"]
    for each in account["messages"]:
        to = ", ".join(f"{one['address']} ({one['route']})" if one["route"] else one["address"]
                       for one in each["recipients"])
        source = f" by {each['header']}" if each["header"] else ""
        text = f": {each['text']}" if each["text"] and each["text"] != to else ""
        lines.append(f"  {each['number']:5} {size(each['size']):>10}  {each['action']}{source}"
                     f"{' -> ' + to if to else ''}{text}")
    more = account["listed"] - len(account["messages"])
    if more > 0 and not account["error"]:
        lines.append(f"  ... and {more} more")
    if account["error"]:
        lines.append(f"  ERROR: {account['error']}")
    return lines


def settings_record() -> list[Record]:
    """Every setting of a dmail.conf that counts here."""
    return [
        {"name": each.name, "value": each.form.value, "default": each.default, "minimum": each.minimum,
         "unit": each.unit, "repeats": each.repeats, "used": each.used} for each in SETTINGS.values()
    ]


def settings_lines() -> list[str]:
    """The same as a table."""
    lines = [f"{'setting':16} {'value':38} {'default':10} {'least':6} {'unit':8} where it is read, and what for"]
    for each in SETTINGS.values():
        default = "-" if each.default is None else str(each.default).lower()
        least = "-" if each.minimum is None else str(each.minimum)
        form = each.form.value + (", repeated" if each.repeats else "")
        lines.append(f"{each.name:16} {form:38} {default:10} {least:6} {each.unit or '-':8} {each.used}")
    return lines
