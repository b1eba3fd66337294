"""Wall-clock dates as mail writes them (RFC 5322 3.3). The clock itself is an argument everywhere: IReactorTime."""

from __future__ import annotations

from datetime import datetime
from email.utils import format_datetime
from functools import lru_cache


@lru_cache(maxsize=4)
def _date(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second).astimezone())


def rfc5322_date(seconds: float) -> str:
    """`Sat, 21 Nov 2026 12:00:00 +0000` in local time for seconds since 1970; made once a second."""
    return _date(int(seconds))
