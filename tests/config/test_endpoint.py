"""Endpoint descriptions, checked without opening anything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.endpoint import parse_endpoint

TAKEN = [
    # description, only this host reaches it
    ("tcp:25", False), ("tcp:0:interface=127.0.0.1", True), ("tcp:port=25", False),
    ("tcp:20001:interface=127.0.0.1", True),
    ("tcp:20001:interface=127.9.9.9:backlog=5", True), ("tcp:20001:interface=192.168.1.5", False),
    ("tcp:25:interface=", False), ("tcp:25:interface=0.0.0.0", False), ("tcp6:25", False),
    ("tcp6:25:interface=\\:\\:1", True),
    ("tcp:25:interface=\\:\\:1", True), ("unix:/run/mailbridge/smtp", True),
    ("unix:/run/x\\:y:mode=660:lockfile=0", True),
    ("unix:address=/run/x", True), ("systemd:domain=INET:index=0", False), ("systemd:domain=INET6:name=smtp", False),
    ("haproxy:tcp:25", False), ("haproxy:tcp:25:interface=127.0.0.1", False), ("haproxy:unix:/run/x", False),
]

REFUSED = [
    ("", "must be an endpoint"), (25, "must be an endpoint"), (None, "must be an endpoint"), ("25", "begins with tcp:"),
    ("smtp", "begins with tcp:"), ("tcp", "port must be 0 to 65535"), ("tcp:", "port must be"),
    ("tcp:smtp", "port must be"),
    ("tcp:65536", "port must be"), ("tcp:-1", "port must be"), ("tcp:٢٥", "port must be"), ("tcp:1_0", "port must be"),
    ("tcp:25:interface=eth0", "interface must be an address"), ("tcp:25:interface=localhost", "interface must be"),
    ("tcp:25:interface=::1", "write a colon inside a value as \\:"), ("tcp:25:127.0.0.1", "needs a key"),
    ("tcp6:25:interface=127.0.0.1", "is IPv4"), ("tcp:25:port=26", "given twice"), ("tcp:25:iface=x", 'no key "iface"'),
    ("tcp:25:backlog=many", "backlog must be"), ("tls:465", "tls = true"), ("ssl:465:privateKey=x", "tls = true"),
    ("unix:", "needs a path"), ("unix:/x:mode=rw", "mode must be octal"), ("unix:/x:mode=999", "mode must be octal"),
    ("unix:/x:lockfile=yes", "lockfile must be"), ("systemd:index=0", "needs domain"),
    ("systemd:domain=INET", "either index"),
    ("systemd:domain=INET:index=0:name=x", "either index"), ("systemd:domain=INET:index=x", "index must be"),
    ("haproxy", "begins with tcp:"), ("haproxy:", "begins with tcp:"), ("haproxy:haproxy:tcp:25", "begins with tcp:"),
    ("haproxy:ssl:25", "tls = true"), ("tcp:25\n", "control characters"), ("tcp:25\\", "backslash"),
    ("stdio:", "begins with"),
    ("fd:3", "begins with"), ("tcp=25", "begins with"),
]


class EndpointTests(SynchronousTestCase):
    """One description."""

    def test_taken(self) -> None:
        """What Twisted can listen on is taken, and it is known who can reach it."""
        for description, is_local in TAKEN:
            endpoint = parse_endpoint(description)
            self.assertEqual((endpoint.description, endpoint.is_local), (description, is_local))

    def test_refused(self) -> None:
        """Everything else is refused with a remedy."""
        for description, expected in REFUSED:
            error = self.assertRaises(ValueError, parse_endpoint, description)
            self.assertIn(expected, str(error), description)

    def test_twisted_agrees(self) -> None:
        """Twisted takes what is taken here (systemd's sockets are not there in a test)."""
        for description, _ in TAKEN:
            if not description.startswith("systemd"):
                serverFromString(MemoryReactor(), description)

    def test_collisions(self) -> None:
        """Two listeners that cannot be open at once are known."""
        for one, other, collide in [
            ("tcp:25", "tcp:25", True), ("tcp:25", "tcp:26", False), ("tcp:0", "tcp:0", False),
            ("tcp:25", "tcp:25:interface=127.0.0.1", True),
            ("tcp:25:interface=0.0.0.0", "tcp:25:interface=127.0.0.1", True),
            ("tcp:25:interface=127.0.0.1", "tcp:25:interface=127.0.0.2", False),
            ("tcp:25", "tcp6:25", False), ("tcp6:25", "tcp:25:interface=\\:\\:1", True),
            ("tcp:25", "haproxy:tcp:25", True),
            ("unix:/a", "unix:/a:mode=600", True), ("unix:/a", "unix:/b", False),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=0", True),
            ("systemd:domain=INET:index=0", "systemd:domain=INET:index=1", False),
        ]:
            self.assertEqual(parse_endpoint(one).collides(parse_endpoint(other)), collide, (one, other))
            self.assertEqual(parse_endpoint(other).collides(parse_endpoint(one)), collide, (other, one))

    @given(st.lists(st.sampled_from(["tcp", "tcp6", "unix", "haproxy", "systemd", ":", "=", "\\", "25", "interface",
    "mode",
                                     "127.0.0.1", "::1", "660", "/x", "é", " ", "backlog", "lockfile", "0"]),
                                     max_size=9))
    def test_any_description(self, parts: list[str]) -> None:
        """Any text is an endpoint that Twisted takes too, or a ValueError."""
        description = "".join(parts)
        try:
            endpoint = parse_endpoint(description)
        except ValueError:
            return
        if endpoint.kind != "systemd":
            serverFromString(MemoryReactor(), description)
