"""From the greeting to a session that is logged in: TLS by policy, then the login. Steps, without I/O.

`open_steps` yields commands, and is sent an Answer or Challenge, with CAPA an (Answer, text); it yields ENCRYPT when
TLS is to begin. So the order of things reads from top to bottom. Nothing heard in clear counts after TLS has begun.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from enum import Enum
from hashlib import md5
from typing import Any

from attrs import frozen

from mailbridge.pop3 import commands
from mailbridge.pop3.answer import Answer, Challenge, time_stamp
from mailbridge.pop3.capabilities import NONE, Capabilities
from mailbridge.pop3.commands import Command
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.pop3.upstream import APOP, AUTO, MECHANISMS, USER, UpstreamLogin
from mailbridge.sasl.client import ClientMechanism, CramMD5, Login, MechanismFailed, Plain, Scram, XOAuth2
from mailbridge.sasl.values import SASLError

IMPLICIT, REQUIRE, OPPORTUNISTIC, OFF = "implicit", "require", "opportunistic", "off"
TLS_MODES = (IMPLICIT, REQUIRE, OPPORTUNISTIC, OFF)
"""TLS from the first octet; STLS or nothing; STLS if it is offered; never."""
MOST_CHALLENGES = 8
"""No mechanism needs more; a hostile server could go on for ever."""
_IN_CLEAR = frozenset({"PLAIN", "LOGIN", "XOAUTH2"})
_FINAL = frozenset({"IN-USE", "LOGIN-DELAY", "SYS/TEMP", "SYS/PERM"})
_NONCE_OCTETS = 18


class Encrypt(Enum):
    """The one step that is no command."""

    ENCRYPT = "begin TLS"


Steps = Generator[Command | Encrypt, Any, "Opened"]


@frozen
class Opened:
    """What a session begins with. `login` names how we got in: a mechanism, `APOP` or `USER`."""

    capabilities: Capabilities
    login: str
    encrypted: bool


def open_steps(tls: str, login: UpstreamLogin, loopback: bool, random: Callable[[int], bytes]) -> Steps:
    """All of it. `tls` is one of TLS_MODES; with IMPLICIT the handshake comes first. Raises UpstreamError."""
    if tls == IMPLICIT:
        yield Encrypt.ENCRYPT
    greeting: Answer = yield commands.GREETING
    if not greeting.positive:
        raise _refused("the server refused the session", greeting)
    capabilities = yield from _ask_capabilities()
    encrypted = tls == IMPLICIT
    if tls in (REQUIRE, OPPORTUNISTIC):
        encrypted = yield from _start_tls(tls, capabilities)
        if encrypted:
            capabilities = yield from _ask_capabilities()
    may_show = encrypted or loopback or login.in_clear
    try:
        name = yield from _log_in(login, capabilities, greeting, may_show, random)
    except SASLError as error:
        raise UpstreamError(Kind.LOGIN, str(error)) from None
    return Opened(capabilities, name, encrypted)


def _ask_capabilities() -> Generator[Command, Any, Capabilities]:
    answer, text = yield commands.CAPA
    return Capabilities.parse(text) if answer.positive else NONE


def _start_tls(tls: str, capabilities: Capabilities) -> Generator[Command | Encrypt, Any, bool]:
    """Whether TLS has begun. STLS is said only where it is offered."""
    why = "the server does not offer STLS"
    if "STLS" in capabilities:
        answer: Answer = yield commands.STLS
        if answer.positive:
            yield Encrypt.ENCRYPT
            return True
        why = f"the server refused STLS: {answer}"
    if tls == REQUIRE:
        raise UpstreamError(Kind.TLS, why)
    return False


def _log_in(
    login: UpstreamLogin, capabilities: Capabilities, greeting: Answer, may_show: bool, random: Callable[[int], bytes]
) -> Generator[Command, Any, str]:
    """How we got in. One login that keeps the password to itself is tried, and one that shows it: guessing locks
    accounts."""
    if login.auth == APOP:
        yield from _apop(login, greeting)
        return "APOP"
    refusal: Answer | None = None
    tried: set[bool] = set()
    for mechanism in _mechanisms(login, capabilities, may_show, random):
        shows = mechanism.name in _IN_CLEAR
        if shows in tried:
            continue
        tried.add(shows)
        refusal = yield from _authenticate(mechanism)
        if refusal.positive:
            return mechanism.name
        if refusal.code in _FINAL:
            break
    final = refusal is not None and refusal.code in _FINAL
    if True not in tried and may_show and not final and _may_say_user(login, capabilities):
        yield from _say_user(login)
        return "USER"
    if refusal is not None:
        raise _failed(refusal)
    if not may_show:
        raise UpstreamError(Kind.LOGIN, "no TLS, and the server has no login that keeps the password to itself")
    raise UpstreamError(
        Kind.LOGIN, f"the server offers no login that may be used here (it has: {', '.join(capabilities.mechanisms)})"
    )


def _mechanisms(
    login: UpstreamLogin, capabilities: Capabilities, may_show: bool, random: Callable[[int], bytes]
) -> list[ClientMechanism]:
    """Those that may be tried, strongest first; one that was asked for by name whether it is offered or not."""
    made: list[ClientMechanism] = []
    try:
        if login.token is not None:
            made = [XOAuth2(login.user, login.token, two_step=True)]
        elif login.password is not None:
            nonce = random(_NONCE_OCTETS).hex().encode("ascii")
            made = [
                Scram(login.user, login.password, nonce), CramMD5(login.user, login.password),
                Plain(login.user, login.password), Login(login.user, login.password),
            ]
    except MechanismFailed as error:
        raise UpstreamError(Kind.LOGIN, str(error)) from None
    wanted = capabilities.mechanisms if login.auth == AUTO else (MECHANISMS.get(login.auth, ""),)
    if login.auth == AUTO and login.token is not None:
        wanted = ("XOAUTH2",)  # there is nothing else to do with a token, and some servers do not list it
    return [each for each in made if each.name in wanted and (may_show or each.name not in _IN_CLEAR)]


def _authenticate(mechanism: ClientMechanism) -> Generator[Command, Any, Answer]:
    """The server's last word on one SASL login (RFC 5034)."""
    initial = mechanism.start()
    answer: Answer | Challenge = yield commands.auth(mechanism.name)
    for _ in range(MOST_CHALLENGES):
        if isinstance(answer, Answer):
            if answer.positive and not mechanism.satisfied:
                raise UpstreamError(
                    Kind.PROTOCOL, f"the server took {mechanism.name} without proving that it knows the password"
                )
            return answer
        try:
            octets = mechanism.step(answer.octets) if initial is None else initial
        except MechanismFailed:
            answer = yield commands.CANCEL
            if isinstance(answer, Challenge) or answer.positive:
                raise UpstreamError(Kind.PROTOCOL, "the server goes on with a login that was given up") from None
            return answer
        initial = None
        answer = yield commands.response(octets, mechanism.secrets)
    raise UpstreamError(Kind.PROTOCOL, "the server's login has no end")


