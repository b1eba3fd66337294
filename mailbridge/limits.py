"""Every limit a session obeys, with its default. Sizes are octets, times seconds."""

from __future__ import annotations

from attrs import frozen

KIB = 1024
MIB = 1024 * KIB


@frozen(cache_hash=True)
class Limits:
    """The `[limits]` of the configuration; shared by all listeners (sources: RFC 5321 4.5.3, RFC 1939 3)."""

    connections_per_client: int = 20
    connections: int = 1000
    errors: int = 10
    junk_commands: int = 100
    command_line: int = 512
    recipients: int = 1000
    hops: int = 100
    message_size: int = 50 * MIB
    header_size: int = 256 * KIB
    header_fields: int = 1000
    smtp_idle: float = 300.0
    pop3_idle: float = 600.0
    login_time: float = 120.0
    wrong_passwords: int = 5
