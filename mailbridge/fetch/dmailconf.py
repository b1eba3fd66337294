"""A dmail.conf as a frozen value: what its settings mean to the fetcher, and what is to be told about them.

The file is taken as it is. A setting that is known and has a bad value is an error, and its line is ignored; one that
is not known and looks like ours is a warning; those of other servers are left alone. Never raises for what a file says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from mailbridge.address import Address
from mailbridge.fetch import words
from mailbridge.fetch.conflines import Finding, Line, Lines, Read
from mailbridge.fetch.settings import ALIASES, OURS, SETTINGS, Form, Setting
from mailbridge.fetch.words import PopUser
from mailbridge.routing.names import fold_domain

DIAL_MINIMUM = 5
"""Minutes: the phone bill."""
MOST_ACCOUNTS = 10_000


@frozen
class Dial:
    """What a dial hook is told. `timeout` in seconds, None when the file does not say."""

    number: str | None = None
    entry: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    domain: str | None = None
    timeout: float | None = None

    @property
    def wanted(self) -> bool:
        """Whether the file asks for a dial-up connection."""
        return bool(self.number or self.entry)


@frozen(kw_only=True)
class DmailConf:
    """All settings with their defaults; times in seconds. `period` None: ras_timer is missing, so nothing can run.

    `header` is in lower case without colon, `domains` are host_domain and vdomain, the main one first.
    """

    accounts: tuple[PopUser, ...] = ()
    header: str | None = None
    domain: str | None = None
    caretaker: Address | None = None
    max_duds: int = 10
    is_interval: bool = False
    wait: float = 40.0
    retry_delay: float | None = None
    period: float | None = None
    dial: Dial = field(factory=Dial)
    smtp_ip: str | None = None
    work_path: str | None = None
    log_path: str | None = None
    log_level: str = "info"
    domains: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def usable(self) -> bool:
        """Whether there is anything to collect, and a time to do it."""
        return bool(self.accounts) and self.period is not None


def parse(path: str, read: Read) -> DmailConf:
    """Read `path` and what it includes through `read`. A file that cannot be read is a finding."""
    lines = Lines(path, read)
    reading = _Reading(lines)
    for line in lines:
        reading.take(line)
    return reading.result()


_READERS: dict[Form, Callable[[str], Any]] = {
    Form.ACCOUNT: words.pop_user, Form.ADDRESS: words.address, Form.BOOLEAN: words.boolean, Form.DOMAIN: words.domain,
    Form.DOMAINS: lambda text: [words.domain(word) for word in text.replace(",", " ").split()],
    Form.HEADER: words.header_name, Form.HOST: words.host, Form.TEXT: str,
}


class _Reading:
    """The values while the lines are read."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._tell = lines.tell
        self._values: dict[str, Any] = {}
        self._places: dict[str, str] = {}
        self._accounts: dict[tuple[str, str, int], PopUser] = {}
        self._domains: dict[str, list[str]] = {"host_domain": [], "vdomain": []}
        self._secrets: set[str] = set()

    def take(self, line: Line) -> None:
        """One line."""
        name = ALIASES.get(line.name, line.name)
        setting = SETTINGS.get(name)
        if setting is None:
            if name.startswith(OURS):
                self._tell(line.place, "warning", f"unknown setting {name[:60]}")
            return
        if setting.secret and line.value:
            self._secrets.add(line.place.rpartition(":")[0])
        before = self._places.get(name)
        try:
            self._read(setting, line)
        except ValueError as error:
            severity = "error" if setting.essential else "warning"
            self._tell(line.place, severity, f"{name} {error}; the line is ignored")
        else:
            if before is not None:
                self._tell(line.place, "warning", f"{name} was set at {before} already; this one counts")

    def _read(self, setting: Setting, line: Line) -> None:
        name = setting.name
        if setting.form is Form.ACCOUNT:
            self._account(words.pop_user(line.value), line.place)
        elif setting.repeats:
            # A virtual domain is followed by its address or prefix, which is of no use here.
            value = line.value.split()[0] if name == "vdomain" and line.value else line.value
            self._domains[name] += _READERS[setting.form](value)
        elif not line.value:
            self._values.pop(name, None)
            self._places[name] = line.place
            if setting.form is Form.BOOLEAN:
                self._tell(line.place, "warning", f"{name} has no value and counts as not set")
        else:
            self._values[name] = self._value(setting, line.value)
            self._places[name] = line.place

    @staticmethod
    def _value(setting: Setting, text: str) -> Any:
        if setting.form is Form.NUMBER:
            return words.number(text, setting.minimum)
        if setting.form is Form.LEVEL:
            if text.lower() not in ("error", "info", "debug"):
                raise ValueError("must be error, info or debug")
            return text.lower()
        return _READERS[setting.form](text)

    def _account(self, account: PopUser, place: str) -> None:
        key = account.user, account.host, account.port
        if key in self._accounts:
            self._tell(place, "error", "pf_user: this account was named before; the line is ignored")
            return
        if len(self._accounts) >= MOST_ACCOUNTS:
            raise ValueError(f"stands on more than {MOST_ACCOUNTS} lines")
        self._accounts[key] = account
        if account.in_clear:
            self._tell(place, "warning", f"the password for {account.host} goes over the network in clear; add "
                                         "tls=pop3s or tls=stls to the line if the server can do that")

    def _of(self, name: str) -> Any:
        return self._values.get(name, SETTINGS[name].default)

    def result(self) -> DmailConf:
        """All of it, with what only shows at the end."""
        of, path = self._of, self._lines.path
        for name in sorted(self._secrets):
            if self._lines.files[name].exposed:
                self._tell(name, "warning", "the file holds passwords and other users can read it: chmod 600")
        timeout = of("ras_timeout")
        dial = Dial(of("ras_number"), of("ras_entry"), of("ras_username"), of("ras_password"), of("ras_domain"),
                    timeout * 60.0 if timeout else None)
        if not self._accounts:
            self._tell(path, "error", "there is no pf_user line, so there is nothing to collect")
        timer = of("ras_timer")
        if timer is None:
            self._tell(path, "error", "ras_timer is not set: it says every how many minutes mail is collected")
        elif dial.wanted and timer < DIAL_MINIMUM:
            self._tell(self._places["ras_timer"], "warning",
                       f"ras_timer is taken as {DIAL_MINIMUM} minutes, the least when dialling")
            timer = DIAL_MINIMUM
        domains: dict[str, str] = {}
        for domain in self._domains["host_domain"] + self._domains["vdomain"]:
            domains.setdefault(fold_domain(domain), domain)
        return DmailConf(
            accounts=tuple(self._accounts.values()), header=of("pf_header"), domain=of("pf_domain"),
            caretaker=of("pf_dflt_address"), max_duds=of("pf_max_duds"), is_interval=of("pf_isinterval"),
            wait=float(of("pf_wait")), retry_delay=float(of("pf_retry_delay")) if of("pf_retry_delay") else None,
            period=timer * 60.0 if timer else None, dial=dial, smtp_ip=of("ras_smtpip"), work_path=of("work_path"),
            log_path=of("log_path") or of("work_path"), log_level=of("log_level"),
            domains=tuple(domains.values()), findings=tuple(self._lines.findings),
        )
