"""`mailbridge demo`: a whole bridge on free ports of this machine, for a look at it.

It is the real service with a configuration of its own in a new folder; the folder goes when the demo ends. Only
programs on this machine can connect.
"""

from __future__ import annotations

import argparse
import json
import secrets
import shutil
import ssl
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from mailbridge import certificate
from mailbridge.accounts.passwords import make_credentials
from mailbridge.cli.exchange import Person, Ways, exchange
from mailbridge.cli.mail_program import settings
from mailbridge.cli.options import Subparsers, warn
from mailbridge.cli.snippets import as_fields
from mailbridge.config.model import Config, POP3Listener, SMTPListener, TLSSettings, UsersSettings
from mailbridge.service import Bridge
from mailbridge.store.changes import AddUser

DOMAIN = "demo.example"
HOST = "localhost"
FREE_PORT = "tcp:0:interface=127.0.0.1"


def make_person(name: str) -> Person:
    """Someone with a new password."""
    return Person(name, f"{name}@{DOMAIN}", secrets.token_hex(5))


class Demo:
    """One bridge in a folder of its own. `say` is given each line; `on_death(Failure)` as the bridge's."""

    def __init__(
        self, folder: Path, reactor: Any, say: Callable[[str], object], on_death: Callable[[Failure], object]
    ) -> None:
        self.people = (make_person("bonnie"), make_person("harold"))
        self._reactor = reactor
        self._say = say
        tls = TLSSettings(folder / "cert.pem", folder / "key.pem")
        pair = certificate.make((HOST, "127.0.0.1"), 1, reactor.seconds())
        certificate.write(pair, tls.certificate, tls.key)
        self._trusted = pair.certificate.decode("ascii")
        config = Config(
            source="demo",
            hostname=HOST,
            state=folder / "state",
            tls=tls,
            smtp=(SMTPListener(FREE_PORT),),
            pop3=(POP3Listener(FREE_PORT),),
            users=UsersSettings(domains=(DOMAIN,), postmaster="harold"),
        )
        self.bridge = Bridge(config, reactor, on_death)

    @property
    def config(self) -> Config:
        """The configuration with the ports that were free."""
        smtp, pop3 = (f"tcp:{port}:interface=127.0.0.1" for port in self._ports())
        return evolve(self.bridge.config, smtp=(SMTPListener(smtp),), pop3=(POP3Listener(pop3),))

    def _ports(self) -> list[int]:
        found = []
        for listener in self.bridge.listeners.all:
            if listener.port is None:
                raise RuntimeError(f"{listener.place} does not listen yet")
            host: Any = listener.port.getHost()
            found.append(host.port)
        return found

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Start the bridge, make the users, and show one message going through. Errors: StartError, or a client's."""
        self.bridge.startService()
        smtp, pop3 = self._ports()
        pool = self._reactor.getThreadPool()
        for person in self.people:
            credentials = yield deferToThreadPool(self._reactor, pool, make_credentials, person.password)
            yield self.bridge.store.commit(AddUser(person.name, credentials, created=self._reactor.seconds()))
        # The bridge reads them again by itself, a moment later; the exchange does not wait.
        self.bridge.directory.replace((yield self.bridge.store.people()))
        trust = ssl.create_default_context(cadata=self._trusted)
        ways = Ways(HOST, smtp, pop3, trust)
        yield deferToThreadPool(self._reactor, pool, exchange, ways, *self.people, self._tell)

    def _tell(self, line: str) -> None:
        """Say a line from the thread of the exchange."""
        self._reactor.callFromThread(self._say, line)

    def stop(self) -> Deferred[Any]:
        """End the bridge, if it came up."""
        return self.bridge.stopService() if self.bridge.running else succeed(None)

    def as_text(self) -> str:
        """What to type into a mail program, passwords too: these users live as long as the demo."""
        bonnie, harold = self.people
        told = settings(self.config, bonnie.name, certificate.describe(self._trusted.encode("ascii")))
        other = f"Or user {harold.name}, password {harold.password}, for {harold.address}."
        return f"{as_fields(told, bonnie.password)}\n\n{other}"

    def as_json(self) -> str:
        """The same for programs."""
        smtp, pop3 = self._ports()
        return json.dumps(
            {
                "host": HOST,
                "smtp": smtp,
                "pop3": pop3,
                "certificate": self._trusted,
                "users": {person.address: person.password for person in self.people},
            }
        )


def run(args: argparse.Namespace) -> int:
    """Run until Ctrl-C or SIGTERM, or the end of the exchange with `--once`: 0, or 1 when it failed.

    With `--json` it prints ports, users and passwords as one line, and no steps.
    """
    from twisted.internet import reactor

    loop: Any = reactor
    ended: list[int] = []
    folder = Path(tempfile.mkdtemp(prefix="mailbridge-demo-"))

    def end(status: int) -> None:
        if not ended:
            ended.append(status)
            loop.stop()

    def say(line: str) -> None:
        try:
            if not ended:
                print(line, flush=True)
        except BrokenPipeError:
            end(1)  # whoever read us has gone

    def step(line: str) -> None:
        if not args.json:
            say(line)

    def failed(failure: Failure) -> None:
        if not ended:
            warn(f"demo: {failure.getErrorMessage()}")
        end(1)

    def shown(_: object) -> None:
        say(demo.as_json() if args.json else f"\n{demo.as_text()}\n")
        if args.once:
            end(0)
        else:
            step("The bridge stays up for your own mail program. Ctrl-C ends it and removes everything.")

    def stop() -> Deferred[Any]:
        ended.append(0)  # what fails from now on fails because of the end
        return demo.stop()

    try:
        demo = Demo(folder, loop, step, failed)
        loop.addSystemEventTrigger("before", "shutdown", stop)
        loop.callWhenRunning(lambda: demo.start().addCallback(shown).addErrback(failed))
        loop.run()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return ended[0]


def add_to(subparsers: Subparsers) -> None:
    """Add `demo` to the command line."""
    parser = subparsers.add_parser("demo", help="run a bridge for a look at it: one message in by SMTP, out by POP3")
    parser.add_argument("--once", action="store_true", help="end after the message has arrived")
    parser.set_defaults(run=run)