def _may_say_user(login: UpstreamLogin, capabilities: Capabilities) -> bool:
    if login.password is None or login.auth not in (AUTO, USER):
        return False
    return login.auth == USER or "USER" in capabilities or not capabilities.known


def _say_user(login: UpstreamLogin) -> Generator[Command, Any, None]:
    assert login.password is not None
    secret = commands.password(login.password)
    for command in (commands.user(login.user), secret):
        answer: Answer = yield command
        if not answer.positive:
            raise _failed(answer)


def _apop(login: UpstreamLogin, greeting: Answer) -> Generator[Command, Any, None]:
    """RFC 1939 7. Opt-in only: MD5 of a text that the server chose."""
    stamp = time_stamp(greeting)
    if stamp is None or login.password is None:
        raise UpstreamError(Kind.LOGIN, "APOP needs a password, and a greeting with a proper time stamp")
    digest = md5(stamp + commands.word(login.password), usedforsecurity=False).hexdigest()
    answer: Answer = yield commands.apop(login.user, digest)
    if not answer.positive:
        raise _failed(answer)


def _failed(answer: Answer) -> UpstreamError:
    return UpstreamError(Kind.LOGIN, f"the server refused the login: {answer}", answer.code)


def _refused(text: str, answer: Answer) -> UpstreamError:
    return UpstreamError(Kind.REFUSED, f"{text}: {answer}", answer.code)
