"""Who wants to know what changed: callbacks by topic, called in the reactor's thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.logger import Logger

log = Logger()


class Watchers:
    """Topics are "people", "lanes" and "maildrop:7"."""

    def __init__(self) -> None:
        self._callbacks: dict[str, list[Callable[[], object]]] = {}

    def add(self, topic: str, callback: Callable[[], object]) -> Callable[[], None]:
        """Call `callback` after each change to `topic`, until the function that is returned is called."""
        self._callbacks.setdefault(topic, []).append(callback)

        def end() -> None:
            callbacks = self._callbacks.get(topic, [])
            if callback in callbacks:
                callbacks.remove(callback)
                if not callbacks:
                    del self._callbacks[topic]

        return end

    def tell(self, topics: Iterable[str], maildrops: Iterable[int]) -> None:
        """Call those who watch; an error of one is logged and hurts nobody else."""
        if not self._callbacks:
            return
        for topic in [*topics, *(f"maildrop:{user}" for user in maildrops)]:
            for callback in tuple(self._callbacks.get(topic, ())):
                try:
                    callback()
                except Exception:
                    log.failure("a watcher of {topic} failed", topic=topic)
