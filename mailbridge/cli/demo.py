"""`mailbridge demo`: two whole bridges on free ports of this machine, each with an OCE and a tribe, for a look at them.

They are the real service with configurations of their own in a new folder; the folder goes when the demo ends. Only
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

from twisted.internet.defer import Deferred, DeferredList, inlineCallbacks
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from mailbridge import certificate
from mailbridge.cli.exchange import Person, Ways, between_tribes, exchange
from mailbridge.cli.household import HOST, Household, free_port
from mailbridge.cli.mail_program import settings
from mailbridge.cli.options import Subparsers, warn
from mailbridge.cli.snippets import as_fields
from mailbridge.config.model import TLSSettings, TribeSettings

DOMAIN = "demo.example"
HOME, FRIENDS = "home", "friends"


def make_person(name: str, domain: str = DOMAIN) -> Person:
    """Someone with a new password."""
    return Person(name, f"{name}@{domain}", secrets.token_hex(5))


class Demo:
    """Two tribes in a folder. `say` is given each line; `on_death(Failure)` as a bridge's."""

    def __init__(
        self, folder: Path, reactor: Any, say: Callable[[str], object], on_death: Callable[[Failure], object]
    ) -> None:
        self.people = bonnie, harold, edgar = (
            make_person("bonnie"), make_person("harold"), make_person("edgar", f"{FRIENDS}.example"))
        self._reactor = reactor
        self._say = say
        tls = TLSSettings(folder / "cert.pem", folder / "key.pem")
        pair = certificate.make((HOST, "127.0.0.1"), 1, reactor.seconds())
        certificate.write(pair, tls.certificate, tls.key)
        self._trusted = pair.certificate.decode("ascii")
        pin = certificate.describe(pair.certificate).fingerprint.replace(":", "").lower()
        secret = secrets.token_hex(16)
        ports = {name: free_port() for name in (HOME, FRIENDS)}
        keys = {name: secrets.token_hex(12).upper() for name in (HOME, FRIENDS)}

        def household(name: str, other: str, domain: str, *people: Person) -> Household:
            there = TribeSettings(keys[other], f"https://{HOST}:{ports[other]}/", secret, pin=pin)
            return Household(folder, name, domain, people, ports[name], keys[name], tls, {other: there}, reactor,
                             on_death)

        self.home = household(HOME, FRIENDS, DOMAIN, bonnie, harold)
        self.friends = household(FRIENDS, HOME, f"{FRIENDS}.example", edgar)

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Start the bridges, and show messages going through. Errors: StartError, or a client's."""
        yield self.home.start()
        yield self.friends.start()
        bonnie, harold, edgar = self.people
        trust = ssl.create_default_context(cadata=self._trusted)
        home, friends = (Ways(HOST, *each.ports, trust) for each in (self.home, self.friends))
        pool = self._reactor.getThreadPool()
        yield deferToThreadPool(self._reactor, pool, exchange, home, bonnie, harold, self._tell)
        yield deferToThreadPool(
            self._reactor, pool, between_tribes, (home, friends), (HOME, FRIENDS), bonnie, harold, edgar, self._tell)

    def _tell(self, line: str) -> None:
        """Say a line from the thread of the exchange."""
        self._reactor.callFromThread(self._say, line)

    def stop(self) -> Deferred[Any]:
        """End the bridges, those that came up."""
        return DeferredList([self.home.stop(), self.friends.stop()])

    def as_text(self) -> str:
        """What to type into a mail program, passwords too: these users live as long as the demo."""
        bonnie, harold, edgar = self.people
        told = settings(self.home.config, bonnie.name, certificate.describe(self._trusted.encode("ascii")))
        smtp, pop3 = self.friends.ports
        return "\n".join((
            as_fields(told, bonnie.password), "",
            f"Or user {harold.name}, password {harold.password}, for {harold.address}.",
            f"Here they are {bonnie.name}@oce and {harold.name}@oce too, and write to {edgar.name}@{FRIENDS}.oce.",
            f"{edgar.name} is at the other bridge: SMTP port {smtp}, POP3 port {pop3}, password {edgar.password}. "
            f"He writes to {bonnie.name}@{HOME}.oce.",
        ))

    def as_json(self) -> str:
        """The same for programs."""
        smtp, pop3 = self.home.ports
        friends_smtp, friends_pop3 = self.friends.ports
        return json.dumps(
            {
                "host": HOST,
                "smtp": smtp,
                "pop3": pop3,
                "certificate": self._trusted,
                "users": _logins(self.home),
                "friends": {"smtp": friends_smtp, "pop3": friends_pop3, "users": _logins(self.friends)},
            }
        )


def _logins(household: Household) -> dict[str, str]:
    return {person.address: person.password for person in household.people}


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
            step("The bridges stay up for your own mail program. Ctrl-C ends it and removes everything.")

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
    parser = subparsers.add_parser("demo", help="run two bridges for a look at them: SMTP in, OCEs between, POP3 out")
    parser.add_argument("--once", action="store_true", help="end after the messages have arrived")
    parser.set_defaults(run=run)
