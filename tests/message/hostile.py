"""How long something takes, in processor time of this thread: what else runs on the machine does not count."""

from __future__ import annotations

import time
from collections.abc import Callable


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds that `work` took."""
    started = time.thread_time()
    work()
    return time.thread_time() - started
