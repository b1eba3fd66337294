"""The configuration as frozen values: what every key means, its default and its unit. No reading, no I/O.

Sizes are octets and times seconds here; the file may give them units. The loader is `config.load`.
"""

from __future__ import annotations

from pathlib import Path

from attrs import field, frozen

from mailbridge.application.tags import TagData
from mailbridge.config.oce_tables import OCESettings as OCESettings
from mailbridge.config.oce_tables import TribeSettings as TribeSettings
from mailbridge.fetch.dmailconf import DmailConf
from mailbridge.fetch.secret import Secret
from mailbridge.limits import KIB, MIB, Limits


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
    rewrites their envelope sender and From. `strangers = refuse` is for listed clients and logins alone.
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
    strangers: str = "greet"


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
class ApplicationSettings:
    """One `[application.NAME]`: whose mail becomes jobs for another program, and what is written for it.

    The first group of keys has the names and meanings of the historic receiver; the second is ours. Patterns are RE2
    and match the whole text. `nonstandard_data_terminator` is the line without its line ends. `from_enabled` None lets
    all senders, `()` none. Jobs are files in `output_folder`, or go to `command`, a program by its whole path with its
    arguments. `expiry` None is the queue's own; times are seconds, sizes octets; `output_code_page` None is that of
    `[receiver]`.
    """

    ctl_type: str
    enabled: bool = True
    output_folder: Path | None = None
    format_preference: tuple[str, ...] = ("txt",)
    cmd_tags: str = ""
    nonstandard_data_terminator: bytes | None = None
    terminator_clients: tuple[str, ...] = ()
    process_attachments: bool = False
    process_anonymous: bool = False
    process_att_msg: bool = False
    clients: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    from_enabled: tuple[str, ...] | None = None
    from_disabled: tuple[str, ...] = ()
    ctl_settings: dict[str, str] = field(factory=dict)
    transform: dict[str, str] = field(factory=dict)

    ctl_layout: dict[str, str] = field(factory=dict)
    ctl_suffix: str = ".CTL"
    ctl_settings_lock: bool = False
    cmd_error: str = "ignore"
    output_code_page: str | None = None
    ini_semicolon: str = "keep"
    use_mail_priority: bool = False
    attachment_types: tuple[str, ...] = ()
    attachment_count: int = 20
    attachment_size: int = 10 * MIB
    attachment_total: int = 25 * MIB
    text_size: int = 64 * KIB
    command: tuple[str, ...] = ()
    command_timeout: float = 60.0
    expiry: float | None = None
    daily_limit: int | None = None
    allowed_numbers: str | None = None
    normalize: bool = False
    state_prefix: str = "420"
    national_prefix: str = "0"
    pickup: float | None = None
    accounting: Path | None = None

    @property
    def needs_number(self) -> bool:
        """Whether a job without a number has no meaning."""
        return self.ctl_type != "json"


@frozen(kw_only=True)
class ReceiverSettings:
    """`[receiver]`: what all applications share, and a listener of its own when there is an address or a port for it.

    `clients` may use the applications that have no list of their own. `thread_num` clients at a time (None: as many as
    `[limits]` lets), `socket_timeout` seconds of silence (None: as `[limits]` says). `id_allocated` is the last number
    that was given to a job. `authentication_lib` names a credentials checker, `package.module.NAME`; `auth_in_clear`
    takes passwords without TLS. Log levels are letters of EWIT. `forward_smtp_server` becomes the default relay
    `forward`.
    """

    smtp_ip_address: str | None = None
    smtp_port: int | None = None
    clients: tuple[str, ...] = ()
    authentication_lib: str | None = None
    auth_in_clear: bool = False
    thread_num: int | None = None
    thread_priority: int = 0
    socket_timeout: float | None = None
    id_allocated: int = 0
    forward_smtp_server: str | None = None
    forward_smtp_server_port: int = 25
    output_code_page: str = "cp1250"
    log_console: str = ""
    log_event_log: str = ""
    log_file: str = "EWIT"
    logging_file_name: Path | None = None
    log_rcv_data: bool = False

    @property
    def listens(self) -> bool:
        """Whether there is a listener of its own, with the place `receiver`."""
        return self.smtp_port is not None or self.smtp_ip_address is not None

    @property
    def listen(self) -> str:
        """Its endpoint: port 25 and loopback where nothing else is said."""
        port = 25 if self.smtp_port is None else self.smtp_port
        address = (self.smtp_ip_address or "127.0.0.1").replace(":", "\\:")
        return f"tcp:{port}:interface={address}"


