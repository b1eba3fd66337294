"""Readers of the values that only `[popfetch]` has, and its faults and warnings that no single key has.

A dmail.conf is read here too, when the configuration is: what its own parser finds are warnings, with file and line,
unless nothing could be collected. No text shows a secret.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from mailbridge.config.files import WINDOWS_PATH, file_reader, folder_fault, program_fault, program_reader
from mailbridge.config.model import Config, FetchAccount, PopfetchSettings
from mailbridge.config.readers import Faulty
from mailbridge.config.relays import trust_faults
from mailbridge.config.secrets import secret_text_reader
from mailbridge.config.units import shown
from mailbridge.errors import Fault
from mailbridge.fetch import words
from mailbridge.fetch.conffile import load as load_dmail_conf
from mailbridge.fetch.dmailconf import DmailConf
from mailbridge.fetch.fetcher import DIAL_MINIMUM
from mailbridge.fetch.secret import Secret
from mailbridge.pop3.upstream import APOP, AUTO

POP3S = 995
_FORMS = '"TEXT", { file = "PATH" }, { env = "NAME" } or { command = ["PROGRAM", "ARGUMENT"] }'
_XOAUTH2 = "xoauth2"
_OF_HEADER = ("header", "domain", "only_from")
_OF_DIAL = ("hangup", "dial_timeout", "wait_for_link", "etrn_server")

Structure = Callable[[Any, Any], Any]


def dmail_conf_reader(base: Path) -> Callable[[object], DmailConf]:
    """A reader of the path of a dmail.conf: its settings. One that names no mailbox is a fault."""
    path = file_reader(base)

    def read(value: object) -> DmailConf:
        conf = load_dmail_conf(str(path(value)))
        if not conf.accounts:
            found = [finding for finding in conf.findings if finding.severity == "error"]
            raise Faulty([("", f"{finding.place}: {finding.text}") for finding in found])
        return conf

    return read


def fetch_secret_reader(base: Path) -> Callable[[object], Secret]:
    """A reader of a password or token. Files and commands are tried at each login; both must be there already."""
    text, program = secret_text_reader(base), program_reader(base)

    def read(value: object) -> Secret:
        if isinstance(value, dict) and set(value) == {"command"}:
            command = program(value["command"])
            fault = program_fault(command)
            if fault:
                raise ValueError(fault)
            return Secret(command=command)
        if isinstance(value, dict) and set(value) == {"file"}:
            text(value)
            return Secret(file=base / value["file"])
        if isinstance(value, dict) and set(value) != {"env"}:
            raise ValueError(f"must be {_FORMS}")
        return Secret(text(value))

    return read


def header_name(value: object) -> str:
    """The name of a header, with or without its colon."""
    try:
        return words.header_name(value if isinstance(value, str) else "")
    except ValueError:
        raise ValueError(f'must be the name of a header such as "X-Envelope-To", got {shown(value)}') from None


# --- faults -----------------------------------------------------------------------------------------------------------


def popfetch_faults(document: Mapping[str, Any], structure: Structure) -> Iterator[Fault]:
    """Every fault of this kind in `document`, the file as TOML gives it; `structure(table, class)` reads a table."""
    table = document.get("popfetch")
    if not isinstance(table, dict):
        return
    settings: PopfetchSettings | None = _read(structure, {**table, "account": []}, PopfetchSettings)
    tables = table.get("account")
    accounts: dict[str, FetchAccount] = {}
    for index, each in enumerate(tables if isinstance(tables, list) else []):
        account: FetchAccount | None = _read(structure, each, FetchAccount)
        if account is not None:
            place = f"popfetch.account[{index}]"
            accounts[place] = account
            yield from _account(place, account, each)
    yield from _twice(accounts, settings.dmail_conf if settings is not None else None)
    if settings is not None:
        yield from _settings(settings, bool(tables))


def _read(structure: Structure, table: object, cls: type) -> Any:
    try:
        return structure(table, cls)
    except Exception:  # told by the readers of its keys already
        return None


def _settings(settings: PopfetchSettings, has_accounts: bool) -> Iterator[Fault]:
    conf = settings.dmail_conf
    if conf is None and not has_accounts:
        yield Fault("popfetch.account", "there is none; add a [[popfetch.account]], or name a dmail_conf")
    if settings.timer is None and (conf is None or conf.period is None):
        missing = " and dmail_conf has no ras_timer" if conf is not None else ""
        yield Fault("popfetch.timer", f'is missing{missing}; it says how often mail is collected, such as "5 min"')
    if not settings.dial:
        for key in _OF_DIAL:
            if getattr(settings, key):
                yield Fault(f"popfetch.{key}", "has no meaning without dial")
    for key in ("work_path", "log_path") if conf is not None else ():
        path = getattr(conf, key)
        if getattr(settings, key) is None and path is not None and WINDOWS_PATH.match(path):
            yield Fault(f"popfetch.{key}", f"{shown(path)} of dmail_conf is a path of Windows; set {key} here")
    if settings.log_path is not None:
        fault = folder_fault(settings.log_path)
        if fault:
            yield Fault("popfetch.log_path", fault)


def _account(place: str, account: FetchAccount, table: Mapping[str, Any]) -> Iterator[Fault]:
    if account.password is None and account.token is None:
        yield Fault(f"{place}.password", "is missing; give a password, or a token for XOAUTH2")
    elif account.password is not None and account.token is not None:
        yield Fault(f"{place}.token", "takes the place of a password; leave one of them out")
    elif account.token is not None and account.auth not in (AUTO, _XOAUTH2):
        yield Fault(f"{place}.auth", f'needs a password; a token goes with "{_XOAUTH2}"')
    elif account.password is not None and account.auth == _XOAUTH2:
        yield Fault(f"{place}.auth", "needs a token in place of the password")
    off = account.tls == "off"
    if off and not account.auth_in_clear and not _is_loopback(account.host) and account.auth != APOP:
        yield Fault(f"{place}.tls", 'shows the password to the network when it is "off"; set auth_in_clear = true to '
                                    "allow that")
    yield from trust_faults(place, table)
    if account.delete_after is not None and not account.keep:
        yield Fault(f"{place}.delete_after", "is for mail that is kept; set keep = true, or leave it out")
    if account.deliver_to is not None:
        for key in _OF_HEADER:
            if getattr(account, key) is not None:
                yield Fault(f"{place}.{key}", "has no meaning with deliver_to, which takes all mail")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def account_name(account: FetchAccount) -> str:
    """What an account is called in commands and logs."""
    return account.name or f"{account.user}@{account.host.strip('[]')}"


def account_tls(account: FetchAccount) -> str:
    """How it is encrypted."""
    return account.tls or ("implicit" if account.port == POP3S else "require")


def account_port(account: FetchAccount) -> int:
    """Its port."""
    return account.port or (POP3S if account.tls == "implicit" else words.POP3)


def _twice(accounts: Mapping[str, FetchAccount], conf: DmailConf | None) -> Iterator[Fault]:
    """No mailbox is collected twice, and no two accounts have one name."""
    boxes: dict[object, str] = {}
    names: dict[str, str] = {}
    for each in conf.accounts if conf is not None else ():
        boxes[each.user, each.host, each.port] = "dmail_conf"
    for place, account in accounts.items():
        box = account.user, account.host.strip("[]"), account_port(account)
        if box in boxes:
            yield Fault(f"{place}.user", f"is the mailbox of {boxes[box]} too; it would be collected twice")
        elif account_name(account) in names:
            yield Fault(f"{place}.name", f"is the name of {names[account_name(account)]} too; give it another")
        boxes.setdefault(box, place)
        names.setdefault(account_name(account), place)


# --- warnings ---------------------------------------------------------------------------------------------------------


def popfetch_warnings(config: Config) -> Iterator[str]:
    """What `[popfetch]` may say but hardly means, and all that its dmail.conf made its parser say."""
    settings = config.popfetch
    if settings is None:
        return
    conf = settings.dmail_conf
    if conf is not None:
        yield from (f"popfetch.dmail_conf: {finding}" for finding in conf.findings)
        if conf.dial.wanted and not settings.dial:
            yield ("popfetch.dial: dmail_conf asks for a dial-up connection, and there is no command that makes one: "
                   "mail is collected without it")
    for key, command in (("dial", settings.dial), ("hangup", settings.hangup)):
        fault = program_fault(command) if command else None
        if fault:
            yield f"popfetch.{key}: {fault}"
    for place, timer in _timers(settings):
        if settings.dial and timer < DIAL_MINIMUM:
            yield f"{place}: is taken as 5 minutes, the least when dialling"
    for index, account in enumerate(settings.account):
        place = f"popfetch.account[{index}]"
        if account_tls(account) in ("off", "opportunistic") and account.auth_in_clear:
            yield f"{place}.auth_in_clear: the password may pass over the network in clear"
        if not account.verify and account_tls(account) != "off":
            yield f"{place}.verify: nobody makes sure that the server is the one that is meant"
        if account.may_relay:
            yield f"{place}.may_relay: who writes to this mailbox may have mail sent on through the relays"


def _timers(settings: PopfetchSettings) -> Iterator[tuple[str, float]]:
    if settings.timer is not None:
        yield "popfetch.timer", settings.timer
    for index, account in enumerate(settings.account):
        if account.timer is not None:
            yield f"popfetch.account[{index}].timer", account.timer
