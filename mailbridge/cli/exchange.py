"""One message from Bonnie to Harold, sent and fetched by the mail clients of the standard library, each step shown.

Blocks: for a thread, not for the reactor's. What it shows is what passed the wire, but for passwords, which it never
shows. It raises what the clients raise when a step fails.
"""

from __future__ import annotations

import poplib
import smtplib
import ssl
from collections.abc import Callable
from email.message import EmailMessage
from email.policy import SMTP as WIRE

from attrs import field, frozen

Say = Callable[[str], object]

TIMEOUT = 30.0
TEXT = "Hello Harold,\r\n\r\nthis came in by SMTP and was on disk before it was acknowledged.\r\n\r\nBonnie\r\n"


@frozen
class Person:
    """A user of the demo."""

    name: str
    address: str
    password: str = field(repr=False)


@frozen
class Ways:
    """The ports of the bridge on loopback, and what trusts its certificate."""

    host: str
    smtp: int
    pop3: int
    tls: ssl.SSLContext


class WrongMail(Exception):
    """What was fetched is not what was sent."""


def compose(sender: Person, recipient: Person) -> bytes:
    """The message, as it goes over the wire."""
    message = EmailMessage(policy=WIRE)
    message["From"] = sender.address
    message["To"] = recipient.address
    message["Subject"] = "Hello from the other side of the bridge"
    message.set_content(TEXT)
    return message.as_bytes()


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def send(ways: Ways, sender: Person, recipient: Person, message: bytes, say: Say) -> None:
    """Send by SMTP, with STARTTLS and login."""

    def step(command: str, reply: tuple[int, bytes]) -> None:
        code, text = reply
        say(f"   C: {command}")
        for line in _text(text).splitlines():
            say(f"   S: {code} {line}")
        if code >= 400:
            raise smtplib.SMTPResponseException(code, text)

    say(f"1. {sender.name}'s mail program connects to SMTP on port {ways.smtp} and turns TLS on.")
    with smtplib.SMTP(ways.host, ways.smtp, "demo.example", timeout=TIMEOUT) as client:
        step("EHLO demo.example", client.ehlo())
        step("STARTTLS", client.starttls(context=ways.tls))
        client.ehlo()
        say(f"2. It logs in as {sender.name} and sends the message.")
        step("AUTH (password not shown)", client.login(sender.name, sender.password))
        step(f"MAIL FROM:<{sender.address}>", client.mail(sender.address))
        step(f"RCPT TO:<{recipient.address}>", client.rcpt(recipient.address))
        step(f"DATA ({len(message)} octets and a dot)", client.data(message))
        say("   That 250 is the promise: the message is on stable storage.")


def fetch(ways: Ways, reader: Person, say: Say) -> bytes:
    """Fetch the newest message by POP3, with STLS and login, and delete it. Returns it, line ends CR LF."""

    def step(command: str, reply: bytes | str) -> None:
        say(f"   C: {command}")
        say(f"   S: {_text(reply) if isinstance(reply, bytes) else reply}")

    say(f"3. {reader.name}'s mail program connects to POP3 on port {ways.pop3}, turns TLS on and logs in.")
    client = poplib.POP3(ways.host, ways.pop3, timeout=TIMEOUT)
    try:
        step("STLS", client.stls(ways.tls))
        step(f"USER {reader.name}", client.user(reader.name))
        step("PASS (password not shown)", client.pass_(reader.password))
        say("4. It fetches the newest message and deletes it.")
        count, octets = client.stat()
        step("STAT", f"+OK {count} {octets}")
        if not count:
            raise WrongMail("the maildrop is empty")
        reply, lines, _ = client.retr(count)
        step(f"RETR {count}", reply)
        for line in lines:
            say(f"      {_text(line)}")
        step(f"DELE {count}", client.dele(count))
        step("QUIT", client.quit())
    finally:
        client.close()
    return b"".join(line + b"\r\n" for line in lines)


def exchange(ways: Ways, sender: Person, reader: Person, say: Say) -> None:
    """Send, fetch and compare. WrongMail when the octets are not the same below the header lines we added."""
    message = compose(sender, reader)
    send(ways, sender, reader, message, say)
    if not fetch(ways, reader, say).endswith(message):
        raise WrongMail("the message that came out is not the one that went in")
    say("5. Octet for octet the message that was sent, below the lines that the bridge added.")
