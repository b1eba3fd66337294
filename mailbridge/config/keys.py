"""Every key of the file and its reader: one table. A test holds it and the model together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from mailbridge.config.files import file_reader, path_reader, secret_reader
from mailbridge.config.model import (
    Config,
    POP3Listener,
    QueueSettings,
    RelaySettings,
    RouteRule,
    SMTPListener,
    StoreSettings,
    TLSSettings,
    UsersSettings,
)
from mailbridge.config.readers import (
    Reader,
    choice,
    client,
    domain,
    endpoint,
    fingerprint,
    flag,
    full_address,
    hostname,
    listed,
    mailbox,
    pattern,
    refusal,
    store_url,
    tag_separator,
    target,
    text,
    trusted_client,
)
from mailbridge.config.secrets import secret_text_reader
from mailbridge.config.servers import bind_address, dedicated_server, server_text
from mailbridge.config.units import number, size, time
from mailbridge.limits import KIB, MIB, Limits

_DAY = 86400


def readers(base: Path, targets: Collection[str]) -> Mapping[type, Mapping[str, Reader]]:
    """The reader of each key of each table. Paths are relative to `base`; `targets` exist besides maildrops."""
    return {
        Config: {"hostname": hostname, "state": path_reader(base)},
        StoreSettings: {"url": store_url, "min_free": size(0, 2**50)},
        TLSSettings: {"certificate": file_reader(base), "key": secret_reader(base)},
        Limits: _LIMITS,
        SMTPListener: {
            "listen": endpoint, "tls": flag, "starttls": choice("offer", "require", "off"),
            "clients": listed(trusted_client), "bare_newlines": choice("refuse", "normalise"),
            "auth": choice("offer", "require", "off"), "auth_in_clear": flag, "add_headers": flag,
            "sender": full_address,
        },
        POP3Listener: {
            "listen": endpoint, "tls": flag, "starttls": choice("offer", "require", "off"), "login_in_clear": flag,
            "apop": flag,
        },
        UsersSettings: {"domains": listed(domain), "postmaster": mailbox, "tag_separator": tag_separator},
        RelaySettings: {
            "servers": listed(server_text, "name a server"), "default": flag,
            "tls": choice("opportunistic", "require", "implicit", "off"), "verify": flag, "ca": file_reader(base),
            "pin": fingerprint, "identity": secret_reader(base), "user": text, "password": secret_text_reader(base),
            "token": secret_text_reader(base), "dedicatedsmtp": dedicated_server, "auth_in_clear": flag,
            "use_from": flag, "lmtp": flag, "client_name": hostname, "bind": bind_address,
            "connections": number(1, 1_000), "messages_per_connection": number(1, 1_000_000),
            "idle": time(0, _DAY), "timeout": time(1, _DAY),
        },
        QueueSettings: {
            "retry": time(1, _DAY), "longest_retry": time(1, 7 * _DAY), "expire": time(1, 60 * _DAY),
            "delay_notice": time(1, 60 * _DAY), "pause": time(1, _DAY), "notices_per_minute": number(1, 100_000),
            "bounce_size": size(0, 16 * MIB),
        },
        RouteRule: {
            "to": target(targets), "recipient": pattern, "sender": pattern, "user": text,
            "clients": listed(client, "leave the key out to match all"), "listener": text, "reply": refusal,
            "anyone": flag,
        },
    }


_LIMITS: Mapping[str, Reader] = {
    "connections_per_client": number(1, 100_000),
    "connections": number(1, 100_000),
    "errors": number(1, 10_000),
    "junk_commands": number(1, 1_000_000),
    "command_line": number(512, 65_536),
    "recipients": number(1, 100_000),
    "hops": number(1, 1_000),
    "message_size": size(64 * KIB, 2048 * MIB),
    "header_size": size(4 * KIB, 16 * MIB),
    "header_fields": number(20, 100_000),
    "smtp_idle": time(1, _DAY),
    "pop3_idle": time(1, _DAY),
    "login_time": time(1, _DAY),
    "wrong_passwords": number(1, 1_000),
}
