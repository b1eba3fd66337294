"""`twist mailbridge-oce --config FILE`: the embedded OCE alone, as a service of a process of its own.

The file is that of a bridge; of it count `[oce]`, `[tls]`, `[users]`, `[queue]`, `[store]`, `state` and `hostname`.
Signals and exit codes are those of `twist mailbridge`, but SIGHUP changes nothing.
"""

from __future__ import annotations

from twisted.application.service import IService
from twisted.python import usage

from mailbridge import certificate, tap
from mailbridge.config import rooms, tribal
from mailbridge.config.model import Config
from mailbridge.edge.transport import CurrentTLS
from mailbridge.oce.embedded.house import OCEPlan, TribePlan
from mailbridge.oce.embedded.site import AskingTLS
from mailbridge.ocealone import AlonePlan, OCEAlone


class Options(tap.Options):
    """The options behind `twist mailbridge-oce`."""

    longdesc = "An OCE: applications and other tribes hand in messages, and fetch theirs."

    def postOptions(self) -> None:
        """Load the configuration. Raises UsageError with every fault of it."""
        super().postOptions()
        if self.loaded.oce is None or not self.loaded.oce.embedded:
            raise usage.UsageError("oce.embedded: must be true; [oce] says what the OCE of this process is to be")


def plan(config: Config) -> AlonePlan:
    """What the process is to be. Raises StartError for certificates that cannot be read."""
    oce = config.oce
    assert oce is not None
    settings = tribal.embedded_settings(oce)
    places = tribal.places(oce)
    tls = None
    if oce.tls and config.tls is not None:
        tls = AskingTLS(CurrentTLS(certificate.load_context(config.tls.certificate, config.tls.key)))
    house = OCEPlan(oce.listen, settings, tuple(TribePlan(tribe, places[tribe.name]) for tribe in settings.tribes),
                    tls, oce.key, rooms.schedule(config))
    return AlonePlan(house, config.state, config.hostname, config.store.url.removeprefix("sqlite:"),
                     config.store.min_free, config.users.domains)


def makeService(options: Options) -> IService:
    """The service that `twist` runs."""
    from twisted.internet import reactor

    config = options.loaded
    daemon: IService = tap.Daemon(config, reactor, lambda on_death: OCEAlone(plan(config), reactor, on_death))
    return daemon
