"""The commands on users, aliases, routes: what they ask of the bridge, and what they print."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.messages import OperationError
from mailbridge.admin.status import Facts, record
from mailbridge.cli import alias, route, status, user
from mailbridge.cli.main import parser
from mailbridge.cli.user import Terminal


class Bridge:
    """Answers what was prepared, and remembers what was asked."""

    def __init__(self, **results: Any) -> None:
        self.results = results
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def ask(self, command: str, arguments: dict[str, Any]) -> Any:
        """The prepared answer."""
        self.asked.append((command, arguments))
        return self.results[command.replace(" ", "_")]


def typed(*lines: str) -> Terminal:
    """A terminal at which these lines are typed, then nothing any more."""
    waiting = iter(lines)

    def ask(_prompt: str) -> str:
        for line in waiting:
            return line
        raise EOFError

    return Terminal(ask, ask, lambda most: "\n".join(lines).encode()[:most])


class CommandTests(SynchronousTestCase):
    """Commands with a prepared bridge."""

    def run_command(self, work: Callable[..., Any], line: str, bridge: Bridge, *more: Any) -> tuple[int, str, str]:
        """(exit code, output, error output) of a command line."""
        args = parser().parse_args(line.split())
        args.json = getattr(args, "json", False)
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code: int = self.successResultOf(Deferred.fromCoroutine(work(args, bridge.ask, *more)))
        return code, out.getvalue().rstrip(), err.getvalue().rstrip()

    def test_add_user(self) -> None:
        """The password is typed twice; warnings go to standard error, the result to standard output."""
        bridge = Bridge(user_add={"id": 1, "name": "bonnie", "warnings": ["may be guessed"]})
        told = self.run_command(user.add, "user add Bonnie --send-as *@x.org", bridge, typed("pw", "pw"))
        self.assertEqual((0, "user bonnie can log in now", "mailbridge: may be guessed"), told)
        expected = {"name": "Bonnie", "password": "pw", "keep_secret": False, "send_as": ["*@x.org"]}
        self.assertEqual([("user add", expected)], bridge.asked)

    def test_where_passwords_come_from(self) -> None:
        """A password is the first line of standard input or of a file, without its line end."""
        path = Path(self.mktemp())
        path.write_bytes("gr\u00fc\u00df\r\nsecond line\n".encode())
        for source, here, expected in (("--password-stdin", typed("from stdin", "x"), "from stdin"),
                                       (f"--password-file {path}", typed(), "gr\u00fc\u00df")):
            args = parser().parse_args(["user", "passwd", "bonnie", *source.split()])
            self.assertEqual(expected, user.password(args, here))

    def test_no_password(self) -> None:
        """Two that differ, nobody to ask, a missing file and other than UTF-8 are errors before anything is asked."""
        broken = Path(self.mktemp())
        broken.write_bytes(b"\xff\n")
        for source, here in (("", typed("one", "two")), ("", typed()), ("--password-file /nowhere", typed()),
                             (f"--password-file {broken}", typed())):
            args = parser().parse_args(["user", "passwd", "bonnie", *source.split()])
            self.assertRaises(OperationError, user.password, args, here)

    def test_passwd(self) -> None:
        """Whether the secret is kept is sent only when it was said."""
        for option, expected in (("", {}), (" --keep-secret", {"keep_secret": True}),
                                 (" --forget-secret", {"keep_secret": False})):
            bridge = Bridge(user_passwd={"name": "bonnie", "warnings": []})
            self.run_command(user.passwd, "user passwd bonnie" + option, bridge, typed("pw", "pw"))
            self.assertEqual([("user passwd", {"name": "bonnie", "password": "pw", **expected})], bridge.asked)

    def test_list_users(self) -> None:
        """Users are listed one a line, and as JSON the way the bridge tells them."""
        users = {"users": [{"name": "bonnie", "keeps_secret": False, "send_as": []},
                           {"name": "clyde", "keeps_secret": True, "send_as": ["*@x.org"]}]}
        _, out, _ = self.run_command(user.list_users, "user list", Bridge(user_list=users))
        self.assertEqual("bonnie\nclyde  keeps the secret  sends as *@x.org", out)
        _, out, _ = self.run_command(user.list_users, "--json user list", Bridge(user_list=users))
        self.assertEqual(users, json.loads(out))
        _, out, _ = self.run_command(user.list_users, "user list", Bridge(user_list={"users": []}))
        self.assertIn("mailbridge user add", out)

    def test_remove_user(self) -> None:
        """Removing asks first and says how much mail goes; anything but yes removes nothing."""
        results: dict[str, Any] = {"user_show": {"name": "bonnie", "messages": 3, "octets": 2048},
                                   "user_remove": {"name": "bonnie", "messages": 3, "aliases": ["sales"]}}
        for lines in (("n",), ("",), ()):
            bridge = Bridge(**results)
            code, _, err = self.run_command(user.remove, "user remove bonnie", bridge, typed(*lines))
            self.assertEqual((1, ["user show"]), (code, [command for command, _ in bridge.asked]), err)
        questions: list[str] = []
        here = Terminal(str, lambda prompt: questions.append(prompt) or "Yes", lambda most: b"")
        code, out, err = self.run_command(user.remove, "user remove bonnie", Bridge(**results), here)
        self.assertEqual(["remove bonnie with 3 messages (2.0 KiB)? [y/N] "], questions)
        self.assertEqual((0, "user bonnie is removed, with 3 messages"), (code, out))
        self.assertIn("alias sales", err)

    def test_remove_without_asking(self) -> None:
        """--yes does not ask."""
        bridge = Bridge(user_remove={"name": "bonnie", "messages": 3, "aliases": []})
        self.assertEqual(0, self.run_command(user.remove, "user remove bonnie --yes", bridge, typed())[0])

    def test_set_sender(self) -> None:
        """The further senders are replaced by those given."""
        bridge = Bridge(user_set={"name": "bonnie", "send_as": []})
        _, out, _ = self.run_command(user.set_sender, "user set bonnie", bridge)
        self.assertEqual("bonnie may send as himself only", out)
        self.assertEqual([("user set", {"name": "bonnie", "send_as": []})], bridge.asked)

    def test_aliases(self) -> None:
        """Aliases are made, listed and removed."""
        bridge = Bridge(alias_set={"name": "sales", "targets": ["bonnie", "clyde"], "replaced": False},
                        alias_list={"aliases": [{"name": "sales", "targets": ["bonnie", "clyde"]}]},
                        alias_remove={"name": "sales"})
        self.assertEqual("alias sales leads to bonnie, clyde",
                         self.run_command(alias.add, "alias add sales bonnie clyde", bridge)[1])
        self.assertEqual("sales: bonnie, clyde", self.run_command(alias.list_aliases, "alias list", bridge)[1])
        self.assertEqual("alias sales is removed", self.run_command(alias.remove, "alias remove sales", bridge)[1])
        self.assertEqual(("alias set", {"name": "sales", "targets": ["bonnie", "clyde"]}), bridge.asked[0])

    def test_route(self) -> None:
        """The steps are printed; the exit code says whether the recipient would be taken."""
        for accepted, code in ((True, 0), (False, 1)):
            bridge = Bridge(route={"accepted": accepted, "lines": ["1. local: x", "answer: y"]})
            told = self.run_command(route.route, "route <> x@y --client 10.0.0.1 --user bonnie", bridge)
            self.assertEqual((code, "1. local: x\nanswer: y", ""), told)
            expected = {"from": "<>", "to": "x@y", "client": "10.0.0.1",
                        "user": "bonnie"}
            self.assertEqual([("route", expected)], bridge.asked)

    def test_status(self) -> None:
        """One summary line, then details; the exit code is that of a Nagios plug-in."""
        sessions = {"smtp": 2, "pop3": 1}
        well = Facts("1.0", "b.example.org", 42, 0.0, ("smtp[0] tcp:25",), sessions, 3, 1, 0, 2**31, 1, 50.0)
        args = parser().parse_args(["status"])
        args.json = False
        for facts, code, first in (
            (well, 0, "mailbridge OK: 3 sessions, 3 users, 2.0 GiB free"),
            (Facts("1.0", "b", 42, 0.0, ("x",), users=0), 1, "mailbridge WARNING: there are no users yet"),
            (Facts("1.0", "b", 42, 0.0, ("x",), users=1, certificate_days=1.0), 2,
             "mailbridge CRITICAL: the certificate"),
        ):
            out = io.StringIO()
            with redirect_stdout(out):
                self.assertEqual(code, status.tell(args, record(facts, 93_600.0)))
            self.assertTrue(out.getvalue().startswith(first), out.getvalue())
            self.assertIn("process 42, up 1 d 2 h", out.getvalue())

    def test_durations(self) -> None:
        """Up time is told in the two units that matter."""
        for seconds, text in ((59.0, "0 min"), (3_900.0, "1 h 5 min"), (200_000.0, "2 d 7 h")):
            self.assertEqual(text, status.duration(seconds))
