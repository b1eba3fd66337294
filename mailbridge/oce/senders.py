"""In whose name mail goes to the OCE: never that of a forged MAIL FROM (reference: oce-usds.md H20, as overridden)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from mailbridge.address import Address
from mailbridge.store.users import User


@frozen
class Senders:
    """`login(name)` is the user with that login, `owner(address)` the one whose own address it is; None for nobody."""

    login: Callable[[str], User | None]
    owner: Callable[[Address], User | None]
    hostname: str

    def member(self, login: str | None, sender: Address) -> str:
        """The Source.Member of a message that came with that login, or from a trusted client without one."""
        if login:
            user = self.login(login)
            return user.name if user is not None else login.partition("@")[0]
        if sender.is_null:
            return f"MAILER-DAEMON@{self.hostname}"
        user = self.owner(sender)
        return user.name if user is not None else sender.text
