"""SMTP replies: the value, and the table of every fixed reply the bridge gives.

The only module in which the digits of a reply mean something: all other code asks `is_transient` or `is_permanent`.
A test walks the table: class of code and enhanced code agree (RFC 3463 2), no line over 512 octets (RFC 5321
4.5.3.1.5).
"""

from __future__ import annotations

from attrs import field, frozen


def _printable(character: str) -> str:
    return character if " " <= character <= "~" else "?"


@frozen
class Reply:
    """One answer to one command (RFC 5321 4.2, RFC 2034).

    `enhanced` is empty where RFC 2034 4 wants none (greeting, EHLO, 3yz). A line feed in `text` makes a further line.
    `wire` is the rendered form, made once. Text is reduced to printable ASCII unless `utf8` text is asked for.
    """

    code: int
    enhanced: str
    text: str
    wire: bytes = field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        prefix = f"{self.enhanced} " if self.enhanced else ""
        if self.text.isascii() and self.text.isprintable():  # one clean line, as nearly all are
            octets = f"{self.code} {prefix}{self.text}"[:510].encode("ascii") + b"\r\n"
            object.__setattr__(self, "wire", octets)
            return
        lines = self.text.split("\n")
        out = []
        for number, line in enumerate(lines, 1):
            mark = " " if number == len(lines) else "-"
            clean = line if line.isascii() and line.isprintable() else "".join(map(_printable, line))
            out.append(f"{self.code}{mark}{prefix}{clean}"[:510] + "\r\n")
        object.__setattr__(self, "wire", "".join(out).encode("ascii"))

    @property
    def is_positive(self) -> bool:
        """2yz or 3yz: the command did what it should."""
        return self.code < 400

    @property
    def is_transient(self) -> bool:
        """4yz: the client may try again."""
        return 400 <= self.code < 500

    @property
    def is_permanent(self) -> bool:
        """5yz: the client should not repeat it."""
        return self.code >= 500

    def __str__(self) -> str:
        return " ".join(part for part in (str(self.code), self.enhanced, self.text) if part)


# Success
OK = Reply(250, "2.0.0", "OK")
FLUSHED = Reply(250, "2.0.0", "OK, forgotten")
SENDER_OK = Reply(250, "2.1.0", "Sender OK")
RECIPIENT_OK = Reply(250, "2.1.5", "Recipient OK")
CHUNK_OK = Reply(250, "2.0.0", "Chunk taken")
LOGGED_IN = Reply(235, "2.7.0", "Login accepted")
NOTHING_WAITS = Reply(251, "2.0.0", "Nothing waits for that domain")
BYE = Reply(221, "2.0.0", "Goodbye")
CANNOT_VERIFY = Reply(252, "2.1.5", "Not verified here; send it, and delivery will be tried")
HELP = Reply(
    214, "2.0.0",
    "HELO EHLO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY ETRN HELP QUIT\nmailbridge speaks SMTP as in RFC 5321",
)
READY_FOR_TLS = Reply(220, "2.0.0", "Ready for the TLS handshake")
SEND_DATA = Reply(354, "", "Send the message; end it with a line that is only a dot")

# Try again
SHUTTING_DOWN = Reply(421, "4.3.2", "Restarting; try again in a moment")
TOO_MANY_CONNECTIONS = Reply(421, "4.7.0", "Too many connections; try again later")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors; goodbye")
TOO_MANY_COMMANDS = Reply(421, "4.7.0", "Too many commands without mail; goodbye")
IDLE_TOO_LONG = Reply(421, "4.4.2", "Idle too long; goodbye")
LOGIN_TOO_SLOW = Reply(421, "4.7.0", "No login in time; goodbye")
TOO_EARLY = Reply(421, "4.7.0", "More octets after the end of the message, before its reply; goodbye")
STRANGER_YET = Reply(421, "4.7.1", "Listed clients only, and not all of them are known yet; try again in a moment")
FAULT = Reply(421, "4.3.0", "A fault on this side; try again later")
NOT_NOW = Reply(451, "4.3.0", "A fault on this side; nothing was accepted, try again later")
STORE_FULL = Reply(452, "4.3.1", "No room to store mail; try again later")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients; send the rest in another message")
ETRN_UNAVAILABLE = Reply(458, "4.3.0", "The queue cannot be told just now")
ETRN_REFUSED = Reply(459, "4.7.1", "The queue is for listed and logged-in clients")
AUTH_UNAVAILABLE = Reply(454, "4.7.0", "Login is not possible just now; try again later")
CLIENT_NOT_YET = Reply(451, "4.7.1", "The names of the clients for that address are being looked up; try again later")
LOGIN_LATER = Reply(454, "4.7.0", "Too many wrong passwords from here; try again later")

