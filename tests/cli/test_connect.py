"""Commands as processes: through the socket of a running bridge, and on the store itself."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from mailbridge.admin.control import listen
from mailbridge.cli.connect import operate, operate_alone, refuse_foreign_root
from mailbridge.config.load import load
from mailbridge.config.model import Config
from mailbridge.errors import StartError

ROOT = Path(__file__).parents[2]
CONFIG = 'hostname = "b.example.org"\nstate = "state"\n[[smtp]]\nlisten = "tcp:0"\nclients = ["10.0.0.0/8"]\n'


class Command(ProcessProtocol):
    """Collects what a process prints, and its exit code."""

    def __init__(self, typed: bytes) -> None:
        self.typed = typed
        self.out = self.err = b""
        self.ended: Deferred[int] = Deferred()

    def connectionMade(self) -> None:
        """Type, then end the input."""
        assert self.transport is not None
        self.transport.write(self.typed)
        self.transport.closeStdin()

    def outReceived(self, data: bytes) -> None:
        """Output."""
        self.out += data

    def errReceived(self, data: bytes) -> None:
        """Error output."""
        self.err += data

    def processEnded(self, reason: Failure) -> None:
        """The end."""
        self.ended.callback(reason.value.exitCode)  # type: ignore[union-attr]


class CommandTests(TestCase):
    """Real processes, a real store."""

    timeout = 60

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mailbridge-"))  # trial's own may be too deep for a socket
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "mailbridge.toml").write_text(CONFIG)

    @property
    def config(self) -> Config:
        return load(self.folder / "mailbridge.toml")

    async def mailbridge(self, *argv: str, typed: bytes = b"") -> tuple[int, str, str]:
        command = Command(typed)
        code = "import sys; from mailbridge.cli.main import main; sys.exit(main())"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        reactor.spawnProcess(  # type: ignore[attr-defined]
            command, sys.executable, [sys.executable, "-c", code, *argv], environment, str(self.folder))
        return await command.ended, command.out.decode(), command.err.decode()

    async def test_without_a_bridge(self) -> None:
        """While no bridge runs, commands work on the store itself, one after the other."""
        code, out, err = await self.mailbridge("user", "add", "bonnie", "--password-stdin", typed=b"long enough\n")
        self.assertEqual((0, "user bonnie can log in now\n", ""), (code, out, err))
        code, out, _ = await self.mailbridge("--json", "user", "list")
        self.assertEqual((0, ["bonnie"]), (code, [user["name"] for user in json.loads(out)["users"]]))
        code, out, err = await self.mailbridge("user", "add", "Bonnie", "--password-stdin", typed=b"long enough\n")
        self.assertEqual((1, ""), (code, out))
        self.assertTrue(err.startswith("mailbridge: there is a user bonnie already"), err)
        code, out, _ = await self.mailbridge("status")
        self.assertEqual(2, code)
        self.assertTrue(out.startswith("mailbridge CRITICAL: it is not running"), out)

    async def test_through_the_socket(self) -> None:
        """While a bridge runs, the command asks it, and its errors decide the exit code."""
        asked: list[tuple[str, dict[str, Any]]] = []

        async def answer(command: str, arguments: dict[str, Any]) -> Any:
            asked.append((command, arguments))
            return {"aliases": [{"name": "sales", "targets": ["bonnie"]}]}

        config = self.config
        config.state.mkdir()
        port = listen(reactor, config.state, answer)  # type: ignore[arg-type]
        self.addCleanup(port.stopListening)
        self.assertEqual((0, "sales: bonnie\n", ""), await self.mailbridge("alias", "list"))
        self.assertEqual([("alias list", {})], asked)
        self.assertEqual(["control.sock"], [path.name for path in config.state.iterdir()], "no store was opened")

    async def test_reload(self) -> None:
        """`reload` tells what needs a restart; where nothing runs there is nothing to reload, and no store is made."""
        code, _, err = await self.mailbridge("reload")
        self.assertEqual((1, "mailbridge: it is not running: there is nothing to reload\n"), (code, err))
        self.assertFalse((self.folder / "state").exists())

        async def answer(command: str, arguments: dict[str, Any]) -> Any:
            return {"notes": [f"{command}: state changes only with a restart"]}

        self.config.state.mkdir()
        port = listen(reactor, self.config.state, answer)  # type: ignore[arg-type]
        self.addCleanup(port.stopListening)
        told = "the configuration was read again\nreload: state changes only with a restart\n"
        self.assertEqual((0, told, ""), await self.mailbridge("reload"))

    async def test_operations_without_a_bridge(self) -> None:
        """The store is closed after each operation, so that the next one, or the bridge, can open it."""
        config = self.config
        for number in range(2):
            told = await operate(reactor, config, "user add", {"name": f"user{number}", "password": "long enough"})
            self.assertEqual(f"user{number}", told["name"])
        told = await operate_alone(
            reactor, config, "route", {"from": "", "to": "user1@b.example.org", "client": "10.1.2.3"})
        self.assertTrue(told["accepted"])

    def test_root_on_foreign_state(self) -> None:
        """Root does not make files in the state of another user, who could not write them; others are let through."""
        state = Path(self.mktemp())
        refuse_foreign_root(state, 0)
        state.mkdir()
        owner = state.stat().st_uid
        refuse_foreign_root(state, owner)
        if os.geteuid() == 0:
            os.chown(state, 12345, -1)
            error = self.assertRaises(StartError, refuse_foreign_root, state, 0)
            self.assertIn("12345", str(error))
        refuse_foreign_root(state, 12345)
