"""The delivery of a logged-in user, as cred's portal hands it out.

Our sessions use it as an IIntake, in bulk. It is an honest IMessageDelivery as well: put into a stock factory it works,
line by line.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.mail import smtp
from zope.interface import implementer

from mailbridge import reply
from mailbridge.address import Address, parse_mailbox
from mailbridge.envelope import NO_PARAMETERS, MailParameters, Origin
from mailbridge.errors import AddressError
from mailbridge.interfaces import IIntake, ITransaction
from mailbridge.reply import Reply
from mailbridge.routing.intake import Intake, Owns


@implementer(IIntake, smtp.IMessageDelivery)
class UserDelivery:
    """Mail sent by one user. `user` is the name he logged in with; `owns` says what he may send as, where the directory
    does not know him.
    """

    def __init__(self, intake: Intake, user: str, clock: IReactorTime, owns: Owns | None = None) -> None:
        self.user = user
        self._owns = owns
        self._intake = intake
        self._clock = clock
        self._shared: _Shared | None = None

    def begin(self, sender: Address, origin: Origin, declared: MailParameters) -> ITransaction | Reply:
        """Start a transaction as this user."""
        return self._intake.begin(sender, origin, declared, self._owns)

    # --- IMessageDelivery: for stock factories ------------------------------------------------------------------------

    def receivedHeader(self, helo: tuple[bytes, bytes], origin: smtp.Address, recipients: Any) -> bytes:
        """Nothing: the intake writes the trace line."""
        return b""

    def validateFrom(self, helo: tuple[bytes, bytes], origin: smtp.Address) -> smtp.Address:
        """Begin; raises SMTPBadSender with our reply."""
        name, peer = (part.decode("utf-8", "replace") if part else "" for part in helo)
        begun = self._intake.begin(
            _address(origin), Origin("stock", peer, name, self.user, None, self._clock.seconds(), "ESMTPA", True),
            NO_PARAMETERS, self._owns,
        )
        if isinstance(begun, Reply):
            raise smtp.SMTPBadSender(origin, begun.code, begun.text)
        self._shared = _Shared(begun)
        return origin

    def validateTo(self, user: smtp.User) -> Callable[[], _StockMessage]:
        """Route; raises SMTPBadRcpt with our reply."""
        if self._shared is None:
            raise smtp.SMTPBadRcpt(user, 503, "no sender")
        answer = self._shared.transaction.recipient(_address(user.dest))
        if isinstance(answer, Reply) and not answer.is_positive:
            raise smtp.SMTPBadRcpt(user, answer.code, answer.text)
        return partial(_StockMessage, self._shared)


class _Shared:
    """One transaction's content for all the IMessage objects a stock protocol opens for it, one a recipient."""

    def __init__(self, transaction: ITransaction) -> None:
        self.transaction = transaction
        self.first: _StockMessage | None = None
        self.waiting: list[Deferred[None]] = []
        self.answer: Reply | None = None


@implementer(smtp.IMessage)
class _StockMessage:
    """Content line by line. The first recipient's object does the work, the others share its fate."""

    def __init__(self, shared: _Shared) -> None:
        self._shared = shared
        if shared.first is None:
            shared.first = self
            refusal = shared.transaction.data()
            if refusal is not None:
                raise smtp.SMTPServerError(refusal.code, refusal.text)

    def lineReceived(self, line: bytes) -> None:
        """A line without its CR LF."""
        shared = self._shared
        if b"\n" in line or b"\r" in line:  # stock parsers leave a bare LF in a line
            shared.answer = reply.BARE_NEWLINE
            shared.transaction.abort()
        if shared.first is self and shared.answer is None:
            shared.transaction.write(line + b"\r\n")

    def eomReceived(self) -> Deferred[None]:
        """Commit; fails with SMTPServerError unless the reply is positive."""
        shared = self._shared
        mine: Deferred[None] = Deferred()
        shared.waiting.append(mine)
        if shared.answer is not None:
            self._answered(shared.answer)
        elif shared.first is self:
            answer = shared.transaction.finish()
            (answer if isinstance(answer, Deferred) else succeed(answer)).addCallback(self._answered)
        return mine

    def _answered(self, answer: Reply) -> None:
        self._shared.answer = answer
        waiting, self._shared.waiting = self._shared.waiting, []
        for each in waiting:
            if answer.is_positive:
                each.callback(None)
            else:
                each.errback(smtp.SMTPServerError(answer.code, answer.text))

    def connectionLost(self) -> None:
        """No end will come."""
        self._shared.transaction.abort()


def _address(stock: smtp.Address) -> Address:
    text = bytes(stock)
    if not text:
        return Address("")
    try:
        return parse_mailbox(text)
    except AddressError as error:
        raise smtp.SMTPServerError(501, str(error)) from None
