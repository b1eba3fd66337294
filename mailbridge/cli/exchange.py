"""Messages from Bonnie to Harold and to Edgar of another tribe, sent and fetched by the mail clients of the standard
library, each step shown.

Blocks: for a thread, not for the reactor's. What it shows is what passed the wire, but for passwords, which it never
shows. It raises what the clients raise when a step fails.
"""

from __future__ import annotations

import poplib
import smtplib
import ssl
import time
from collections.abc import Callable, Sequence
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as WIRE

from attrs import field, frozen

Say = Callable[[str], object]

TIMEOUT = 30.0
PAUSE = 0.05
TRIBAL = "Hello both,\r\n\r\nthis went through the OCE, and to one of you through two of them.\r\n\r\nBonnie\r\n"
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


def compose(sender: str, recipients: Sequence[str], text: str) -> bytes:
    """The message, as it goes over the wire."""
    message = EmailMessage(policy=WIRE)
    message["From"] = sender
    message["To"] = ", ".join(recipients)
    message["Subject"] = "Hello from the other side of the bridge"
    message.set_content(text)
    return message.as_bytes()


def _text(octets: bytes) -> str:
    return octets.decode("utf-8", "backslashreplace")


def send(ways: Ways, sender: Person, address: str, recipients: Sequence[str], message: bytes, first: int,
         say: Say) -> None:
    """Send by SMTP, with STARTTLS and login, in two steps of which `first` is the number."""

    def step(command: str, reply: tuple[int, bytes]) -> None:
        code, text = reply
        say(f"   C: {command}")
        for line in _text(text).splitlines():
            say(f"   S: {code} {line}")
        if code >= 400:
            raise smtplib.SMTPResponseException(code, text)

    say(f"{first}. {sender.name}'s mail program connects to SMTP on port {ways.smtp} and turns TLS on.")
    with smtplib.SMTP(ways.host, ways.smtp, "demo.example", timeout=TIMEOUT) as client:
        step("EHLO demo.example", client.ehlo())
        step("STARTTLS", client.starttls(context=ways.tls))
        client.ehlo()
        say(f"{first + 1}. It logs in as {sender.name} and sends the message.")
        step("AUTH (password not shown)", client.login(sender.name, sender.password))
        step(f"MAIL FROM:<{address}>", client.mail(address))
        for recipient in recipients:
            step(f"RCPT TO:<{recipient}>", client.rcpt(recipient))
        step(f"DATA ({len(message)} octets and a dot)", client.data(message))
        say("   That 250 is the promise: the message is on stable storage.")


def fetch(ways: Ways, reader: Person, login: str, first: int, say: Say) -> bytes:
    """Fetch the newest message by POP3, with STLS and login, and delete it. Returns it, line ends CR LF.

    In two steps of which `first` is the number.
    """

    def step(command: str, reply: bytes | str) -> None:
        say(f"   C: {command}")
        say(f"   S: {_text(reply) if isinstance(reply, bytes) else reply}")

    say(f"{first}. {reader.name}'s mail program connects to POP3 on port {ways.pop3}, turns TLS on and logs in.")
    client = poplib.POP3(ways.host, ways.pop3, timeout=TIMEOUT)
    try:
        step("STLS", client.stls(ways.tls))
        step(f"USER {login}", client.user(login))
        step("PASS (password not shown)", client.pass_(reader.password))
        say(f"{first + 1}. It fetches the newest message and deletes it.")
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


def wait_for_mail(ways: Ways, reader: Person) -> None:
    """Ask until something is in the maildrop: an OCE takes a moment. WrongMail when nothing comes."""
    until = time.monotonic() + TIMEOUT
    while time.monotonic() < until:
        client = poplib.POP3(ways.host, ways.pop3, timeout=TIMEOUT)
        try:
            client.stls(ways.tls)
            client.user(reader.name)
            client.pass_(reader.password)
            if client.stat()[0]:
                return
            client.quit()
        finally:
            client.close()
        time.sleep(PAUSE)
    raise WrongMail(f"nothing came for {reader.name}")


def exchange(ways: Ways, sender: Person, reader: Person, say: Say) -> None:
    """Send, fetch and compare. WrongMail when the octets are not the same below the header lines we added."""
    message = compose(sender.address, [reader.address], TEXT)
    send(ways, sender, sender.address, [reader.address], message, 1, say)
    if not fetch(ways, reader, reader.name, 3, say).endswith(message):
        raise WrongMail("the message that came out is not the one that went in")
    say("5. Octet for octet the message that was sent, below the lines that the bridge added.")


def between_tribes(ways: tuple[Ways, Ways], tribes: tuple[str, str], sender: Person, near: Person, far: Person,
                   say: Say) -> None:
    """Send to a member of the same tribe and to one of the other, fetch both. WrongMail when they do not say the same.

    `ways` and `tribes` are those of the two bridges: where each is, and what the other calls it.
    """
    (here, there), (home, friends) = ways, tribes
    recipients = [f"{near.name}@oce", f"{far.name}@{friends}.oce"]
    say(f"Now through the OCE, to {near.name} of the same tribe and to {far.name} of the tribe {friends}.")
    send(here, sender, f"{sender.name}@oce", recipients, compose(f"{sender.name}@oce", recipients, TRIBAL), 6, say)
    for each, reader, login, number, known in (
        (here, near, f"{near.name}@oce", 8, f"{sender.name}@oce"),
        (there, far, f"{far.name}@oce", 10, f"{sender.name}@{home}.oce"),
    ):
        wait_for_mail(each, reader)
        mail = message_from_bytes(fetch(each, reader, login, number, say), policy=WIRE)
        if mail["From"] != known or mail.get_content().splitlines() != TRIBAL.splitlines():
            raise WrongMail(f"what {reader.name} got is not what {sender.name} sent")
    say(f"12. Both have it. {far.name} reads {sender.name}@{home}.oce as its sender: an answer to all finds all.")
