"""The part of a notice that people read: which message, what became of it and why, and what its sender can do.

Plain words, no jargon. What a server said stands there as a quotation, line by line, so it cannot pass for ours.
"""

from __future__ import annotations

from collections.abc import Sequence

from mailbridge.clock import rfc5322_date
from mailbridge.queue.fate import Action, Fate
from mailbridge.queue.quoting import one_line, quoted

_LONGEST_ADDRESS = 400
_MOST_LINES = 10  # of an answer
_FEW_LINES = 3
MANY = 50
"""Recipients of a notice from which on their answers are cut shorter."""

# (Subject of the notice, opening); the first action that occurs decides.
_OPENINGS: dict[Action, tuple[str, str]] = {
    Action.FAILED: (
        "Your message could not be delivered",
        "Your message could not be delivered to the addresses below, and it will not\nbe tried again.",
    ),
    Action.DELAYED: (
        "Your message is late",
        "Your message has not reached the addresses below yet. There is nothing you\nneed to do: it will be tried "
        "again.",
    ),
    Action.DELIVERED: ("Your message was delivered", "You asked to be told: your message was delivered."),
    Action.RELAYED: (
        "Your message was passed on",
        "You asked to be told: your message was passed on to the next mail server.\nThat one sends no such notices, "
        "so this is the last word unless it fails there.",
    ),
    Action.EXPANDED: (
        "Your message was delivered",
        "You asked to be told: your message was delivered to the members of a list.",
    ),
}

_UNCLAIMED = (
    "Your message has not been picked up",
    "Your message was handed over for the addresses below, and nobody has taken it\nyet. It is still there; it may be "
    "late, or never reach them.",
)

# What the sender can do, by the beginning of the status (RFC 3463, RFC 7505); the first that fits.
_ADVICE: tuple[tuple[str, str], ...] = (
    ("5.1.2", "The part after the @ is no mail domain. Look for a typing error."),
    ("5.1.10", "The part after the @ takes no mail at all. Look for a typing error."),
    ("5.1.8", "The server did not like your own address. Ask the people who run your mail."),
    ("5.1.7", "The server did not like your own address. Ask the people who run your mail."),
    ("5.1.", "Most likely the address does not exist. Look for a typing error, or ask the\n"
             "recipient for the right one."),
    ("5.2.2", "The recipient's mailbox is full. Send the message again later."),
    ("5.2.3", "The message is too large for the recipient. Send less at a time."),
    ("5.2.", "The recipient's mailbox takes no mail at present. Try another way to reach them."),
    ("5.3.4", "The message is too large for the recipient's server. Send less at a time."),
    ("5.4.", "The message could not find its way. If it happens again, tell your postmaster."),
    ("5.6.", "The recipient's server cannot take a message of this form. Send it as plain\ntext, or in another way."),
    ("5.7.", "The recipient's server refuses the message by its rules. Its words above may\nsay why; the recipient can "
             "ask the people who run it."),
    ("4.4.7", "It was tried many times, without success. The recipient's server may be out of\norder: send the "
              "message again later, or try another way to reach them."),
    ("5.", "The words above may say why. Try another way to reach the recipient."),
)


def subject_of(fates: Sequence[Fate]) -> str:
    """The Subject of the notice: fixed words, nothing of a stranger's."""
    return _opening(fates)[0]


def plain_words(hostname: str, number: str, subject: str, received: float, fates: Sequence[Fate], undeliverable_to: str,
                whole: bool) -> str:
    """The text, with LF line ends. `subject` has been made harmless (`quoting.subject`); `number` is the queue id.

    `undeliverable_to` names the sender when the notice could not be sent there and goes to postmaster instead.
    """
    blocks = [f"This is the mail server {hostname}."]
    if undeliverable_to:
        blocks.append(
            "This notice is for the postmaster: there is no way back to its receiver,\n"
            f"{one_line(undeliverable_to, _LONGEST_ADDRESS, True)}"
        )
    blocks.append(_opening(fates)[1])
    blocks.append(
        f"    Subject:   {subject or '(none)'}\n    Came here: {rfc5322_date(received)}\n    Number:    {number}"
    )
    most_lines = _MOST_LINES if len(fates) <= MANY else _FEW_LINES
    blocks.extend(_one(fate, most_lines) for fate in fates)
    blocks.append(
        f"Your message{'' if whole else chr(39) + 's header'} is attached. If you need help, write to\n"
        f"postmaster@{hostname} and send this notice along."
    )
    return "\n\n".join(blocks) + "\n"


def _opening(fates: Sequence[Fate]) -> tuple[str, str]:
    if all(fate.action is Action.DELAYED and fate.retry_until is None for fate in fates):
        return _UNCLAIMED
    actions = {fate.action for fate in fates}
    return next(words for action, words in _OPENINGS.items() if action in actions)


def _one(fate: Fate, most_lines: int) -> str:
    lines = [f"<{one_line(fate.recipient, _LONGEST_ADDRESS, True)}>" + _ENDINGS[fate.action]]
    said = quoted(fate.said, most_lines)
    if said:
        who = one_line(fate.server, 255, True)
        lines += [f"The server {who} answered:" if who else "The reason:", *said]
    if fate.retry_until is not None:
        lines.append(f"It will be tried until {rfc5322_date(fate.retry_until)}.")
    if fate.action is Action.FAILED:
        lines.append(next((advice for status, advice in _ADVICE if fate.status.startswith(status)), _ADVICE[-1][1]))
    return "\n".join(lines)


_ENDINGS = {
    Action.FAILED: "",
    Action.DELAYED: "",
    Action.DELIVERED: " has it in the mailbox.",
    Action.RELAYED: " was passed on.",
    Action.EXPANDED: " is a list, and its members have it.",
}
