"""Who sends a request: an application inside the POD, or the OCE of another tribe that proves itself. Pure.

A stranger's octets are not even read as JSON: who is not in the POD must bring a proof that fits one of the tribes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import field, frozen

from mailbridge.oce.embedded.settings import RemoteTribe
from mailbridge.oce.keys import verify

HEADER = "X-OCE-Signature"


@frozen
class Request:
    """One HTTP request. `certificate()` is the SHA-256 of the client's certificate in hex, None when it showed none."""

    body: bytes = field(repr=False)
    peer: str = "127.0.0.1"
    signature: str | None = field(default=None, repr=False)
    certificate: Callable[[], str | None] = lambda: None


def proven(request: Request, tribes: Iterable[RemoteTribe], now: float) -> tuple[tuple[RemoteTribe, ...], str]:
    """The tribes whose proof the request brings, and what is wrong when there is none."""
    wrong = "no proof"
    found = []
    certificate: str | None = ""
    for tribe in tribes:
        if tribe.secret is not None:
            if request.signature is not None:
                fault = verify(tribe.secret, request.signature, now, request.body)
                if fault is None:
                    found.append(tribe)
                elif wrong == "no proof" or not fault.endswith("another secret"):
                    wrong = fault
        elif tribe.pin is not None:
            if certificate == "":
                certificate = request.certificate()
            if certificate is not None and certificate == tribe.pin.replace(":", "").lower():
                found.append(tribe)
    return tuple(found), wrong
