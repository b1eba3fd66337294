"""msg.dat, msg.state and duds.dat on a real disk."""

from __future__ import annotations

import io
import stat
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StartError
from mailbridge.fetch.duds import Duds
from mailbridge.fetch.spool import Held, Spool, SpooledMessage

STATE = Held(account="a", key="k", value="v", size=3, digest="d", body=1, eight_bit=False, sender="", waiting=("x@y",),
             refused=(("z@y", "550 no"),))


class SpoolTests(SynchronousTestCase):
    """One folder."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.spool = Spool(self.folder, maybeDeferred)
        self.spool.lock()
        self.addCleanup(self.spool.release)

    def done(self, work: Any) -> Any:
        """The result of a coroutine."""
        return self.successResultOf(Deferred.fromCoroutine(work))

    def keep(self, octets: bytes) -> Held:
        """A message in msg.dat."""
        writer = self.spool.begin()
        writer.write(octets)
        held = Held(account="a", key="k", value="v", size=writer.size, digest=writer.digest, body=0,
                    eight_bit=writer.eight_bit, sender="", refused=(("z@y", "550 no"),))
        self.done(writer.keep(held))
        writer.abort()
        return held

    def test_round(self) -> None:
        """What was kept is read back, whole or known to be damaged; cleared it is gone. Both files are ours alone."""
        held = self.keep(b"x" * 200_000)
        self.assertEqual(self.done(self.spool.load()), (held, True))
        for path in self.folder.iterdir():
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)
        self.spool.message.write_bytes(b"x" * 199_999)
        self.assertEqual(self.done(self.spool.load()), (held, False))
        self.done(self.spool.clear())
        self.assertEqual(self.done(self.spool.load()), (None, False))
        self.assertEqual([path.name for path in self.folder.iterdir()], ["popfetch.lock"])

    def test_abort(self) -> None:
        """A message that did not become whole leaves what was there before."""
        held = self.keep(b"first")
        writer = self.spool.begin()
        writer.write(b"second")
        writer.abort()
        writer.abort()
        self.assertEqual(self.done(self.spool.load()), (held, True))

    def test_lock(self) -> None:
        """Two fetchers cannot share a folder; one that has gone can be followed."""
        other = Spool(self.folder, maybeDeferred)
        self.assertRaises(StartError, other.lock)
        self.spool.release()
        other.lock()
        other.release()
        (self.folder / "file").write_bytes(b"")
        self.assertRaises(StartError, Spool(self.folder / "file", maybeDeferred).lock)

    def test_source(self) -> None:
        """What is sent of a message: something before, the file from somewhere on, something after."""
        self.keep(b"head\r\n\r\nbody")
        source = SpooledMessage.of(self.spool.message, 12, 8, b"<", b">")
        self.assertEqual((b"".join(source.chunks()), source.size), (b"<body>", 6))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b'{"refused": 1}', b"[" * 5000]))
    def test_any_state(self, octets: bytes) -> None:
        """Nonsense in msg.state is no state."""
        self.assertRaises(ValueError, Held.parse, octets)


class DudsTests(SynchronousTestCase):
    """duds.dat."""

    def append(self, duds: Duds, octets: bytes, reason: str = "no") -> None:
        """One dud."""
        self.successResultOf(duds.append(io.BytesIO(octets), "bob@pop", reason))

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.lists(st.sampled_from(
        [b"From x", b">From y", b">>From z", b"text", b"", b"From", b"\r", b"a\rb"]), min_size=1, max_size=5),
        min_size=1, max_size=3))
    def test_mboxrd(self, messages: list[list[bytes]]) -> None:
        """Every dud can be taken out of the file again, whatever lines it has."""
        with tempfile.TemporaryDirectory() as folder:
            duds = Duds(Path(folder), maybeDeferred, lambda: 0.0)
            for lines in messages:
                self.append(duds, b"\r\n".join(lines) + b"\r\n")
            found: list[list[bytes]] = []
            for line in duds.path.read_bytes().split(b"\n")[:-1]:
                if line.startswith(b"From "):
                    found.append([])
                else:
                    found[-1].append(line[1:] if line.lstrip(b">").startswith(b"From ") else line)
            self.assertEqual([each[1:-1] for each in found], messages)

    def test_header_is_clean(self) -> None:
        """A reason cannot make a line."""
        duds = Duds(Path(self.mktemp()), maybeDeferred, lambda: 0.0)
        duds.path.parent.mkdir()
        self.append(duds, b"x", "550 no\r\nFrom me")
        self.assertEqual(duds.path.read_bytes(), b"From MAILER-DAEMON Thu Jan 01 00:00:00 1970\n"
                                                 b"X-POPFetch-Dud: 0; bob@pop; 550 no From me\nx\n\n")

    def test_all_or_nothing(self) -> None:
        """A dud that cannot be written whole is not there at all."""
        duds = Duds(Path(self.mktemp()), maybeDeferred, lambda: 0.0)
        duds.path.parent.mkdir()
        self.append(duds, b"one\r\n")
        before = duds.path.read_bytes()

        class Broken(io.BytesIO):
            def readline(self, size: int | None = -1) -> bytes:
                if self.tell():
                    raise OSError(5, "Input/output error")
                return super().readline(size)

        self.failureResultOf(duds.append(Broken(b"two\r\nthree\r\n"), "a", "b"), OSError)
        self.assertEqual(duds.path.read_bytes(), before)
