"""What a monitoring system is told."""

from __future__ import annotations

import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.status import Alarm, Facts, Level, problems, record, size

MIB = 1024 * 1024
WELL = Facts("1.0", "bridge.example.org", 42, 1000.0, ("smtp[0] tcp:25",), {"smtp": 2}, users=3, aliases=1, queue=4,
             free_octets=1000 * MIB, min_free=64 * MIB, certificate_days=100.0)


class StatusTests(SynchronousTestCase):
    """Facts and judgement."""

    def test_well(self) -> None:
        """A healthy bridge is OK, and its record is JSON with all facts."""
        told = json.loads(json.dumps(record(WELL, 1060.0)))
        found = tuple(told[key] for key in ("level", "problems", "uptime", "sessions"))
        self.assertEqual(("ok", [], 60.0, {"smtp": 2}), found)

    def test_problems(self) -> None:
        """Each thing that goes wrong has its level and says what to do."""
        table = [
            (evolve(WELL, certificate_days=14.5), None, ""),
            (evolve(WELL, certificate_days=14.0), Level.WARNING, "expires in 14 days"),
            (evolve(WELL, certificate_days=3.0), Level.CRITICAL, "expires in 3 days"),
            (evolve(WELL, certificate_days=-2.0), Level.CRITICAL, "has expired"),
            (evolve(WELL, certificate_days=None), None, ""),
            (evolve(WELL, free_octets=63 * MIB), Level.CRITICAL, "new mail is refused"),
            (evolve(WELL, free_octets=255 * MIB), Level.WARNING, "nearly full"),
            (evolve(WELL, users=0), Level.WARNING, "mailbridge user add"),
            (evolve(WELL, listeners=()), Level.WARNING, "nothing listens"),
            (evolve(WELL, alarms=(Alarm("relay:office is paused", 1000.0),)), Level.WARNING, "is paused"),
            (evolve(WELL, alarms=(Alarm("relay:office is paused", -3000.0),)), Level.CRITICAL, "is paused"),
        ]
        for facts, level, text in table:
            found = problems(facts, 1060.0)
            self.assertEqual([level] if level else [], [problem.level for problem in found], facts)
            self.assertTrue(all(text in problem.text for problem in found), facts)

    def test_worst_first(self) -> None:
        """With several problems the level is that of the worst, which is told first."""
        told = record(evolve(WELL, users=0, certificate_days=1.0, alarms=(Alarm("x", 1060.0),)), 1060.0)
        self.assertEqual("critical", told["level"])
        self.assertEqual(["critical", "warning", "warning"], [problem["level"] for problem in told["problems"]])

    def test_sizes(self) -> None:
        """Sizes are told in the unit that fits."""
        for octets, text in ((0, "0 octets"), (1023, "1023 octets"), (1536, "1.5 KiB"), (5 * MIB, "5.0 MiB"),
                             (3000 * MIB, "2.9 GiB"), (2**60, "1048576.0 TiB")):
            self.assertEqual(text, size(octets))
