"""What the fetcher of a configuration is: accounts with their logins, times, the way in, the connection, the log.

A plain value, so that a reload can tell whether anything has changed. It is made of `[[popfetch.account]]` and of a
dmail.conf, before which counts what `[popfetch]` itself says.
"""

from __future__ import annotations

from pathlib import Path

from attrs import evolve, frozen

from mailbridge.address import Address, parse_mailbox
from mailbridge.config.model import Config, FetchAccount, PopfetchSettings
from mailbridge.config.popfetch import account_name, account_port, account_tls
from mailbridge.config.rooms import pem
from mailbridge.config.servers import parse_server
from mailbridge.edge.clienttls import Trust
from mailbridge.edge.sending import Server
from mailbridge.edge.upstream import Upstream
from mailbridge.errors import StartError
from mailbridge.fetch import dmailaccounts
from mailbridge.fetch.account import Account
from mailbridge.fetch.dmailconf import DmailConf
from mailbridge.fetch.fetcher import Settings
from mailbridge.fetch.link import Hooks
from mailbridge.fetch.login import AccountLogin
from mailbridge.fetch.recipient import Addressing
from mailbridge.fetch.secret import Secret
from mailbridge.logs.plan import LogPlan

FOLDER, LOG = "popfetch", "popfetch.log"
_LETTERS = {"error": "E", "info": "EWI", "debug": "EWIT"}
_SMTP = 25


@frozen(kw_only=True)
class FetchPlan:
    """`server` takes the mail in place of the bridge; `etrn` is told for `domains` when the connection is up."""

    accounts: tuple[tuple[Account, AccountLogin], ...]
    settings: Settings
    hooks: Hooks
    folder: Path
    log: LogPlan
    hostname: str
    server: Server | None = None
    etrn: Server | None = None
    domains: tuple[str, ...] = ()
    waits_for_link: bool = False

    @property
    def verbose(self) -> bool:
        """Whether the log wants every line that is said to a server."""
        return "T" in self.log.file


def fetch_plan(config: Config) -> FetchPlan | None:
    """The plan of a configuration, None without `[popfetch]`. Raises StartError for certificates that are none."""
    settings = config.popfetch
    if settings is None:
        return None
    conf = settings.dmail_conf or DmailConf()
    local = config.users.domains
    accounts = [
        (_overridden(account, settings, local),
         AccountLogin(user=login.user, in_clear=login.in_clear, password=Secret(login.password)))
        for account, login in dmailaccounts.accounts(conf, local)
    ]
    accounts += [_account(f"popfetch.account[{index}]", each, settings, local)
                 for index, each in enumerate(settings.account)]
    work = settings.work_path or _below_file(config, conf.work_path) or config.state / FOLDER
    log = settings.log_path or _below_file(config, conf.log_path) or work
    level = settings.log_level or conf.log_level
    etrn = settings.etrn_server or (conf.smtp_ip if settings.dial else None)
    told = conf.dial if settings.dial_timeout is None else evolve(conf.dial, timeout=settings.dial_timeout)
    return FetchPlan(
        accounts=tuple(accounts),
        settings=_times(conf, settings),
        hooks=Hooks(settings.dial, settings.hangup, told),
        folder=work,
        log=LogPlan(log / LOG, _LETTERS[level]),
        hostname=conf.domains[0] if conf.domains and conf.domains[0].isascii() else config.hostname,
        server=_server(settings.smtp_server),
        etrn=_server(etrn),
        domains=conf.domains or local,
        waits_for_link=settings.wait_for_link,
    )


def _below_file(config: Config, path: str | None) -> Path | None:
    """A folder that a dmail.conf names."""
    return Path(config.source).absolute().parent / path if path is not None else None


def _server(text: str | None) -> Server | None:
    """An SMTP server that is nearly always on this host or the provider's: TLS if it can be had, from anybody."""
    if text is None:
        return None
    host, port = parse_server(text)
    return Server(host, port or _SMTP, "opportunistic", trust=Trust(verify=False))


def _times(conf: DmailConf, settings: PopfetchSettings) -> Settings:
    """Raises AssertionError without a timer, which the loader has asked for."""
    period = conf.period if settings.timer is None else settings.timer
    assert period is not None
    return Settings(
        period=period,
        is_interval=conf.is_interval if settings.isinterval is None else settings.isinterval,
        wait=conf.wait if settings.wait is None else settings.wait,
        retry_delay=conf.retry_delay if settings.retry_delay is None else settings.retry_delay,
        max_duds=conf.max_duds if settings.max_duds is None else settings.max_duds,
        parallel=settings.parallel,
    )


def _address(text: str | None, local: tuple[str, ...]) -> Address | None:
    """A bare name is of the main local domain."""
    if text is None:
        return None
    address = parse_mailbox(text.encode("utf-8"))
    return address if address.domain or not local else evolve(address, domain=local[0])


def _overridden(account: Account, settings: PopfetchSettings, local: tuple[str, ...]) -> Account:
    """An account of a dmail.conf, with what `[popfetch]` says of all."""
    how = account.addressing
    if settings.header is not None:
        how = evolve(how, header=settings.header)
    if settings.domain is not None:
        how = evolve(how, domain=settings.domain)
    if settings.caretaker is not None:
        how = evolve(how, caretaker=_address(settings.caretaker, local))
    return evolve(account, addressing=how)


def _account(
    place: str, account: FetchAccount, settings: PopfetchSettings, local: tuple[str, ...]
) -> tuple[Account, AccountLogin]:
    fixed = _address(account.deliver_to, local)
    only_from = frozenset(account.only_from) if account.only_from is not None else None
    return Account(
        name=account_name(account),
        user=account.user,
        upstream=Upstream(account.host.strip("[]"), account_port(account), account_tls(account),
                          _trust(place, account)),
        addressing=Addressing(
            header=account.header or settings.header, domain=account.domain or settings.domain,
            local=frozenset(local), main=local[0] if local else None, only_from=only_from, fixed=fixed,
            caretaker=_address(account.caretaker or settings.caretaker, local),
        ),
        keep=account.keep,
        delete_after=account.delete_after,
        size_limit=account.size_limit,
        interval=account.timer,
        expunge=account.expunge,
        may_relay=account.may_relay,
    ), AccountLogin(user=account.user, auth=account.auth, in_clear=account.auth_in_clear, password=account.password,
                    token=account.token)


def _trust(place: str, account: FetchAccount) -> Trust:
    try:
        return Trust(account.verify and account_tls(account) != "off",
                     pem(f"{place}.ca", account.ca) if account.ca is not None else None, account.pin)
    except ValueError as error:
        raise StartError(f"{place}: ca cannot be used: {error}") from None

