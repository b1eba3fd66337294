"""Listeners at the start and at reloads, with a reactor in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ServerFactory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.edge.listeners import Listeners
from mailbridge.edges import Edge, Edges
from mailbridge.errors import StartError


class Made(ServerFactory):
    """A factory that keeps what it was made of."""

    def __init__(self, settings: Any, tls: bool) -> None:
        self.settings = settings
        self.tls = tls


class EdgesTests(SynchronousTestCase):
    """`Edges`."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.edges = Edges(Listeners(self.reactor))
        self.made: list[Made] = []

    def edge(self, port: int, settings: str = "first", tls: bool = False, wrap: Any = None) -> Edge:
        """A wanted listener."""
        def make(settings: Any, tls: bool) -> Made:
            self.made.append(Made(settings, tls))
            return self.made[-1]

        return Edge(f"tcp:{port}:interface=127.0.0.1", tls, settings, make, wrap)

    def ports(self) -> list[int]:
        """Every port that was ever opened."""
        return [port for port, *_ in self.reactor.tcpServers]

    def test_follow(self) -> None:
        """What stays takes its new settings with its port open; another port is opened, what is not wanted closed."""
        self.edges.open({"smtp[0]": self.edge(25), "pop3[0]": self.edge(110)})
        self.assertEqual(self.ports(), [25, 110])
        self.assertEqual(self.edges.follow({"smtp[0]": self.edge(25, "second"), "oce": self.edge(1895)}), [])
        self.assertEqual(self.ports(), [25, 110, 1895])
        self.assertEqual([each.settings for each in self.made], ["second", "first", "first"])
        self.assertEqual(self.edges.follow({"smtp[0]": self.edge(26)}), [])
        self.assertEqual(self.ports()[-1], 26)

    def test_closed_opens_anew(self) -> None:
        """What was closed is opened again by the next reload, with another factory; closing twice is nothing."""
        self.edges.open({"oce": self.edge(1895)})
        self.edges.close("oce")
        self.edges.close("oce")
        self.edges.follow({"oce": self.edge(1895)})
        self.assertEqual((self.ports(), len(self.made)), ([1895, 1895], 2))

    def test_tls(self) -> None:
        """A listener in TLS is wrapped; without a certificate it is no start, and a note at a reload."""
        wrapped: list[Any] = []

        def wrap(factory: Any) -> Any:
            wrapped.append(factory)
            return factory

        self.edges.open({"smtp[0]": self.edge(465, tls=True, wrap=wrap)})
        self.assertEqual((wrapped, self.made[0].tls), (self.made, True))
        with self.assertRaises(StartError) as raised:
            self.edges.open({"pop3[0]": self.edge(995, tls=True)})
        self.assertIn("[tls]", str(raised.exception))
        (note,) = self.edges.follow({"smtp[0]": self.edge(465, tls=True, wrap=wrap),
                                     "pop3[0]": self.edge(995, tls=True)})
        self.assertIn("pop3[0]", note)

    def test_port_in_use(self) -> None:
        """At a reload a port that is taken is a note, and the others are open."""
        def refuse(*_: Any, **__: Any) -> Any:
            raise CannotListenError("127.0.0.1", 25, OSError(98, "Address already in use"))

        self.reactor.listenTCP = refuse  # type: ignore[method-assign]
        (note,) = self.edges.follow({"smtp[0]": self.edge(25)})
        self.assertIn("smtp[0]: cannot listen", note)

    def test_trusts(self) -> None:
        """Only a listener for mail trusts anybody, and only one that is open."""
        self.edges.open({"oce": self.edge(1895)})
        self.assertFalse(self.edges.trusts("oce", "127.0.0.1"))
        self.assertFalse(self.edges.trusts("smtp[0]", "127.0.0.1"))
