"""Stock twisted.mail deliveries behind our sessions: IMessageDelivery and IMessage as their documentation has them.

One transaction feeds each IMessage line by line, as the stock protocol does; calls may return a value or a Deferred.
An `SMTPServerError` is rendered with its code, anything else is our own fault and transient (twisted #4903: the
stock protocol makes it permanent).
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.mail import smtp
from twisted.python.failure import Failure
from zope.interface import implementer

from mailbridge import reply
from mailbridge.address import Address
from mailbridge.envelope import MailParameters, Origin
from mailbridge.interfaces import IIntake, ITransaction
from mailbridge.reply import Reply
from mailbridge.store.changes import NO_WISHES, Wishes

_log = Logger()


def as_intake(delivery: object) -> IIntake:
    """`delivery` as an IIntake: itself, or a stock IMessageDelivery or IMessageDeliveryFactory behind an adapter.

    Raises TypeError for anything else.
    """
    if IIntake.providedBy(delivery):
        return delivery
    if smtp.IMessageDelivery.providedBy(delivery) or smtp.IMessageDeliveryFactory.providedBy(delivery):
        return ForeignIntake(delivery)
    raise TypeError(f"{delivery!r} provides neither IIntake nor IMessageDelivery")


def _reply_to(failure: Failure) -> Reply:
    """What a delivery's exception means to the client."""
    error = failure.value
    if isinstance(error, smtp.SMTPServerError):
        code = int(error.code)
        text = error.resp.decode("utf-8", "replace") if isinstance(error.resp, bytes) else str(error.resp)
        return Reply(code, f"{code // 100}.0.0", text)
    _log.failure("a delivery failed", failure)
    return reply.NOT_NOW


def _stock_address(address: Address) -> smtp.Address:
    """An address as stock code knows it: octets, without quotes."""
    stock = smtp.Address("")
    stock.local = address.local.encode("utf-8")
    stock.domain = address.domain.encode("utf-8")
    return stock


@implementer(IIntake)
class ForeignIntake:
    """A stock delivery, asked anew for each message when it is a factory."""

    def __init__(self, delivery: Any) -> None:
        self._delivery = delivery

    def begin(self, sender: Address, origin: Origin, declared: MailParameters) -> Deferred[ITransaction | Reply]:
        """Ask validateFrom."""
        delivery = self._delivery
        if smtp.IMessageDeliveryFactory.providedBy(delivery):
            try:
                delivery = delivery.getMessageDelivery()
            except Exception:
                return succeed(_reply_to(Failure()))
        helo = (origin.helo.encode("utf-8"), origin.peer.encode("ascii", "replace"))
        asked: Deferred[Any] = maybeDeferred(delivery.validateFrom, helo, _stock_address(sender))

        def accepted(stock_sender: Any) -> ITransaction:
            return ForeignTransaction(delivery, helo, stock_sender or _stock_address(sender))

        return asked.addCallbacks(accepted, _reply_to)


class _Peer:
    """The little a stock `User` looks at of its protocol."""

    def __init__(self, helo: tuple[bytes, bytes]) -> None:
        self._helo = helo

    def getHello(self) -> tuple[bytes, bytes]:
        """(name the client gave, its address)."""
        return self._helo


@implementer(ITransaction)
class ForeignTransaction:
    """The IMessage objects of one mail transaction."""

    def __init__(self, delivery: Any, helo: tuple[bytes, bytes], sender: Any) -> None:
        self._delivery = delivery
        self._helo = helo
        self._sender = sender
        self._openers: list[tuple[smtp.User, Any]] = []
        self._messages: list[Any] = []
        self._line = b""
        self._fault: Reply | None = None

    def recipient(self, address: Address, wishes: Wishes = NO_WISHES) -> Deferred[Reply]:
        """Ask validateTo; what it returns opens an IMessage when DATA comes. Stock deliveries know no wishes."""
        user = smtp.User(_stock_address(address), self._helo, _Peer(self._helo), self._sender)
        asked: Deferred[Any] = maybeDeferred(self._delivery.validateTo, user)

        def accepted(opener: Any) -> Reply:
            self._openers.append((user, opener))
            return reply.RECIPIENT_OK

        return asked.addCallbacks(accepted, _reply_to)

    def data(self) -> Reply | None:
        """Open the messages and give each its trace line."""
        users = [user for user, _ in self._openers]
        try:
            for _, opener in self._openers:
                self._messages.append(opener())
                trace = self._delivery.receivedHeader(self._helo, self._sender, users)
                trace = trace.encode("utf-8") if isinstance(trace, str) else trace  # Twisted's own example has str
                for line in (trace or b"").split(b"\n"):
                    if line:
                        self._messages[-1].lineReceived(line.rstrip(b"\r"))
        except Exception:
            self.abort()
            return _reply_to(Failure())
        return None

    def write(self, octets: bytes) -> None:
        """Feed whole lines, without their CR LF."""
        lines = (self._line + octets).split(b"\r\n")
        self._line = lines.pop()
        self._feed(lines)

    def _feed(self, lines: list[bytes]) -> None:
        if self._fault is not None:
            return
        try:
            for line in lines:
                for message in self._messages:
                    message.lineReceived(line)
        except Exception:
            self._fault = _reply_to(Failure())
            self.abort()

    def finish(self) -> Reply | Deferred[Reply]:
        """End every message; positive only when all have succeeded."""
        if self._line:
            self._feed([self._line])
        if self._fault is not None:
            return self._fault
        messages, self._messages = self._messages, []
        ended = DeferredList([maybeDeferred(message.eomReceived) for message in messages], consumeErrors=True)
        return ended.addCallback(_verdict)

    def abort(self) -> None:
        """Tell every message that no end will come."""
        messages, self._messages = self._messages, []
        for message in messages:
            try:
                message.connectionLost()
            except Exception:
                _log.failure("a message could not be given up")


def _verdict(results: list[tuple[bool, Any]]) -> Reply:
    for succeeded, result in results:
        if not succeeded:
            return _reply_to(result)
    return reply.OK
