"""The control socket, in memory and as a real socket."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailbridge.admin.call import NotRunning, call
from mailbridge.admin.control import LONGEST_PATH, MOST_WAITING, ControlFactory, ControlProtocol, listen, socket_path
from mailbridge.admin.messages import LONGEST_LINE, Kind, OperationError
from mailbridge.errors import StartError


class ControlProtocolTests(SynchronousTestCase):
    """What one connection does with its lines."""

    def setUp(self) -> None:
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.results: dict[str, Any] = {"echo": "done"}
        self.transport = StringTransport()
        self.protocol: ControlProtocol = ControlFactory(self.run_command).buildProtocol(None)
        self.protocol.makeConnection(self.transport)

    async def run_command(self, command: str, arguments: dict[str, Any]) -> Any:
        self.asked.append((command, arguments))
        result = self.results[command]
        if isinstance(result, Exception):
            raise result
        return await result if isinstance(result, Deferred) else result

    def say(self, *requests: object) -> list[Any]:
        """Send requests in one segment; the answers so far."""
        self.protocol.dataReceived(b"".join(
            request if isinstance(request, bytes) else json.dumps(request).encode() + b"\n" for request in requests))
        return self.answers()

    def answers(self) -> list[Any]:
        answers = [json.loads(line) for line in self.transport.value().splitlines()]
        self.transport.clear()
        return answers

    def test_a_request(self) -> None:
        """A command is carried out with its arguments and answered under its id."""
        answer = self.say({"id": 3, "command": "echo", "arguments": {"a": 1}})
        self.assertEqual([{"id": 3, "ok": True, "result": "done"}], answer)
        self.assertEqual([("echo", {"a": 1})], self.asked)

    def test_order(self) -> None:
        """Several requests are carried out one after the other, and answered in order."""
        slow: Deferred[str] = Deferred()
        self.results["slow"] = slow
        self.assertEqual([], self.say({"id": 1, "command": "slow"}, {"id": 2, "command": "echo"}))
        self.assertEqual(1, len(self.asked))
        slow.callback("at last")
        self.assertEqual([1, 2], [answer["id"] for answer in self.answers()])

    def test_errors(self) -> None:
        """An error is answered with its kind, and the connection goes on."""
        self.results["taken"] = OperationError(Kind.CONFLICT, "the name is taken")
        first, second, third = self.say({"id": 1, "command": "taken"}, b"rubbish\n", {"id": 2, "command": "echo"})
        self.assertEqual({"id": 1, "ok": False, "error": "the name is taken", "kind": "conflict"}, first)
        self.assertEqual((None, "usage"), (second["id"], second["kind"]))
        self.assertTrue(third["ok"])

    def test_a_bug(self) -> None:
        """A fault of our own is logged and answered as failed, without its details."""
        self.results["bug"] = ZeroDivisionError("secret")
        (answer,) = self.say({"id": 1, "command": "bug"})
        self.assertEqual("failed", answer["kind"])
        self.assertNotIn("secret", answer["error"])
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_unencodable_result(self) -> None:
        """A result that is no JSON does not break the connection."""
        self.results["odd"] = {1, 2}
        (answer,) = self.say({"id": 1, "command": "odd"})
        self.assertEqual("failed", answer["kind"])
        self.assertEqual(1, len(self.flushLoggedErrors(TypeError)))

    def test_line_too_long(self) -> None:
        """An endless line is answered and cut off; it does not fill the memory."""
        for _ in range(LONGEST_LINE // 65_536 + 1):
            self.protocol.dataReceived(b"x" * 65_536)
        self.assertEqual(["usage"], [answer["kind"] for answer in self.answers()])
        self.assertTrue(self.transport.disconnecting)

    def test_too_many_waiting(self) -> None:
        """Requests beyond the sixty-fifth are refused while the first is at work."""
        self.results["slow"] = Deferred()
        answers = self.say(*({"id": n, "command": "slow"} for n in range(MOST_WAITING + 3)))
        self.assertEqual([(65, "usage"), (66, "usage")], [(answer["id"], answer["kind"]) for answer in answers])

    def test_hung_up(self) -> None:
        """When the operator hangs up, what runs is finished, the rest is dropped and nothing is written."""
        slow: Deferred[str] = Deferred()
        self.results["slow"] = slow
        self.say({"id": 1, "command": "slow"}, {"id": 2, "command": "echo"})
        self.protocol.connectionLost()
        slow.callback("too late")
        self.assertEqual((1, b""), (len(self.asked), self.transport.value()))


class SocketTests(TestCase):
    """Through a real UNIX socket."""

    def setUp(self) -> None:
        folder = os.path.relpath(self.mktemp())  # relative: the temporary folder may be too deep for a socket
        os.makedirs(folder)
        self.state = Path(folder)

    async def run_command(self, command: str, arguments: dict[str, Any]) -> Any:
        if command == "refuse":
            raise OperationError(Kind.CONFLICT, "no")
        if command == "hang":
            await Deferred()
        return {"command": command, **arguments}

    def open(self) -> Path:
        port = listen(reactor, self.state, self.run_command)  # type: ignore[arg-type]
        self.addCleanup(port.stopListening)
        return socket_path(self.state)

    async def test_call(self) -> None:
        """A command goes to the bridge and its result or error comes back; the socket is the owner's alone."""
        path = self.open()
        self.assertEqual(0o600, stat.S_IMODE(path.stat().st_mode))
        self.assertEqual({"command": "x", "a": "\u00e9"}, await call(reactor, path, "x", {"a": "\u00e9"}))  # type: ignore
        with self.assertRaises(OperationError) as caught:
            await call(reactor, path, "refuse", {})  # type: ignore[arg-type]
        self.assertEqual(Kind.CONFLICT, caught.exception.kind)

    async def test_no_answer(self) -> None:
        """A bridge that does not answer is given up in time."""
        path = self.open()
        with self.assertRaises(OperationError) as caught:
            await call(reactor, path, "hang", {}, patience=0.05)  # type: ignore[arg-type]
        self.assertIn("did not answer", str(caught.exception))

    async def test_nobody_listens(self) -> None:
        """Without a bridge, or with one that crashed, the caller learns that none runs."""
        path = socket_path(self.state)
        with self.assertRaises(NotRunning):
            await call(reactor, path, "x", {})  # type: ignore[arg-type]
        await listen(reactor, self.state, self.run_command).stopListening()  # type: ignore[arg-type, misc]
        with self.assertRaises(NotRunning):
            await call(reactor, path, "x", {})  # type: ignore[arg-type]

    async def test_left_over_socket(self) -> None:
        """The socket of a bridge that crashed is replaced at the next start."""
        import socket

        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(socket_path(self.state)))
        self.assertEqual({"command": "x"}, await call(reactor, self.open(), "x", {}))  # type: ignore[arg-type]

    def test_something_in_the_way(self) -> None:
        """A file of that name is not touched: the start fails with one line."""
        (self.state / "control.sock").write_text("mine")
        error = self.assertRaises(StartError, listen, reactor, self.state, self.run_command)
        self.assertIn("move it elsewhere", str(error))
        self.assertEqual("mine", (self.state / "control.sock").read_text())

    def test_unwritable(self) -> None:
        """A folder that is not there gives one line with the reason."""
        error = self.assertRaises(StartError, listen, reactor, self.state / "missing", self.run_command)
        self.assertIn("cannot be opened", str(error))

    def test_path_too_long(self) -> None:
        """A state folder too deep for a UNIX socket is named, with the limit, before anything is tried."""
        fits = Path("/" + "s" * (LONGEST_PATH - len("/" + "/control.sock")))
        self.assertEqual(LONGEST_PATH, len(str(socket_path(fits))))
        error = self.assertRaises(StartError, socket_path, Path(f"{fits}s"))
        self.assertIn(str(LONGEST_PATH), str(error))
