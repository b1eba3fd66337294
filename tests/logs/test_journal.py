"""The journal and the events of twisted.logger."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, LogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailbridge.logs.journal import Events, Journal

from .sinks import Lines


class JournalTests(SynchronousTestCase):
    """Levels and sinks."""

    def test_letters(self) -> None:
        """Each sink gets the levels it wants, as one clean line with the time."""
        clock = Clock()
        clock.advance(7)
        all_of_it, errors = Lines(), Lines()
        journal = Journal(clock, [("EWIT", all_of_it), ("EW", errors)])
        for letter in "EWIT":
            journal.note(letter, f"{letter}\nline", None if letter == "E" else 5.0)
        self.assertEqual(all_of_it.texts, [f"{letter} {letter}\\nline" for letter in "EWIT"])
        self.assertEqual(all_of_it.times, [7.0, 5.0, 5.0, 5.0])
        self.assertEqual(errors.texts, all_of_it.texts[:2])

    def test_wants(self) -> None:
        """Whoever has a line that costs much can ask whether anybody wants it."""
        journal = Journal(Clock(), [("EW", Lines()), ("I", Lines())])
        self.assertEqual([journal.wants(letter) for letter in "EWIT"], [True, True, True, False])


class EventsTests(SynchronousTestCase):
    """What the bridge logs anyway."""

    def setUp(self) -> None:
        self.lines = Lines()
        self.publisher = LogPublisher()

    def observe(self, letters: str, *, but: tuple[str, ...] = ()) -> None:
        events = Events(Journal(Clock(), [(letters, self.lines)]), but=but)
        verifyObject(ILogObserver, events)
        self.publisher.addObserver(events)

    def logger(self, namespace: str) -> Logger:
        return Logger(namespace, observer=self.publisher)

    def test_levels(self) -> None:
        """critical and error are E, then W, I, and debug is T."""
        self.observe("EWIT")
        log = self.logger("mailbridge.edge.smtp")
        for level in ("critical", "error", "warn", "info", "debug"):
            getattr(log, level)("{word} text", word=level)
        self.assertEqual(self.lines.texts, [
            "E critical text", "E error text", "W warn text", "I info text", "T debug text",
        ])
        self.assertGreater(self.lines.times[0], 1_700_000_000)

    def test_namespaces(self) -> None:
        """Others' events, those that belong to another log, and those of the logs themselves are not taken."""
        self.observe("EWIT", but=("mailbridge.fetch",))
        for namespace in ("mailbridge", "mailbridge.queue.runner", "mailbridgeother", "twisted.web", "mailbridge.fetch",
                          "mailbridge.fetch.cycle", "mailbridge.fetcher", "mailbridge.logs.file"):
            self.logger(namespace).info(namespace)
        self.assertEqual(self.lines.texts, ["I mailbridge", "I mailbridge.queue.runner", "I mailbridge.fetcher"])

    def test_failure(self) -> None:
        """A failure is one line with its type and text."""
        self.observe("E")
        log = self.logger("mailbridge.store")
        try:
            raise OSError("disk\ngone")
        except OSError:
            log.failure("could not")
        self.assertEqual(self.lines.texts, ["E could not: OSError: disk\\ngone"])

    def test_odd_events(self) -> None:
        """An event without level or namespace, or that cannot be formatted, hurts nobody."""
        self.observe("EWIT")
        self.publisher({"log_format": "x"})
        self.logger("mailbridge").info("{missing}")
        self.assertEqual(len(self.lines.texts), 1)
