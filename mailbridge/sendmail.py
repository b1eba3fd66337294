"""Sending one message by SMTP or LMTP, for any Twisted program: `sendmessage`.

Unites what POE::Component::Client::SMTP and Tcllib's `smtp` can do. The Deferred always fires, once: with a
`SendResult`, or with a `SendFailure` that is keyed and has one readable line. Cancelling it closes the connection at
once. Nothing defaults to an address of anybody, passwords never travel in clear unless told, no text holds a secret.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from email.message import Message
from pathlib import Path
from typing import IO, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.failure import Failure

from mailbridge.edge.clienttls import Trust
from mailbridge.edge.sending import INSECURE, SECURE, Manner, Server, TLSPolicy
from mailbridge.sendjob import Delivery, Job, Progress
from mailbridge.sendresult import Kind, Refusal, SendFailure, SendResult
from mailbridge.smtp.steps import Phase

__all__ = ["INSECURE", "SECURE", "Kind", "Phase", "Refusal", "SendFailure", "SendResult", "Trust", "sendmessage"]

PORT, IMPLICIT_PORT = 25, 465
_TLS = ("opportunistic", "require", "implicit", "off")
_BCC = ("deliver", "digest")
_NOTIFY = ({"NEVER"}, {"SUCCESS", "FAILURE", "DELAY"})


def sendmessage(
    reactor: Any,
    message: bytes | str | Message | None = None,
    *,
    servers: str | Sequence[str] = ("localhost",),
    ports: int | Sequence[int] = (),
    client_name: str | None = None,
    originator: str | None = None,
    recipients: str | Sequence[str] | None = None,
    headers: Sequence[tuple[str, str]] = (),
    bcc: str = "deliver",
    at_least_one: bool = False,
    queue: bool = False,
    message_file: str | Path | None = None,
    file_handle: IO[Any] | None = None,
    tls: str = "opportunistic",
    tls_policy: TLSPolicy | None = None,
    trust: Trust | None = None,
    username: str | None = None,
    password: str | None = None,
    token: str | Callable[[], Any] | None = None,
    two_step: bool = False,
    external: bool = False,
    password_in_clear: bool = False,
    login_required: bool = True,
    timeout: float = 120.0,
    limits: Mapping[Phase, float] | None = None,
    bind_address: str | None = None,
    bind_port: int = 0,
    lmtp: bool = False,
    notify: Sequence[str] = (),
    ret: str | None = None,
    envid: str | None = None,
    context: object = None,
    transaction_log: bool | Callable[[str], object] = False,
    progress: Progress | None = None,
) -> Deferred[SendResult]:
    """Send a message to the first of `servers` that will talk to us. Fails with SendFailure (or, when it is cancelled,
    CancelledError), and with nothing else.

    * `message` is the whole message; `message_file` and then `file_handle` win over it and are read at once. A bare CR
      or LF becomes CR LF, a missing last CR LF is added.
    * `servers` and `ports` are walked in tandem; a missing port is 25 (465 for `tls="implicit"`). `client_name` is said
      in EHLO; default: this host's name, `localhost` if that is the only server.
    * `originator` empty is the null sender; None takes From of `headers` or of the message. `recipients` may be
      "from-message"; None takes To, Cc, Bcc and Dcc of `headers` (see `compose.Wishes`). With `at_least_one` refused
      recipients do not keep the message from the others. `queue` asks servers that know XQUE to queue.
    * `tls`: opportunistic, require, implicit or off; `tls_policy(code, text)` returns "secure" or "insecure" (or a
      Deferred of that) when TLS cannot be had; default: secure when a login would follow. `trust` says whom to believe;
      default: servers are verified, except that opportunistic TLS without login or policy takes any certificate,
      because what would follow a refusal is no TLS at all.
    * Login by `username` and `password`, `token` (a text, or a callable that may return a Deferred) or `external`.
      `two_step` makes XOAUTH2 wait for the server. With `login_required` false a refused login is no failure.
    * `timeout` seconds for everything from before the connect; `limits` seconds by phase beside it.
    * `notify`, `ret`, `envid` are delivery status wishes (RFC 3461), used where the server offers DSN.
    * `context` and, with `transaction_log`, the transcript (`<- ` heard, `-> ` said, secrets masked) come back with
      the result or the failure; a callable is given each line at once as well. `progress(sent, total)` is told octets.
    """
    listener = transaction_log if callable(transaction_log) else None
    job = Job(reactor, context, [] if transaction_log else None, listener)

    async def run() -> SendResult:
        try:
            choice = [servers] if isinstance(servers, str) else list(servers)
            doors = [ports] if isinstance(ports, int) else list(ports)
            wrong = _wrong(choice, doors, tls, bcc, notify, ret, timeout)
            if wrong is not None:
                raise job.failure(Kind.CONFIGURATION, wrong)
            login = job.login(username, password, token, two_step, external, password_in_clear, login_required)
            asked = login is not None or tls_policy is not None
            believed = trust if trust is not None else Trust(verify=tls != "opportunistic" or asked)
            doors += [IMPLICIT_PORT if tls == "implicit" else PORT] * len(choice)
            named = [Server(host, port, tls, lmtp, believed) for host, port in zip(choice, doors, strict=False)]
            name = client_name or ("localhost" if choice == ["localhost"] else socket.gethostname())
            if not name.isascii() or not name.isprintable() or " " in name:
                raise job.failure(Kind.CONFIGURATION, f"client_name {name!r} is no host name")
            octets = job.read(message, message_file, file_handle)
            envelopes = job.compose(octets, name, headers, originator, recipients, bcc)
            bind = (bind_address or "", bind_port) if bind_address or bind_port else None
            manner = Manner(name, login, tls_policy, limits or {}, bind, job.note)
            delivery = Delivery(at_least_one, queue, tuple(notify), ret, envid, progress)
            return await job.send(named, manner, envelopes, delivery)
        except (SendFailure, CancelledError):
            raise
        except Exception as error:  # arguments of a wrong type, mostly; their values may be secret
            line = f"sending failed with {type(error).__name__}; are all arguments of the right type?"
            raise job.failure(Kind.CONFIGURATION, line) from None

    sending: Deferred[SendResult] = Deferred.fromCoroutine(run())
    if not sending.called:
        sending.addTimeout(timeout, reactor)

    def too_late(failure: Failure) -> Failure:
        if failure.check(DeferredTimeout):
            return Failure(job.failure(Kind.TIMEOUT, f"not sent within {timeout:g} seconds"))
        return failure

    return sending.addErrback(too_late)


def _wrong(
    servers: list[str], ports: list[int], tls: str, bcc: str, notify: Sequence[str], ret: str | None, timeout: float
) -> str | None:
    """What is wrong with the arguments."""
    if not servers or not all(servers):
        return "there is no server to send to"
    if not all(0 < port < 65536 for port in ports):
        return "a port is a number from 1 to 65535"
    if tls not in _TLS:
        return f"tls is one of {', '.join(_TLS)}"
    if bcc not in _BCC:
        return f"bcc is one of {', '.join(_BCC)}"
    if isinstance(notify, str) or not any(set(notify) <= allowed for allowed in _NOTIFY):
        return "notify is a list: NEVER alone, or some of SUCCESS, FAILURE, DELAY"
    if ret not in (None, "FULL", "HDRS"):
        return "ret is FULL or HDRS"
    if not timeout > 0:
        return "timeout is a number of seconds above 0"
    return None
