"""The journal: what rooms write a line into, and the observer that adds the events of twisted.logger.

Rooms hold a `Journal | None`: where no log is set up there is none, and it costs nothing. Lines of a journal do not go
into the process's own log: an event of twisted.logger costs as much as the commit of a message.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent
from zope.interface import implementer

from mailbridge.logs.line import clean
from mailbridge.logs.sinks import Sink

_LETTERS = {
    LogLevel.critical: "E", LogLevel.error: "E", LogLevel.warn: "W", LogLevel.info: "I", LogLevel.debug: "T",
}


class Journal:
    """Lines by level to sinks, each with the letters it wants. `data`: the content of messages is wanted too."""

    def __init__(self, clock: IReactorTime, sinks: Sequence[tuple[str, Sink]], data: bool = False) -> None:
        self.data = data
        self._clock = clock
        self._sinks = {letter: [sink for letters, sink in sinks if letter in letters] for letter in "EWIT"}

    def wants(self, letter: str) -> bool:
        """Whether a line of that level would be seen by anybody."""
        return bool(self._sinks[letter])

    def note(self, letter: str, text: str, seconds: float | None = None) -> None:
        """One line of level `letter`, as of now or of `seconds` since 1970. Any text is taken; it must not hold a
        secret.
        """
        sinks = self._sinks[letter]
        if sinks:
            if seconds is None:
                seconds = self._clock.seconds()
            text = clean(text)
            for sink in sinks:
                sink.write(seconds, letter, text)


@implementer(ILogObserver)
class Events:
    """Puts the events of some namespaces into a journal. `only` and `but` are namespaces with all below them.

    A failure is told by its type and text; its traceback is in the process's own log.
    """

    def __init__(self, journal: Journal, only: Sequence[str] = ("mailbridge",), but: Sequence[str] = ()) -> None:
        self._journal = journal
        self._only = tuple(only)
        self._but = (*but, "mailbridge.logs")  # what a log says about itself does not go into it
        self._known: dict[str, bool] = {}

    def __call__(self, event: LogEvent) -> None:
        """One event."""
        letter = _LETTERS.get(event.get("log_level"))
        if letter is None or not self._journal.wants(letter) or not self._concerns(event.get("log_namespace") or ""):
            return
        text = formatEvent(event)
        failure = event.get("log_failure")
        if failure is not None:
            text += f": {failure.type.__name__}: {failure.getErrorMessage()}"
        self._journal.note(letter, text, event.get("log_time"))

    def _concerns(self, namespace: str) -> bool:
        known = self._known.get(namespace)
        if known is None:
            known = self._known[namespace] = _below(namespace, self._only) and not _below(namespace, self._but)
        return known


def _below(namespace: str, tops: tuple[str, ...]) -> bool:
    return any(namespace == top or namespace.startswith(top + ".") for top in tops)
