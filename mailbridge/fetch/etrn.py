"""ETRN (RFC 1985): telling the provider's server that we are there and it may send what it has for our domains.

Only a server that offers it is asked. Nothing that goes wrong here keeps mail from being collected: it is logged.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.logger import Logger

from mailbridge.edge.sending import Manner, Server, open_session
from mailbridge.smtp.answer import Answer
from mailbridge.smtp.steps import Phase, Say, Steps, hear

_log = Logger()


async def send_etrn(reactor: Any, server: Server, client_name: str, domains: Sequence[str]) -> int:
    """Ask once for each domain; for how many the server said yes. Raises CancelledError when it is cancelled."""
    try:
        session = await open_session(reactor, server, Manner(client_name))
    except Exception as error:
        _log.error("ETRN: {server}: {error}", server=str(server), error=str(error) or type(error).__name__)
        return 0
    taken = 0
    try:
        if "ETRN" not in session.capabilities:
            _log.info("ETRN: {server} does not offer it", server=str(server))
            return 0
        for domain in domains:
            answer = await session.say(_ask(domain.encode("idna" if not domain.isascii() else "ascii")))
            taken += answer.positive
            _log.info("ETRN {domain}: {server}: {answer}", domain=domain, server=str(server), answer=str(answer))
        await session.quit()
    except Exception as error:
        _log.error("ETRN: {server}: {error}", server=str(server), error=str(error) or type(error).__name__)
    finally:
        session.close()
    return taken


def _ask(domain: bytes) -> Steps[Answer]:
    yield Say(b"ETRN " + domain + b"\r\n")
    return (yield from hear(Phase.RCPT))
