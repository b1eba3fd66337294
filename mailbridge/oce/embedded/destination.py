"""Where a message goes: the forms of `Dest` (reference 3.3), read into members here and tribes elsewhere. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from attrs import evolve, frozen

from mailbridge.oce.embedded.deeds import Refused
from mailbridge.oce.embedded.settings import FIRST_COTERIE, Coterie
from mailbridge.oce.strictjson import Json
from mailbridge.oce.usds import COTERIE, MEMBER, Dest
from mailbridge.routing.names import fold_name
from mailbridge.store.changes import User

MOST_TRIBES = 20
MOST_MEMBERS = 1000
"""Of one message: each is a copy in one commit."""


class Members(Protocol):
    """What the OCE needs of `routing.directory`: the users of the store are the members of the tribe."""

    def login(self, name: str) -> User | None:
        """The user of that name."""

    def users(self) -> tuple[User, ...]:
        """All of them."""


@frozen
class Stop:
    """One destination: the key of an OCE, empty for our own, and what is meant inside of it."""

    oce: str
    dest: Dest


def stops(dest: Dest | None) -> tuple[Stop, ...]:
    """The destinations of a message. Raises Refused."""
    if dest is None or not (dest.oce or dest.coterie or dest.group or dest.member):
        raise Refused("NODEF", "the message has no destination")
    if isinstance(dest.oce, Mapping):
        found = tuple(Stop(key.strip(), _inside(key, inside)) for key, inside in dest.oce.items() if key.strip())
    elif len(dest.oces) > 1:  # then all else is ignored, and their own instructions decide
        found = tuple(Stop(key, Dest()) for key in dict.fromkeys(dest.oces))
    else:
        found = (Stop("".join(dest.oces), evolve(dest, oce="")),)
    if not found:
        raise Refused("INVOCE", "Dest.OCE names none")
    if len(found) > MOST_TRIBES:
        raise Refused("PERM", f"more than {MOST_TRIBES} tribes in one message")
    return found


def _inside(key: str, value: Json) -> Dest:
    """The destinations inside one OCE, in the form that is an object of objects."""
    if value is None:
        return Dest()
    if not isinstance(value, Mapping):
        raise Refused("INVDAT", f"Dest.OCE[{key[:40]}]: must be an object")
    texts = {name: value.get(name) or "" for name in ("Coterie", "Group", "Member")}
    coterie, group, member = texts["Coterie"], texts["Group"], texts["Member"]
    if not isinstance(coterie, str | Mapping) or not isinstance(group, str) or not isinstance(member, str):
        raise Refused("INVDAT", f"Dest.OCE[{key[:40]}]: Coterie, Group and Member must be text")
    if len(group) > MEMBER or len(member) > MEMBER or (isinstance(coterie, str) and len(coterie) > COTERIE * 100):
        raise Refused("INVDAT", f"Dest.OCE[{key[:40]}]: longer than allowed")
    return Dest(coterie=coterie, group=group, member=member)


class Commons:
    """The members of the tribe, by name, coterie and group."""

    def __init__(self, members: Members, coteries: Mapping[str, Coterie]) -> None:
        self._members = members
        self._coteries = {FIRST_COTERIE: Coterie(), **coteries}

    def member(self, name: str) -> User | None:
        """The member of that name: `bonnie`, or `bonnie@oce` as mail has it."""
        local, at, domain = name.rpartition("@")
        return self._members.login(local if at and domain.lower() == "oce" else name)

    def check_coterie(self, name: str) -> None:
        """Raises Refused when there is none of that name."""
        if name and name not in self._coteries:
            raise Refused("INVCOT")

    def recipients(self, dest: Dest, whence: str) -> tuple[User, ...]:
        """The members that a destination in our own tribe means; the sender is in the coterie `whence`.

        Raises Refused.
        """
        for name in dest.coteries:
            self.check_coterie(name)
        if dest.member:
            user = self.member(dest.member)
            if user is None:
                raise Refused("INVMBR")
            return (user,)
        if not dest.coteries and not dest.group:
            raise Refused("NODEF", "no member and no coterie is named")
        users: dict[int, User] = {}
        for user in self._of_coteries(dest, whence):
            users[user.id] = user
            if len(users) > MOST_MEMBERS:
                raise Refused("PERM", f"more than {MOST_MEMBERS} members in one message")
        return tuple(users.values())

    def _of_coteries(self, dest: Dest, whence: str) -> Iterator[User]:
        if isinstance(dest.coterie, Mapping):
            for name, groups in dest.coterie.items():
                names = [groups] if isinstance(groups, str) else groups or [""]
                if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
                    raise Refused("INVDAT", "Dest.Coterie: must have an array of groups for each coterie")
                for group in names:
                    yield from self._of_group(name.strip(), group)
        elif len(dest.coteries) > 1:  # then the group is ignored
            for name in dest.coteries:
                yield from self._of_group(name, "")
        else:
            yield from self._of_group("".join(dest.coteries) or whence or FIRST_COTERIE, dest.group)

    def _of_group(self, coterie: str, group: str) -> Iterator[User]:
        self.check_coterie(coterie)
        groups = self._coteries[coterie].groups
        if not group:
            if coterie == FIRST_COTERIE:
                yield from self._members.users()
                return
            chosen = [name for members in groups.values() for name in members]
        else:
            folded = {fold_name(name): members for name, members in groups.items()}
            if fold_name(group) not in folded:
                raise Refused("INVGRP")
            chosen = list(folded[fold_name(group)])
        for name in chosen:
            user = self._members.login(name)
            if user is not None:
                yield user
