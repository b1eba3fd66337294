"""The realm: what a user gets after the login, a delivery (SMTP) or a mailbox (POP3)."""

from __future__ import annotations

from collections.abc import Callable

from twisted.cred.error import UnauthorizedLogin
from twisted.cred.portal import IRealm
from twisted.internet.defer import Deferred
from twisted.mail.pop3 import IMailbox
from twisted.mail.smtp import IMessageDelivery
from zope.interface import Interface, implementer

from mailbridge.accounts.checkers import Directory
from mailbridge.accounts.login import Avatar
from mailbridge.store.changes import User

Door = Callable[[User], Avatar | Deferred[Avatar]]


@implementer(IRealm)
class Realm:
    """Opens the right door for a user.

    `delivery_for(user)` and `mailbox_for(user)` give (interface, avatar, logout), or a Deferred of it; what they raise
    (a maildrop in use, a failing store) reaches the session unchanged.
    """

    def __init__(self, directory: Directory, delivery_for: Door, mailbox_for: Door) -> None:
        self._directory = directory
        self._doors: dict[type[Interface], Door] = {IMessageDelivery: delivery_for, IMailbox: mailbox_for}

    def requestAvatar(
        self, avatarId: bytes | tuple[()], mind: object, *interfaces: type[Interface]
    ) -> Avatar | Deferred[Avatar]:
        """The avatar of the user whose id is `avatarId` in decimal (`checkers.Checker` gives it)."""
        user = self._directory.by_id(int(avatarId)) if isinstance(avatarId, bytes) and avatarId.isdigit() else None
        if user is None:
            raise UnauthorizedLogin("there is no such user any more")
        for interface in interfaces:
            door = self._doors.get(interface)
            if door is not None:
                return door(user)
        raise NotImplementedError(f"no avatar for {interfaces!r}")
