"""The folder of jobs: what a reader sees, and what is left when something fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.job import Job, JobFile
from mailbridge.target.jobfolder import JobFolder, TakenError, writing_name
from mailbridge.target.syncing import MANY, REST, SLOW, Syncing


def job(number: int, files: int = 1) -> Job:
    """A job with so many data files."""
    stem = f"sms_{number:010d}"
    data = tuple(JobFile(f"{stem}_{index}.txt", b"text") for index in range(files))
    return Job("sms", number, data, JobFile(f"{stem}.CTL", b"control"), "a@b", "1")


class FullSyncing(Syncing):
    """The disk is full when the file `at` has been written, or at the sync."""

    def __init__(self, at: int, log: list[str] | None = None) -> None:
        super().__init__(None)
        self._left = at

    def add(self, descriptor: int) -> None:
        """See Syncing."""
        super().add(descriptor)
        self._left -= 1
        if self._left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")


class JobFolderTests(SynchronousTestCase):
    """On a temporary folder."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.path.mkdir()

    def folder(self, syncing: Syncing | None = None) -> JobFolder:
        """Open it."""
        folder = JobFolder(self.path, syncing)
        folder.look()
        self.addCleanup(folder.close)
        return folder

    def names(self) -> list[str]:
        """What lies there."""
        return sorted(os.listdir(self.path))

    def test_stages(self) -> None:
        """First the data and a control file under another name, then the rename."""
        folder = self.folder()
        folder.write(job(1))
        self.assertEqual(self.names(), ["sms_0000000001.writing", "sms_0000000001_0.txt"])
        folder.sync()
        self.assertTrue(folder.publish("sms_0000000001.CTL"))
        self.assertEqual(self.names(), ["sms_0000000001.CTL", "sms_0000000001_0.txt"])
        self.assertFalse(folder.publish("sms_0000000001.CTL"))

    def test_never_clobbers(self) -> None:
        """A file that has the name of a control file stays as it is."""
        folder = self.folder()
        folder.write(job(1))
        (self.path / "sms_0000000001.CTL").write_text("other")
        self.assertRaises(TakenError, folder.publish, "sms_0000000001.CTL")
        self.assertEqual((self.path / "sms_0000000001.CTL").read_text(), "other")

    def test_full_disk(self) -> None:
        """When the disk is full at any file, nothing of the job is left."""
        for at in (1, 2, 3):
            folder = self.folder(FullSyncing(at))
            self.assertRaises(OSError, folder.write, job(1, 2))
            self.assertEqual(self.names(), [])

    def test_no_way_out(self) -> None:
        """A job cannot name a file outside of its folder."""
        bad = Job("sms", 1, (JobFile("../x.txt", b""),), JobFile("sms_0000000001.CTL", b""), "", "")
        self.assertRaises(ValueError, self.folder().write, bad)
        self.assertEqual(self.names(), [])

    def test_replaced(self) -> None:
        """A folder that another has taken the place of is opened anew."""
        folder = self.folder()
        before = folder.identity
        self.path.rename(self.path.with_suffix(".old"))
        self.path.mkdir()
        folder.look()
        self.assertNotEqual(folder.identity, before)
        folder.write(job(1))
        self.assertEqual(len(self.names()), 2)

    def test_writing_name(self) -> None:
        """The name before the rename, whatever the suffix is."""
        for control in ("sms_0000000001.CTL", "sms_0000000001.json", "sms_0000000001"):
            self.assertEqual(writing_name(control), "sms_0000000001.writing")


class SyncingTests(SynchronousTestCase):
    """One by one, or all at once."""

    def setUp(self) -> None:
        self.calls: list[int] = []
        self.now = 0.0
        self.cost = 0.0
        self.descriptors: list[int] = []

    def syncfs(self, descriptor: int) -> None:
        """Counts."""
        self.calls.append(descriptor)
        self.now += self.cost

    def syncing(self) -> Syncing:
        """One that has syncfs."""
        return Syncing(self.syncfs, lambda: self.now)

    def add(self, syncing: Syncing, files: int) -> None:
        """Write so many."""
        for _ in range(files):
            path = self.mktemp()
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
            self.descriptors.append(descriptor)
            syncing.add(descriptor)

    def sync(self, syncing: Syncing) -> None:
        """Sync them and a folder; no descriptor stays open."""
        folder = os.open(".", os.O_RDONLY)
        syncing.sync(folder)
        syncing.forget()
        os.close(folder)
        for descriptor in self.descriptors:
            self.assertRaises(OSError, os.fstat, descriptor)
        self.descriptors.clear()

    def test_few(self) -> None:
        """A few files are synced by themselves: a lone job does not wait for what others write."""
        syncing = self.syncing()
        self.add(syncing, MANY - 1)
        self.sync(syncing)
        self.assertEqual(self.calls, [])

    def test_many(self) -> None:
        """Many files cost one call, and need no descriptor each."""
        syncing = self.syncing()
        self.add(syncing, 10 * MANY)
        self.sync(syncing)
        self.assertEqual(len(self.calls), 1)

    def test_without(self) -> None:
        """Where there is no such call all are synced one by one."""
        syncing = Syncing(None)
        self.add(syncing, 10 * MANY)
        self.sync(syncing)

    def test_slow(self) -> None:
        """When it has taken long, because others write much, it rests."""
        syncing = self.syncing()
        self.cost = SLOW * 2
        for seconds, expected in ((0, 1), (0, 1), (REST + 1, 2)):
            self.now += seconds
            self.add(syncing, 2 * MANY)
            self.sync(syncing)
            self.assertEqual(len(self.calls), expected)

    def test_of_system(self) -> None:
        """What this system has works."""
        syncing = Syncing.of_system()
        self.add(syncing, 2 * MANY)
        self.sync(syncing)
