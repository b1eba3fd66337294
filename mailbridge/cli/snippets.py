"""What a mail program must be told, written down: as the fields of an account page, or as a file of a program.

Pure: `mail_program.Settings` in, text out. The files of programs hold no password: the programs ask for it.
"""

from __future__ import annotations

from collections.abc import Callable

from mailbridge.cli.mail_program import CLEAR, IMPLICIT, STARTTLS, Door, Settings


def _fields(door: Door, user: str, password: str) -> list[str]:
    security = door.security if door.security != CLEAR else "none (no TLS)"
    lines = [f"    server    {door.host}", f"    port      {door.port or '?'}", f"    security  {security}"]
    if door.login:
        return [*lines, f"    user      {user}", f"    password  {password} (normal password)"]
    return [*lines, "    user      no authentication"]


def as_fields(told: Settings, password: str = "yours") -> str:
    """The fields of a mail program's account page, as Thunderbird and most others name them.

    `password` stands where one is to be typed: a word, but for the users of a demo.
    """
    lines = [f"For the mail program of {told.address}:"]
    for title, doors in (("Incoming mail: POP3", told.pop3), ("Outgoing mail: SMTP", told.smtp)):
        for door in doors:
            lines += ["", f"  {title}", *_fields(door, told.user, password)]
    if told.certificate is not None:
        lines += ["", "  Certificate (SHA-256)", f"    {told.certificate.fingerprint}"]
    return "\n".join([*lines, *(["", *(f"Note: {note}" for note in told.notes)] if told.notes else [])])


def _missing(what: str) -> str:
    return f"# No {what} listener with a known port is configured."


def _first(doors: tuple[Door, ...]) -> Door | None:
    """The door to prefer: one with a port, TLS before none."""
    known = [door for door in doors if door.port is not None]
    return min(known, key=lambda door: door.security == CLEAR, default=None)


def _tls_lines(door: Door, told: Settings) -> list[str]:
    if door.security == CLEAR:
        return ["tls off"]
    lines = ["tls on", f"tls_starttls {'on' if door.security == STARTTLS else 'off'}"]
    if told.certificate is not None and told.certificate.self_signed:
        lines.append(f"tls_fingerprint {told.certificate.fingerprint}")
    return lines


def as_msmtp(told: Settings) -> str:
    """A `~/.msmtprc`; msmtp asks for the password."""
    door = _first(told.smtp)
    if door is None:
        return _missing("SMTP")
    login = ["auth on", f"user {told.user}"] if door.login else ["auth off"]
    lines = ["account mailbridge", f"host {door.host}", f"port {door.port}", f"from {told.address}"]
    return "\n".join(["# ~/.msmtprc", *lines, *login, *_tls_lines(door, told), "account default : mailbridge"])


def as_mpop(told: Settings) -> str:
    """A `~/.mpoprc`; mpop asks for the password."""
    door = _first(told.pop3)
    if door is None:
        return _missing("POP3")
    lines = ["account mailbridge", f"host {door.host}", f"port {door.port}", f"user {told.user}", "auth plain"]
    rest = ["delivery mbox ~/Mail/inbox", "account default : mailbridge"]
    return "\n".join(["# ~/.mpoprc", *lines, *_tls_lines(door, told), *rest])


def as_fetchmail(told: Settings) -> str:
    """A `~/.fetchmailrc`; fetchmail asks for the password and hands mail to the local system."""
    door = _first(told.pop3)
    if door is None:
        return _missing("POP3")
    options = {IMPLICIT: ["ssl"], STARTTLS: ['sslproto "TLS1.2+"'], CLEAR: ['sslproto ""']}[door.security]
    server = f'poll "{door.host}" protocol POP3 port {door.port} uidl'
    lines = [server, f'  user "{told.user}"', *map("  ".__add__, options)]
    if door.security != CLEAR and told.certificate is not None and told.certificate.self_signed:
        lines.append('  sslcertfile "cert.pem"  # a copy of the certificate of the bridge')
    return "\n".join(["# ~/.fetchmailrc", *lines])


def as_mutt(told: Settings) -> str:
    """Lines for a `~/.muttrc`; mutt asks for the password and, once, about the certificate."""
    smtp, pop3 = _first(told.smtp), _first(told.pop3)
    lines = ["# ~/.muttrc", f'set from = "{told.address}"']
    user = told.user.replace("@", "%40")
    if smtp is not None:
        scheme = "smtps" if smtp.security == IMPLICIT else "smtp"
        login = f"{user}@" if smtp.login else ""
        lines.append(f'set smtp_url = "{scheme}://{login}{smtp.host}:{smtp.port}/"')
    if pop3 is not None:
        scheme = "pops" if pop3.security == IMPLICIT else "pop"
        lines.append(f'set pop_host = "{scheme}://{user}@{pop3.host}:{pop3.port}/"')
    secure = any(door is not None and door.security != CLEAR for door in (smtp, pop3))
    lines += ["set ssl_starttls = yes", "set ssl_force_tls = yes"] if secure else ["set ssl_starttls = no"]
    return "\n".join([*lines, "set certificate_file = ~/.mutt_certificates"])


#: What `--for` takes, and who writes it.
PROGRAMS: dict[str, Callable[[Settings], str]] = {
    "thunderbird": as_fields,
    "msmtp": as_msmtp,
    "mpop": as_mpop,
    "fetchmail": as_fetchmail,
    "mutt": as_mutt,
}