# Never
LINE_TOO_LONG = Reply(500, "5.5.6", "Line too long; goodbye")
UNKNOWN_COMMAND = Reply(500, "5.5.1", "Unknown command")
NOT_CRLF = Reply(500, "5.5.2", "End the line with CR LF and keep CR, LF and NUL out of it")
SYNTAX = Reply(501, "5.5.4", "The arguments of this command are wrong")
BAD_ADDRESS = Reply(501, "5.1.3", "That is not an address")
BAD_BASE64 = Reply(501, "5.5.2", "That is not base64")
AUTH_CANCELLED = Reply(501, "5.7.0", "Login given up")
BAD_SEQUENCE = Reply(503, "5.5.1", "Not at this point of the session")
NEED_HELO = Reply(503, "5.5.1", "Say EHLO or HELO first")
NEED_MAIL = Reply(503, "5.5.1", "Say MAIL first")
NEED_RCPT = Reply(503, "5.5.1", "No valid recipient; say RCPT first")
ALREADY_LOGGED_IN = Reply(503, "5.5.1", "Logged in already")
ALREADY_TLS = Reply(503, "5.5.1", "TLS is on already")
CHUNKING_STARTED = Reply(503, "5.5.1", "The message came with BDAT so far; end it with BDAT or say RSET")
UNKNOWN_MECHANISM = Reply(504, "5.5.4", "That login mechanism is not offered; see EHLO")
NO_TLS = Reply(502, "5.5.1", "TLS is not offered here")
INJECTED = Reply(501, "5.5.1", "Octets after STARTTLS came before the handshake; goodbye")
NEED_LOGIN = Reply(530, "5.7.0", "Log in first")
NEED_TLS = Reply(530, "5.7.0", "Say STARTTLS first")
NEED_TLS_FOR_LOGIN = Reply(538, "5.7.11", "Logging in needs TLS; say STARTTLS first")
WRONG_PASSWORD = Reply(535, "5.7.8", "Name or password is wrong")
NOT_YOUR_ADDRESS = Reply(553, "5.7.1", "You are logged in as somebody else and may not send as this sender")
TOO_LARGE = Reply(552, "5.3.4", "The message is larger than this server takes")
BAD_RET = Reply(501, "5.5.4", "RET is FULL or HDRS")
BAD_ENVID = Reply(501, "5.5.4", "ENVID is at most 100 printable characters, as xtext")
BAD_NOTIFY = Reply(501, "5.5.4", "NOTIFY is NEVER alone, or each of SUCCESS, FAILURE and DELAY at most once")
BAD_ORCPT = Reply(501, "5.5.4", "ORCPT is a type, a semicolon and an address as xtext, at most 500 characters")
UNKNOWN_PARAMETER = Reply(555, "5.5.4", "A parameter of this command is unknown here")
UTF8_NEEDED = Reply(553, "5.6.7", "An address with other than ASCII letters needs the SMTPUTF8 parameter")
STRANGER = Reply(554, "5.7.1", "This server is for listed clients only; goodbye")
NO_SUCH_USER = Reply(550, "5.1.1", "No such user here")
NO_RELAYING = Reply(550, "5.7.1", "This server does not take mail from you for that address; log in first")
NO_ROUTE = Reply(550, "5.7.1", "Mail for that address goes nowhere from here")
NOT_YOUR_APPLICATION = Reply(550, "5.7.1", "You may not send to that address; log in first")
SENDER_REFUSED = Reply(550, "5.7.1", "Mail from that sender is not taken for that address")
NO_ANONYMOUS = Reply(550, "5.7.1", "Mail without a sender is not taken for that address")
NUMBER_REFUSED = Reply(550, "5.7.1", "That number is not allowed here")
NO_NUMBER = Reply(550, "5.1.1", "There is no number to send to in that address")
REFUSED = Reply(550, "5.7.1", "Refused by a rule of this server")
BARE_NEWLINE = Reply(554, "5.6.0", "The message has a CR or LF that is not part of CR LF; nothing was accepted")
TOO_INTRICATE = Reply(554, "5.6.0", "The message is built too intricately to be read here; send it as plain text")
TOO_MANY_HOPS = Reply(554, "5.4.6", "Too many Received headers: this message goes round in a circle")
HEADER_TOO_LARGE = Reply(552, "5.3.4", "The header of the message is larger than this server takes")


def wire_table() -> dict[str, Reply]:
    """Every fixed reply by the name it has in this module."""
    return {name: value for name, value in globals().items() if isinstance(value, Reply)}