@frozen(kw_only=True)
class FetchAccount:
    """One `[[popfetch.account]]`: a mailbox of a POP3 server that is collected.

    `name` None is `user@host`. `tls` is implicit, require (STLS), opportunistic or off; None: implicit for port 995,
    else require. `port` None is 995 or 110. `auth` is one of `pop3.upstream.LOGINS`; `password` or `token` (XOAUTH2)
    may be in a file or come from a command, and are fetched at each login. `verify`, `ca` and `pin` as for a relay.
    `keep` leaves mail on the server, for `delete_after` seconds if that is set. All mail is for `deliver_to`, or for
    whom its header names: `header`, `domain`, `only_from` (domains), `caretaker` (None: as `[popfetch]` has them).
    `timer` None: the common one. `expunge` ends a session after so many messages, so that deletions become true; 0: at
    the end only.
    """

    host: str
    user: str
    name: str | None = None
    port: int | None = None
    tls: str | None = None
    verify: bool = True
    ca: Path | None = None
    pin: str | None = None
    auth: str = "auto"
    password: Secret | None = None
    token: Secret | None = None
    auth_in_clear: bool = False
    keep: bool = False
    delete_after: float | None = None
    deliver_to: str | None = None
    header: str | None = None
    domain: str | None = None
    only_from: tuple[str, ...] | None = None
    caretaker: str | None = None
    may_relay: bool = False
    size_limit: int | None = None
    timer: float | None = None
    expunge: int = 1000


@frozen(kw_only=True)
class PopfetchSettings:
    """`[popfetch]`, the POP fetcher. Keys with a name of POPFetch (pf_, ras_ left off) mean the same; times in seconds.

    `dmail_conf` is a DMail file with accounts and settings, as it was read; what is set here counts before it. So None
    is: as the file says, else `wait` 40 s, `max_duds` 10, `log_level` info, the folder `popfetch` in the state folder
    for `work_path`, and that for `log_path`; `timer` has no default. `isinterval` counts the timer from the end of a
    cycle. `smtp_server` takes the mail in place of this bridge, one message at a time. `dial` and `hangup` are
    commands; while the connection that `dial` makes is not there, relays wait if `wait_for_link`. `etrn_server` is told
    at each connection that we are there.
    """

    dmail_conf: DmailConf | None = None
    account: tuple[FetchAccount, ...] = ()
    timer: float | None = None
    isinterval: bool | None = None
    wait: float | None = None
    retry_delay: float | None = None
    max_duds: int | None = None
    parallel: int = 20
    header: str | None = None
    domain: str | None = None
    caretaker: str | None = None
    smtp_server: str | None = None
    work_path: Path | None = None
    log_path: Path | None = None
    log_level: str | None = None
    dial: tuple[str, ...] = ()
    hangup: tuple[str, ...] = ()
    dial_timeout: float | None = None
    etrn_server: str | None = None
    wait_for_link: bool = False


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
    receiver: ReceiverSettings = field(factory=ReceiverSettings)
    application: dict[str, ApplicationSettings] = field(factory=dict)
    command_tags: dict[str, TagData] = field(factory=dict)
    oce: OCESettings | None = None
    popfetch: PopfetchSettings | None = None
    source: str = ""
