"""The configuration as frozen values: what every key means, its default and its unit. No reading, no I/O.

Sizes are octets and times seconds here; the file may give them units. The loader is `config.load`.
"""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from mailbridge.limits import MIB, Limits


@frozen
class StoreSettings:
    """`[store]`: `url` names the data base in the state folder; below `min_free` octets new mail is answered 452."""

    url: str = "sqlite:mail.db"
    min_free: int = 64 * MIB


@frozen
class TLSSettings:
    """`[tls]`: files in PEM; `certificate` holds the chain, `key` the private key (never readable by others)."""

    certificate: Path
    key: Path


@frozen
class SMTPListener:
    """One `[[smtp]]`. `clients` are trusted without login; `bare_newlines = normalise` is for them and for logins only.

    `starttls` and `auth` are `offer`, `require` or `off`. `auth_in_clear` allows passwords without TLS from other than
    loopback. `add_headers` gives mail of trusted and logged-in clients a missing Date, Message-ID or From; `sender`
    rewrites their envelope sender and From.
    """

    listen: str
    tls: bool = False
    starttls: str = "offer"
    clients: tuple[str, ...] = ()
    bare_newlines: str = "refuse"
    auth: str = "offer"
    auth_in_clear: bool = False
    add_headers: bool = False
    sender: str | None = None


@frozen
class POP3Listener:
    """One `[[pop3]]`. `apop` offers APOP to users whose secret is kept."""

    listen: str
    tls: bool = False
    starttls: str = "offer"
    login_in_clear: bool = False
    apop: bool = False


@frozen
class UsersSettings:
    """`[users]`: the local domains, who reads postmaster's mail, what separates a tag (`name+tag`; empty: nothing)."""

    domains: tuple[str, ...] = ()
    postmaster: str | None = None
    tag_separator: str = "+"


@frozen
class RelaySettings:
    """One `[relay.NAME]`, a way out by SMTP.

    `servers` are `host`, `host:port` or `[address]:port`, tried in order, or `mx` alone for direct delivery. `tls` is
    opportunistic, require, implicit or off; `verify` None means: named servers yes, `mx` no. `ca` (PEM file), `pin`
    (SHA-256) and `identity` (PEM file with our certificate and key) say whom to believe and who we are. `user` with
    `password` (or `token`) logs in. `dedicatedsmtp` is fauSMTP's spelling of server and login: host, port, user,
    password. `use_from` chooses the server by the sender's domain (fauSMTP's usefromsmtp). `default` takes mail for
    other domains; None means: when it is the only one. `connections`, `messages_per_connection`, `idle` limit the pool
    for each destination; `timeout` ends an attempt; `lmtp` speaks LMTP.
    """

    servers: tuple[str, ...] = ()
    default: bool | None = None
    tls: str = "opportunistic"
    verify: bool | None = None
    ca: Path | None = None
    pin: str | None = None
    identity: Path | None = None
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    dedicatedsmtp: tuple[str, int, str, str] | None = field(default=None, repr=False)
    auth_in_clear: bool = False
    use_from: bool = False
    lmtp: bool = False
    client_name: str | None = None
    bind: str | None = None
    connections: int = 10
    messages_per_connection: int = 100
    idle: float = 30.0
    timeout: float = 1800.0


@frozen
class QueueSettings:
    """`[queue]`: first retry, its growth to a longest wait, when to give up, when to send a delay notice; seconds.

    `pause` is the time between trials of a paused route. At most `notices_per_minute` notices go out; they hold the
    message when it has at most `bounce_size` octets, else its header.
    """

    retry: float = 300.0
    longest_retry: float = 14400.0
    expire: float = 432000.0
    delay_notice: float = 14400.0
    pause: float = 600.0
    notices_per_minute: int = 60
    bounce_size: int = 64 * 1024


@frozen
class RouteRule:
    """One `[[route]]`: patterns (RE2, whole text, any case) and lists that must all match.

    `to` names a target or `refuse`; `reply` is the text of the refusal; `anyone` is DESIGN invariant 5's. `listener` is
    named as in messages, `smtp[0]` for the first. `routing.rules` gives them their meaning.
    """

    to: str
    recipient: str | None = None
    sender: str | None = None
    user: str | None = None
    clients: tuple[str, ...] = ()
    listener: str | None = None
    reply: str | None = None
    anyone: bool = False


@frozen(kw_only=True)
class Config:
    """The whole file. Paths inside are absolute. `source` is its own path, for messages, and no key of the file.

    `hostname` and, where `[users]` has none, its `domains` are this host's name by default.
    """

    hostname: str
    state: Path = Path("/var/lib/mailbridge")
    store: StoreSettings = field(factory=StoreSettings)
    tls: TLSSettings | None = None
    limits: Limits = field(factory=Limits)
    smtp: tuple[SMTPListener, ...] = ()
    pop3: tuple[POP3Listener, ...] = ()
    users: UsersSettings = field(factory=UsersSettings)
    route: tuple[RouteRule, ...] = ()
    relay: dict[str, RelaySettings] = field(factory=dict)
    queue: QueueSettings = field(factory=QueueSettings)
    source: str = ""
