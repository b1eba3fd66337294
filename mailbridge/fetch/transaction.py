"""One SMTP transaction for a fetched message, judged: who has it, who never will, who may later.

The table is that of POPFetch: a permanent no is for the caretaker, anything else that fails ends the cycle (Stop).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve, field, frozen
from twisted.internet.defer import CancelledError, Deferred

from mailbridge.address import NULL, Address, parse_mailbox
from mailbridge.edge.connection import EarlyAnswer
from mailbridge.edge.contentflow import Source
from mailbridge.edge.sending import Conversation, Manner, Server, open_session
from mailbridge.errors import MailbridgeError
from mailbridge.fetch.wayin import Stop
from mailbridge.smtp.answer import Answer
from mailbridge.smtp.client import Refused, Unable
from mailbridge.smtp.outgoing import Outgoing, Recipient
from mailbridge.smtp.steps import Phase

_OF_THE_MESSAGE = (Phase.MAIL, Phase.DATA, Phase.CONTENT, Phase.END)
"""Phases in which a 5yz speaks of the message; before them it speaks of us."""


@frozen
class Verdicts:
    """By the text of each address: has it, is refused for good (the reply), is put off (the reply)."""

    done: tuple[str, ...] = ()
    refused: dict[str, str] = field(factory=dict)
    put_off: dict[str, str] = field(factory=dict)


class LocalServer:
    """The SMTP server that fetched mail is given to. One session is kept for a cycle."""

    def __init__(self, reactor: Any, server: Server, manner: Manner) -> None:
        self.server = server
        self._reactor = reactor
        self._manner = manner
        self._session: Conversation | None = None
        self._busy: Deferred[Any] | None = None

    async def deliver(self, sender: str, recipients: Sequence[str], source: Source, eight_bit: bool) -> Verdicts:
        """One transaction. Raises Stop; after that nobody knows who has the message, but for the last verdicts."""
        if self._session is None or not self._session.usable:
            self._session = await self._open()
        session = self._session
        refused: dict[str, str] = {}
        addresses: dict[Address, str] = {}
        for text in recipients:
            address = parse_mailbox(text.encode("utf-8"))
            if address.is_ascii or "SMTPUTF8" in session.capabilities:
                addresses[address] = text
            else:
                refused[text] = "553 5.6.7 the server does not take addresses with other than ASCII letters"
        if not addresses:
            return Verdicts(refused=refused)
        from_address = parse_mailbox(sender.encode("utf-8")) if sender else NULL
        if not from_address.is_ascii and "SMTPUTF8" not in session.capabilities:
            from_address = NULL
        mail = Outgoing(
            from_address, tuple(map(Recipient, addresses)), source.size,
            # A server without 8BITMIME gets the octets as they are: POPFetch knew nothing else.
            eight_bit and "8BITMIME" in session.capabilities,
        )
        try:
            self._busy = session.send(mail, source)
            sent = await self._busy
        except (Refused, EarlyAnswer, Unable) as error:
            reply = _permanent(error)
            if reply is None:
                raise self._stop(error) from None
            return Verdicts(refused={**refused, **dict.fromkeys(addresses.values(), reply)})
        except (MailbridgeError, OSError, CancelledError) as error:
            raise self._stop(error) from None
        finally:
            self._busy = None
        verdicts = Verdicts(refused=refused)
        done = []
        for address, answer in {**sent.refused, **sent.final}.items():
            text = addresses[address]
            if answer.positive:
                done.append(text)
            elif answer.permanent:
                refused[text] = str(answer)
            elif address in sent.refused:
                verdicts.put_off[text] = str(answer)
            else:
                raise self._stop(Refused(Phase.END, answer))
        return evolve(verdicts, done=tuple(done))

    async def _open(self) -> Conversation:
        self._busy = opening = open_session(self._reactor, self.server, self._manner)
        try:
            return await opening
        except (Exception, CancelledError) as error:
            # Names, routes, TLS, logins: whatever it is, it is not the message's fault.
            raise Stop(f"{self.server}: {str(error) or type(error).__name__}"[:500]) from None
        finally:
            self._busy = None

    def _stop(self, error: Exception) -> Stop:
        return Stop(f"{self.server}: {str(error) or 'stopped'}"[:500])

    def cut(self) -> None:
        """Close at once; what waits fails with Stop."""
        if self._busy is not None:
            self._busy.cancel()

    async def rest(self) -> None:
        """Say goodbye."""
        session, self._session = self._session, None
        if session is not None:
            await session.quit()


def _permanent(error: Refused | EarlyAnswer | Unable) -> str | None:
    """The words of a permanent no about this message, None if it is another kind of failure."""
    if isinstance(error, Unable):
        return f"554 {error.enhanced} {error}"
    answer: Answer = error.answer
    of_message = isinstance(error, EarlyAnswer) or error.phase in _OF_THE_MESSAGE
    return str(answer) if answer.permanent and of_message else None
