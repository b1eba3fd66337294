"""One bridge of the demo: the real service in a folder of its own, with a tribe of its own, on ports of loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, inlineCallbacks, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from mailbridge.accounts.passwords import make_credentials
from mailbridge.cli.exchange import Person
from mailbridge.config.model import (
    Config,
    OCESettings,
    POP3Listener,
    SMTPListener,
    TLSSettings,
    TribeSettings,
    UsersSettings,
)
from mailbridge.service import Bridge
from mailbridge.store.changes import AddUser

HOST = "localhost"
FREE = "tcp:0:interface=127.0.0.1"


def free_port() -> int:
    """A port nobody uses now: two tribes must know each other's before either is there."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Household:
    """A bridge with its members. `name` is that of its tribe, `port` that of its OCE, `key` the OCE's address.

    `knows` has the other tribes by name; `on_death(Failure)` is the bridge's.
    """

    def __init__(self, folder: Path, name: str, domain: str, people: tuple[Person, ...], port: int, key: str,
                 tls: TLSSettings, knows: dict[str, TribeSettings], reactor: Any,
                 on_death: Callable[[Failure], object]) -> None:
        self.people = people
        self._reactor = reactor
        self.bridge = Bridge(Config(
            source="demo",
            hostname=HOST,
            state=folder / name,
            tls=tls,
            smtp=(SMTPListener(FREE),),
            pop3=(POP3Listener(FREE),),
            users=UsersSettings(domains=(domain,), postmaster=people[-1].name),
            oce=OCESettings(embedded=True, name=name, key=key, listen=f"tcp:{port}:interface=127.0.0.1", tls=True,
                            tribes=knows),
        ), reactor, on_death)

    @inlineCallbacks
    def start(self) -> Generator[Deferred[Any], Any, None]:
        """Start the bridge and make its users. Raises StartError."""
        self.bridge.startService()
        pool = self._reactor.getThreadPool()
        for person in self.people:
            credentials = yield deferToThreadPool(self._reactor, pool, make_credentials, person.password)
            yield self.bridge.store.commit(AddUser(person.name, credentials, created=self._reactor.seconds()))
        # The bridge reads them again by itself, a moment later; nobody is to wait.
        self.bridge.directory.replace((yield self.bridge.store.people()))

    def stop(self) -> Deferred[Any]:
        """End the bridge, if it came up."""
        return self.bridge.stopService() if self.bridge.running else succeed(None)

    @property
    def ports(self) -> tuple[int, int]:
        """Of SMTP and POP3."""
        found = []
        for listener in self.bridge.listeners.all:
            if listener.port is None:
                raise RuntimeError(f"{listener.place} does not listen yet")
            host: Any = listener.port.getHost()
            found.append(host.port)
        return found[0], found[1]

    @property
    def config(self) -> Config:
        """The configuration with the ports that were free."""
        smtp, pop3 = (f"tcp:{port}:interface=127.0.0.1" for port in self.ports)
        return evolve(self.bridge.config, smtp=(SMTPListener(smtp),), pop3=(POP3Listener(pop3),))
