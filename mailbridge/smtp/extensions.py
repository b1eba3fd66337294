"""What an SMTP session says of itself: its greeting and its answer to EHLO, made once for each state it can be in."""

from __future__ import annotations

from functools import lru_cache

from mailbridge.reply import Reply
from mailbridge.smtp.decisions import ServerSettings


@lru_cache(maxsize=64)
def greeting(settings: ServerSettings) -> Reply:
    """The opening of a session."""
    return Reply(220, "", f"{settings.hostname} {settings.greeting}")


@lru_cache(maxsize=256)
def extensions(settings: ServerSettings, in_clear: bool, mechanisms: tuple[str, ...]) -> Reply:
    """The answer to EHLO (RFC 5321 4.1.1.1), made once for each state a session can be in."""
    lines = [
        settings.hostname, "PIPELINING", f"SIZE {settings.limits.message_size}", "8BITMIME", "SMTPUTF8", "CHUNKING",
        "ENHANCEDSTATUSCODES", "DSN", "ETRN", "HELP",
    ]
    if settings.starttls != "off" and in_clear:
        lines.append("STARTTLS")
    if mechanisms:
        lines.append("AUTH " + " ".join(mechanisms))
    return Reply(250, "", "\n".join(lines))
