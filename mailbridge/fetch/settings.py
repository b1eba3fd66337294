"""Every setting of a dmail.conf that the fetcher knows: its default, its limits, its unit and where it is read.

This table is what the parser goes by and what the documentation prints. Settings of the other DMail servers are not
here; they are left alone. The facts are those of NetWin's page on POPFetch.
"""

from __future__ import annotations

from enum import Enum

from attrs import frozen


class Form(Enum):
    """How a value is written."""

    ACCOUNT = "user password host"
    ADDRESS = "one address"
    BOOLEAN = "true or false"
    DOMAIN = "one domain"
    DOMAINS = "one domain, or several with commas"
    HEADER = "the name of a header"
    HOST = "a host or an address"
    LEVEL = "error, info or debug"
    NUMBER = "a number"
    TEXT = "text"


@frozen
class Setting:
    """One setting. `default` None is "not set"; `minimum` and `unit` are of numbers; `used` says what obeys it.

    A `repeats` setting may stand on many lines, any other counts where it stands last. `secret` values are never shown.
    `essential` False: a bad value is a warning only, because the fetcher works without it.
    """

    name: str
    form: Form
    used: str
    default: str | int | bool | None = None
    minimum: int | None = None
    unit: str = ""
    repeats: bool = False
    secret: bool = False
    essential: bool = True


_ALL = (
    Setting("pf_user", Form.ACCOUNT, "one POP account to collect; extra words port= and tls= are ours", repeats=True,
            secret=True),
    Setting("pf_header", Form.HEADER, "recipient: the first header that is looked at"),
    Setting("pf_domain", Form.DOMAIN, "recipient: takes the place of the domain of every recipient"),
    Setting("pf_dflt_address", Form.ADDRESS, "notice: the caretaker, who gets what nobody else does"),
    Setting("pf_max_duds", Form.NUMBER, "cycle: so many duds in a row stop the fetcher", 10, 1, "messages"),
    Setting("pf_isinterval", Form.BOOLEAN, "fetcher: ras_timer counts from the end of a cycle, not from its start",
            False),
    Setting("pf_wait", Form.NUMBER, "cycle: before the second try when no server can be reached", 40, 0, "seconds"),
    Setting("pf_retry_delay", Form.NUMBER, "fetcher: an extra wake so long after a failure; 0 or not set: none; never "
            "when dialling", None, 0, "seconds"),
    Setting("ras_timer", Form.NUMBER, "fetcher: how often a cycle runs; at least 5 when dialling", None, 1, "minutes"),
    Setting("ras_number", Form.TEXT, "dial: what the dial hook is to call; makes ras_timer at least 5"),
    Setting("ras_entry", Form.TEXT, "dial: the phone-book entry for the dial hook; makes ras_timer at least 5"),
    Setting("ras_username", Form.TEXT, "dial: the login for the dial hook"),
    Setting("ras_password", Form.TEXT, "dial: the password for the dial hook", secret=True),
    Setting("ras_domain", Form.TEXT, "dial: the NT logon domain for the dial hook"),
    Setting("ras_smtpip", Form.HOST, "link up: the server that is sent ETRN for each local domain", essential=False),
    Setting("ras_timeout", Form.NUMBER, "dial: how long the dial hook may take", None, 1, "minutes", essential=False),
    Setting("work_path", Form.TEXT, "spool: the folder of msg.dat and duds.dat"),
    Setting("log_path", Form.TEXT, "log: the folder of popfetch.log; work_path by default"),
    Setting("log_level", Form.LEVEL, "log: what popfetch.log is told", "info"),
    Setting("host_domain", Form.DOMAINS, "recipient: local domains, the first is the main one; ETRN", repeats=True),
    Setting("vdomain", Form.DOMAINS, "recipient: further local domains; ETRN", repeats=True),
)

SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _ALL}
"""By name, in lower case."""

ALIASES = {"max_duds": "pf_max_duds"}
"""The page writes this one in two ways."""

OURS = ("pf_", "ras_")
"""A name that begins so and is not in the table gets a warning; any other belongs to another server."""

MOST = 9_999_999
"""The largest number that is taken."""
