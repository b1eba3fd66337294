"""The tribe: what is answered to a message, and what has to be done before (reference: oce-usds.md 8).

A message and its proven sender in, an answer or a deed out; nothing is stored, sent or waited for here. The order of
the checks is that of the reference: what it is, who sends it, whether he may, what is in it, for whom it is.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from attrs import evolve

from mailbridge.oce import codes, strictjson, usds
from mailbridge.oce.calls import Answer
from mailbridge.oce.embedded.applications import Applications
from mailbridge.oce.embedded.deeds import APPLICATION_LANE, TRIBE_LANE, Copy, Deed, Refused, Send
from mailbridge.oce.embedded.destination import Commons, Members, Stop, stops
from mailbridge.oce.embedded.registry import Application, Registry
from mailbridge.oce.embedded.settings import OCESettings, RemoteTribe
from mailbridge.oce.strictjson import BadJSON
from mailbridge.oce.tribes import OCE, Tribes
from mailbridge.oce.usds import OCE_OP, QMSG, USDS, Adjunct, Source, USDSError
from mailbridge.store.changes import User

KEY_OCTETS = 32
NOTICE = "oce/notice"
"""The type of the Adjunct of what the OCE itself tells a member; about these nobody is told."""
STRUCTURE = 1_200_000
"""Commas and opening brackets in one request: three octets can become a hundred in memory, so not only octets count.
A text and an Adjunct of the largest size that are commas and nothing else are allowed."""
SEEN = "usds:"
"""The prefix of keys of messages that were taken."""


def understand(octets: bytes, largest: int = strictjson.LARGEST) -> USDS | Answer:
    """The message in the octets of a request, or the answer when there is none in them."""
    try:
        if not octets.strip():
            raise Refused("EMPTY")
        if len(octets) > STRUCTURE and sum(map(octets.count, (b",", b"[", b"{"))) > STRUCTURE:
            raise Refused("INVMSG", "far too many values")
        try:
            values = strictjson.read(octets, largest)
        except BadJSON as error:
            raise Refused("INVMSG", str(error)) from None
        if not isinstance(values, dict):
            raise Refused("INVMSG", "it must be one JSON object")
        kind = values.get("msgType", QMSG if values.get("Func") == QMSG else None)
        if kind not in (QMSG, OCE_OP):
            raise Refused("INVTYP")
        try:
            return usds.read(values)
        except USDSError as error:
            raise Refused("INVDAT", str(error)) from None
    except Refused as refused:
        return refused.answer


class Tribe:
    """`key` is the key of our OCE. `random(n)` gives n octets that cannot be guessed, for messages without a key."""

    def __init__(self, key: str, settings: OCESettings, members: Members, registry: Registry,
                 random: Callable[[int], bytes]) -> None:
        self.key = key
        self.registry = registry
        self.commons = Commons(members, settings.coteries)
        self._settings = settings
        self._applications = Applications(settings, self.commons, registry)
        self._random = random
        self._remote = {tribe.key.casefold(): tribe for tribe in settings.tribes}
        self._tribes = Tribes(key, {tribe.name: tribe.key for tribe in settings.tribes})

    def claimed(self, source: Source) -> RemoteTribe | None:
        """The tribe that a message says to come from, which must be proven; None for an application of our own.

        The older form has the key of the tribe in the place of that of the application. Raises Refused.
        """
        key = source.oce.casefold()
        if key and key != self.key.casefold():
            if key not in self._remote:
                raise Refused("INVOCE", "Source.OCE is not known here")
            return self._remote[key]
        return self._remote.get(source.app_key.casefold()) if not key else None

    def judge(self, message: USDS, sender: RemoteTribe | None = None) -> Answer | Deed:
        """What is answered, or has to be done first. `sender` is the tribe that proved to have sent it."""
        try:
            if sender is not None:
                return self._from_tribe(message, sender)
            if message.msg_type == OCE_OP:
                return self._applications.judge(message)
            application = self._applications.sender(message.source)
            return self._take(message, application, application.app_id, Source(
                message.source.member, message.source.coterie, application.app_id, extra=message.source.extra))
        except Refused as refused:
            return refused.answer

    def _from_tribe(self, message: USDS, sender: RemoteTribe) -> Answer | Deed:
        source = message.source
        if message.msg_type == OCE_OP:
            raise Refused("INVFUNC", "another OCE can send messages, and nothing else")
        if not source.member:
            raise Refused("INVMBR", "Source.Member is missing")
        if not (message.msg_key or message.empty):  # who sees a request could send it again while its proof is good
            raise Refused("INVDAT", "MsgKey: is missing")
        return self._take(message, sender, source.app_id, Source(
            source.member, source.coterie, source.app_id, oce=sender.key, extra=source.extra))

    # --- messages -----------------------------------------------------------------------------------------------------

    def _take(self, message: USDS, sender: Application | RemoteTribe, app_id: str, source: Source) -> Deed:
        if message.empty:
            raise Refused("EMPTY")
        key = message.msg_key
        if key and not (key.isascii() and key.isprintable()):
            raise Refused("INVDAT", "MsgKey: must be printable ASCII")
        seen = f"{SEEN}{_name_of(sender)}:{key}" if key else None
        message = evolve(message, msg_type=QMSG, msg_key=key or self._random(KEY_OCTETS).hex().upper(), source=source)
        copies: list[Copy] = []
        for stop in stops(message.dest):
            copies += self._copies(message, stop, app_id, seen, abroad=isinstance(sender, RemoteTribe))
        return Send(tuple(copies))

    def _copies(self, message: USDS, stop: Stop, app_id: str, seen: str | None, abroad: bool) -> list[Copy]:
        if stop.oce and stop.oce.casefold() != self.key.casefold():
            tribe = self._remote.get(stop.oce.casefold())
            if tribe is None or abroad:  # we pass nothing on from one tribe to another
                raise Refused("INVOCE")
            return [self._onward(message, tribe, stop, seen)]
        if abroad and (stop.dest.group or not isinstance(stop.dest.coterie, str)):
            raise Refused("INVGRP", "groups are for the applications of a tribe, not for another OCE")
        users = self.commons.recipients(stop.dest, "" if abroad else message.source.coterie)
        if stop.dest.member:
            return [self._for_member(message, stop, users[0], app_id, seen)]
        author = self.commons.member(message.source.member) if not abroad else None
        copies = []
        for user in users:
            if user == author:
                continue
            own = sha256(f"{message.msg_key}\0{user.name}".encode()).hexdigest().upper()
            copy = evolve(message, msg_key=own)
            try:
                copies.append(self._for_member(copy, stop, user, app_id, seen and f"{seen}:{user.name}"))
            except Refused:
                continue  # one without an application does not keep the message from the others
        if not copies:
            raise Refused("NODEF", "nobody there has an application for it")
        return copies

    def _for_member(self, message: USDS, stop: Stop, user: User, app_id: str, seen: str | None) -> Copy:
        application = self.registry.receiving(app_id, user.name)
        if application is None:
            raise Refused("NODEF", "the member has no application for it")
        if not application.approved:
            raise Refused("PEND", "the application that would bring it is not approved yet")
        told = evolve(message, dest=evolve(stop.dest, member=user.name))
        return Copy(told, APPLICATION_LANE, application.queue, self._address(message.source), f"{user.name}@{OCE}",
                    seen)

    def _onward(self, message: USDS, tribe: RemoteTribe, stop: Stop, seen: str | None) -> Copy:
        if stop.dest.group or not isinstance(stop.dest.coterie, str):
            raise Refused("INVGRP", "groups of another tribe cannot be written to")
        told = evolve(message, source=evolve(message.source, oce=self.key), dest=evolve(stop.dest, oce=tribe.key))
        recipient = f"{stop.dest.member or stop.dest.coterie}@{tribe.name}.{OCE}"
        return Copy(told, TRIBE_LANE, tribe.name, self._address(message.source), recipient,
                    seen and f"{seen}:{tribe.key}")

    def _address(self, source: Source) -> str:
        return source.member if "@" in source.member else f"{source.member}@{self._tribes.domain(source.oce)}"

    # --- what the OCE itself has to say -------------------------------------------------------------------------------

    def notice(self, message: USDS, recipient: str, why: str) -> Copy | None:
        """What the sender of a message is told that could not be delivered; None when there is nobody to tell."""
        adjunct = message.adjunct
        user = self.commons.member(message.source.member)
        if user is None or (adjunct is not None and adjunct.type == NOTICE):
            return None
        text = (f"The message could not be delivered to {recipient}:\n\n{why}\n\n"
                f"It was: {message.summary or '(without a subject)'}\n")
        told = USDS(
            QMSG, Source("postmaster", app_id=message.source.app_id), summary="Not delivered: " + message.summary[:140],
            detail=text, adjunct=Adjunct(message.msg_key, NOTICE, "key of the message that was not delivered"),
            msg_key=sha256(f"notice\0{message.msg_key}".encode()).hexdigest().upper(),
        )
        try:
            return self._for_member(told, Stop("", usds.Dest()), user, message.source.app_id, None)
        except Refused:
            return None


def done(number: int, mesg: strictjson.Json = None) -> Answer:
    """The answer of a success."""
    return Answer(number, codes.described(number).id, mesg)


RECEIVED = done(codes.RECEIVED)
REPEATED = done(codes.LOOP)


def _name_of(sender: Application | RemoteTribe) -> str:
    """Whose keys are compared: those of one sending OCE, and of one application of our own."""
    return f"tribe:{sender.key.casefold()}" if isinstance(sender, RemoteTribe) else f"own:{sender.queue}"
