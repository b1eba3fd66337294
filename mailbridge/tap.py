"""`twist mailbridge --config FILE`: options, and the bridge as a service of a process of its own.

A wrong configuration ends with exit 64, a start that fails with exit 78, a dead store with 70; each with one line and
no traceback. SIGHUP reads the configuration again and never ends the process.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python import usage
from twisted.python.failure import Failure

from mailbridge.config.find import NAME, SYSTEM, VARIABLE, find_config
from mailbridge.config.load import load
from mailbridge.config.model import Config
from mailbridge.config.warnings import warnings
from mailbridge.errors import ConfigError, StartError
from mailbridge.service import Bridge

OnDeath = Callable[[Failure], object]
EX_SOFTWARE = 70
EX_CONFIG = 78
LAST_WORDS_SECONDS = 1.0
MOST_DESCRIPTORS = 65_536
COLLECTOR_THRESHOLDS = (20_000, 20, 20)


class Options(usage.Options):
    """The options behind `twist mailbridge`."""

    longdesc = "A mail bridge: SMTP in, POP3 out, one durable store between them."
    optParameters = (
        ["config", "c", None, f"the configuration (else ${VARIABLE}, ./{NAME}, {SYSTEM})"],
    )
    loaded: Config

    def postOptions(self) -> None:
        """Load the configuration. Raises UsageError with every fault of it."""
        given = self["config"]
        try:
            self.loaded = load(find_config(given, os.environ, Path.cwd()))
        except (ConfigError, StartError) as error:
            raise usage.UsageError(str(error)) from None


class Work(Protocol):
    """What a process is for: a bridge (`service.Bridge`), or an OCE alone (`ocealone.OCEAlone`)."""

    def startService(self) -> None:
        """Open everything. Raises StartError."""

    def stopService(self) -> Deferred[Any]:
        """Finish what is under way, and close everything."""

    def reload(self) -> list[str]:
        """Read the configuration again; notes on it. Raises ConfigError or StartError."""


class Daemon(Service):
    """The signals and the exit codes of one process. `make(on_death)` gives its work, and may raise StartError."""

    _log = Logger()

    def __init__(self, config: Config, reactor: Any, make: Callable[[OnDeath], Work]) -> None:
        self._config = config
        self._reactor = reactor
        self._make = make

    def startService(self) -> None:
        """Start the work. Raises SystemExit(78) after one line on stderr."""
        for warning in warnings(self._config):
            self._log.warn("{warning}", warning=warning)
        try:
            self._work = self._make(self._store_died)
            self._work.startService()
        except StartError as error:
            print(f"mailbridge: {error}", file=sys.stderr, flush=True)
            raise SystemExit(EX_CONFIG) from None
        _tune_collector()
        _raise_descriptor_limit()
        signal.signal(signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._hang_up))
        Service.startService(self)

    def stopService(self) -> Deferred[Any]:
        """Stop the work."""
        Service.stopService(self)
        return self._work.stopService()

    def _hang_up(self) -> None:
        try:
            notes = self._work.reload()
        except (ConfigError, StartError) as error:
            self._log.error("the configuration was not taken, the old one stays: {error}", error=error)
        else:
            self._log.info("configuration read again{notes}", notes="".join(f"; {note}" for note in notes))

    def _store_died(self, failure: Failure) -> None:
        """Nothing can be accepted any more: let the last replies go out, then end, to be started anew."""
        self._log.failure("the store's writer died; this process ends", failure)
        self._reactor.callLater(LAST_WORDS_SECONDS, os._exit, EX_SOFTWARE)


def _tune_collector() -> None:
    """Look for reference cycles less often, and never again through what the start has made.

    Messages make many objects and no cycles; the stock thresholds cost 5 % of a message.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def _raise_descriptor_limit() -> None:
    """As many open files as the system lets this user have: 1,000 sessions and the relays need more than 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def makeService(options: Options) -> IService:
    """The service that `twist` runs."""
    from twisted.internet import reactor

    config = options.loaded
    daemon: IService = Daemon(config, reactor, lambda on_death: Bridge(config, reactor, on_death))
    return daemon
