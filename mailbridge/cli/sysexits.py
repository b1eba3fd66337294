"""What became of sending, as an exit code of sysexits.h, which programs that call sendmail know."""

from __future__ import annotations

import re

from mailbridge.sendmail import Kind, Refusal, SendFailure

OK = 0
USAGE = 64
DATA = 65
NO_INPUT = 66
NO_USER = 67
NO_HOST = 68
UNAVAILABLE = 69
SOFTWARE = 70
TEMPORARY = 75
NO_PERMISSION = 77
CONFIGURATION = 78
INTERRUPTED = 130

_ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}")
_BY_ENHANCED = {"5.1.1": NO_USER, "5.1.6": NO_USER, "5.2.1": NO_USER, "5.1.2": NO_HOST, "5.4.4": NO_HOST,
                "5.1.10": NO_HOST, "5.1.3": DATA, "5.3.4": DATA, "5.6.0": DATA}
_BY_CODE = {553: DATA, 552: DATA, 530: NO_PERMISSION, 534: NO_PERMISSION, 535: NO_PERMISSION, 538: NO_PERMISSION}
_BY_KIND = {Kind.CONFIGURATION: USAGE, Kind.MESSAGE: DATA, Kind.LOGIN: NO_PERMISSION, Kind.TLS: UNAVAILABLE,
            Kind.CONNECTION: TEMPORARY, Kind.TIMEOUT: TEMPORARY, Kind.SERVER: UNAVAILABLE}


def of_answer(code: int, text: str) -> int:
    """The exit code for a refusing SMTP answer: by its enhanced code (RFC 3463), else by its code."""
    if 400 <= code < 500:
        return TEMPORARY
    enhanced = next(iter(_ENHANCED.findall(text[:64])), "")
    if enhanced.startswith("5.7."):
        return NO_PERMISSION
    return _BY_ENHANCED.get(enhanced) or _BY_CODE.get(code, UNAVAILABLE)


def of_refused(refused: tuple[Refusal, ...]) -> int:
    """The exit code when some recipients were refused: that of the first; temporary only if all of them are."""
    codes = [of_answer(each.code, each.text) for each in refused]
    return next((code for code in codes if code != TEMPORARY), TEMPORARY) if codes else OK


def of_failure(failure: SendFailure) -> int:
    """The exit code when the message was not sent. Unknown trouble is temporary: trying again costs little."""
    if failure.kind is Kind.LOGIN and 400 <= failure.code < 500:
        return TEMPORARY
    if failure.kind is not Kind.SERVER or not failure.code:
        return TEMPORARY if failure.maybe_sent else _BY_KIND[failure.kind]
    if failure.refused:
        return of_refused(failure.refused)
    return of_answer(failure.code, failure.line.partition(str(failure.code))[2])
