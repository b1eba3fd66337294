"""The accounting file: one line a job, nothing of the text."""

from __future__ import annotations

import json
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.job import Job, JobFile
from mailbridge.outcome import Delivered, RouteFailure
from mailbridge.target.accounting import Accounting, line, masked
from tests.target.job_world import LANE, JobWorld

JOB = Job("sms", 42, (JobFile("sms_0000000042.txt", b"secret text"),), JobFile("sms_0000000042.CTL", b""),
          "lamp@plant.example\n", "+420603280030", 2)


class AccountingTests(SynchronousTestCase):
    """Lines and the file."""

    def test_line(self) -> None:
        """Who pays for what, and which message it was; the last digits and the text are hidden."""
        text = line(JOB, "q1", 1_763_730_000.9)
        self.assertNotIn("\n", text)
        self.assertEqual(json.loads(text), {
            "time": "2025-11-21T13:00:00Z", "application": "sms", "job": 42, "account": "lamp@plant.example\n",
            "recipient": "+420603280xxx", "parts": 2, "octets": 11, "queue_id": "q1"})

    def test_masked(self) -> None:
        """Nothing but x is shown of a short name."""
        for recipient, shown in (("", ""), ("1", "x"), ("123", "xxx"), ("1234", "1xxx")):
            self.assertEqual(masked(recipient), shown)

    def test_rotated(self) -> None:
        """When the file is moved away lines go to a new one; an unfinished line is ended first."""
        path = Path(self.mktemp())
        path.write_text('{"cut')
        accounting = Accounting(path)
        accounting.write(["1", "2"])
        self.assertEqual(path.read_text(), '{"cut\n1\n2\n')
        os.rename(path, f"{path}.1")
        accounting.write(["3"])
        self.assertEqual(path.read_text(), "3\n")
        self.assertEqual(path.stat().st_mode & 0o137, 0)
        accounting.close()


class PublishedTests(SynchronousTestCase):
    """With an application."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = Path(self.mktemp())
        self.world = JobWorld(self.folder, accounting=self.path)

    def test_published(self) -> None:
        """Each published job has its line, one that is refused has none."""
        self.assertIsInstance(self.world.attempt(), Delivered)
        self.world.attempt(b"Subject: x\r\n\r\nREFUSE\r\n")
        [text] = self.path.read_text().splitlines()
        self.assertEqual(json.loads(text)["job"], 1)
        self.assertEqual(json.loads(text)["queue_id"], "q1")

    def test_cannot_be_written(self) -> None:
        """Without its accounting file an application stops, with an alarm, and publishes nothing."""
        self.path.mkdir()
        world = JobWorld(self.folder, accounting=self.path / "no" / "such")
        self.assertNotIsInstance(world.attempt(), Delivered)
        (self.path / "file").write_text("")
        world = JobWorld(self.folder, accounting=self.path / "file" / "below")
        outcome = world.attempt()
        self.assertIsInstance(outcome, RouteFailure)
        self.assertIn("accounting", outcome.reason)  # type: ignore[union-attr]
        self.assertEqual(world.names(), [])

    def test_after_a_crash(self) -> None:
        """A line that a crash repeats names the same job."""
        message, deliveries = self.world.message()
        for claimed in (deliveries, self.world.again(deliveries)):
            self.world.start()
            self.world.result(self.world.target.attempt(message, claimed, LANE))
        jobs = [json.loads(text)["job"] for text in self.path.read_text().splitlines()]
        self.assertEqual(jobs, [1, 1])
