"""What a dmail.conf asks of the fetcher: accounts with their logins, and times."""

from __future__ import annotations

from collections.abc import Sequence

from mailbridge.edge.upstream import Upstream
from mailbridge.fetch.account import Account
from mailbridge.fetch.dmailconf import DmailConf
from mailbridge.fetch.fetcher import Settings
from mailbridge.fetch.recipient import Addressing
from mailbridge.fetch.words import POP3, POP3S, PopUser
from mailbridge.pop3.upstream import UpstreamLogin


def accounts(conf: DmailConf, local: Sequence[str]) -> list[tuple[Account, UpstreamLogin]]:
    """Every `pf_user`. `local` are the domains that count as local where the file names none: the bridge's own.

    A line without tls= goes in clear, as it always did; the parser has warned of it.
    """
    domains = conf.domains or tuple(local)
    how = Addressing(header=conf.header, domain=conf.domain, local=frozenset(domains),
                     main=domains[0] if domains else None, caretaker=conf.caretaker)
    return [
        (Account(name=_name(each), user=each.user, upstream=Upstream(each.host, each.port, each.tls), addressing=how),
         UpstreamLogin(each.user, each.password, in_clear=each.tls == "off"))
        for each in conf.accounts
    ]


def _name(account: PopUser) -> str:
    usual = POP3S if account.tls == "implicit" else POP3
    return f"{account.user}@{account.host}" + (f":{account.port}" if account.port != usual else "")


def times(conf: DmailConf) -> Settings:
    """The times and the limit of duds. Raises ValueError without a ras_timer."""
    if conf.period is None:
        raise ValueError("ras_timer is not set")
    return Settings(period=conf.period, is_interval=conf.is_interval, wait=conf.wait, retry_delay=conf.retry_delay,
                    max_duds=conf.max_duds)
