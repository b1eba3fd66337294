"""The state of a running bridge, judged as a monitoring system wants it: OK, warning or critical, and why."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from attrs import asdict, field, frozen

CRITICAL_DAYS = 3
WARNING_DAYS = 14
ALARM_SECONDS = 3600.0  # an alarm that holds mail up for longer is critical
LOW = 4  # warned below this many times min_free


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    CRITICAL = "critical"


@frozen
class Alarm:
    """Something that holds mail up until the operator mends it: a sentence with the remedy.

    `since` (seconds since 1970) is the arrival of the oldest message that waits for it.
    """

    text: str
    since: float


@frozen
class Facts:
    """What the running service knows of itself.

    `started` is seconds since 1970; `sessions` counts by protocol; `certificate_days` until the certificate expires,
    None without TLS; `supervisor` is who started it and would again; `queue` deliveries wait, the oldest since `oldest`
    (seconds since 1970, None when none does); `users` can log in. `embedded`: an OCE of our own works off its lanes.
    """

    version: str
    hostname: str
    pid: int
    started: float
    listeners: tuple[str, ...] = ()
    sessions: dict[str, int] = field(factory=dict)
    users: int = 0
    aliases: int = 0
    queue: int = 0
    free_octets: int = 0
    min_free: int = 0
    certificate_days: float | None = None
    alarms: tuple[Alarm, ...] = ()
    oldest: float | None = None
    supervisor: str = ""
    embedded: bool = True


@frozen
class Problem:
    """One thing that is wrong, with the remedy."""

    level: Level
    text: str


def problems(facts: Facts, now: float) -> tuple[Problem, ...]:
    """What is wrong, the worst first; `now` is seconds since 1970."""
    found = [
        Problem(Level.CRITICAL if now - alarm.since > ALARM_SECONDS else Level.WARNING, alarm.text)
        for alarm in facts.alarms
    ]
    if facts.free_octets < facts.min_free:
        found.append(Problem(Level.CRITICAL, f"the disk is full ({size(facts.free_octets)} free): new mail is refused "
                                             f"below {size(facts.min_free)} (store.min_free); make room"))
    elif facts.free_octets < LOW * facts.min_free:
        found.append(Problem(Level.WARNING, f"the disk is nearly full ({size(facts.free_octets)} free): new mail will "
                                            f"be refused below {size(facts.min_free)} (store.min_free); make room"))
    if facts.certificate_days is not None and facts.certificate_days <= WARNING_DAYS:
        level = Level.CRITICAL if facts.certificate_days <= CRITICAL_DAYS else Level.WARNING
        gone = facts.certificate_days < 0
        when = "has expired" if gone else f"expires in {facts.certificate_days:.0f} days"
        found.append(Problem(level, f"the certificate {when}: renew it (`mailbridge cert --force`) and reload"))
    if not facts.users:
        found.append(Problem(Level.WARNING, "there are no users yet: make one with `mailbridge user add NAME`"))
    if not facts.listeners:
        found.append(Problem(Level.WARNING, "nothing listens: add an [[smtp]] or [[pop3]] table and reload"))
    return tuple(sorted(found, key=lambda problem: problem.level is not Level.CRITICAL))


def record(facts: Facts, now: float) -> dict[str, Any]:
    """Facts and judgement as JSON values; `now` is seconds since 1970."""
    wrong = problems(facts, now)
    return {
        "level": str(wrong[0].level if wrong else Level.OK),
        "problems": [{"level": str(problem.level), "text": problem.text} for problem in wrong],
        "now": now,
        "uptime": max(0.0, now - facts.started),
        **asdict(facts),
        "listeners": list(facts.listeners),
        "alarms": [asdict(alarm) for alarm in facts.alarms],
    }


def size(octets: float) -> str:
    """`12.3 GiB`: octets for a person."""
    for unit in ("octets", "KiB", "MiB", "GiB", "TiB"):
        if octets < 1024 or unit == "TiB":
            return f"{octets:.0f} {unit}" if unit == "octets" else f"{octets:.1f} {unit}"
        octets /= 1024
    raise AssertionError("not reached")
