"""Client lists: who is on them and who is not."""

from __future__ import annotations

import contextlib
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.routing.access import AccessList, parse_entry


class AccessListTests(SynchronousTestCase):
    """Lists as an operator writes them."""

    def test_entries(self) -> None:
        """An entry names its addresses, ends included, and no others."""
        for entry, inside, outside in [
            ("192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.6", "192.0.2.8", "::192.0.2.7", ""]),
            ("10.1.0.0/16", ["10.1.0.0", "10.1.255.255"], ["10.0.255.255", "10.2.0.0"]),
            ("192.168.1.0-192.168.1.31", ["192.168.1.0", "192.168.1.31"], ["192.168.0.255", "192.168.1.32"]),
            (" 192.168.1.0 - 192.168.1.31 ", ["192.168.1.30"], ["192.168.1.32"]),
            ("192.0.2.7-192.0.2.7", ["192.0.2.7"], ["192.0.2.8"]),
            ("localhost", ["127.0.0.1", "127.255.255.255", "::1", "::ffff:127.0.0.1"],
             ["128.0.0.1", "::2", "localhost"]),
            ("LocalHost", ["::1"], []),
            ("2001:db8::/32", ["2001:db8::1", "2001:DB8:0::1"], ["2001:db9::", "192.0.2.1"]),
            ("fd00::1-fd00::ff", ["fd00::1", "fd00::ff"], ["fd00::", "fd00::100"]),
            ("::ffff:192.0.2.7", ["192.0.2.7", "::ffff:192.0.2.7"], ["192.0.2.8"]),
            ("::ffff:10.0.0.0/104", ["10.9.8.7", "::ffff:10.9.8.7"], ["11.0.0.0", "::1"]),
            ("0.0.0.0/0", ["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], ["::1"]),
            ("::/0", ["::", "fe80::1", "fe80::1%eth0"], ["1.2.3.4"]),
        ]:
            access = AccessList.parse([entry])
            for peer in inside:
                self.assertTrue(access.allows(peer), (entry, peer))
            for peer in outside:
                self.assertFalse(access.allows(peer), (entry, peer))

    def test_errors(self) -> None:
        """A wrong entry is named, with the right way to write it."""
        for entry, expected in [
            ("", "is no client"),
            ("mail.example.org", "no host name"),
            ("my-server", "no host name"),
            ("192.168.1.31-192.168.1.0", "write 192.168.1.0-192.168.1.31"),
            ("192.168.1.1-fd00::1", "begins as IPv4 and ends as IPv6"),
            ("192.168.1.5/24", "write 192.168.1.0/24"),
            ("192.168.1.0/33", "is no network"),
            ("192.168.1.0/x", "is no network"),
            ("192.168.1", "is no client"),
            ("192.168.1.0-", "is no client"),
            ("192.168.1.0-31", "is no client"),
            ("192.168.1.256", "is no client"),
            ("127.1", "is no client"),
            ("010.0.0.1", "is no client"),
            ("1.2.3.4 5.6.7.8", "is no client"),
            ("١٢٧.0.0.1", "is no client"),
        ]:
            error = self.assertRaises(ValueError, AccessList.parse, ["127.0.0.1", entry])
            self.assertIn(expected, str(error), entry)
            self.assertIn(f'"{entry.strip()}"', str(error))

    def test_empty(self) -> None:
        """An empty list names nobody."""
        self.assertFalse(AccessList.parse([]).allows("127.0.0.1"))

    def test_odd_peers(self) -> None:
        """What is no address is on no list, and raises nothing."""
        access = AccessList.parse(["0.0.0.0/0", "::/0"])
        for peer in ("", "localhost", "1.2.3", "1.2.3.4:25", "[::1]", "\0", "/run/socket", "1" * 10_000, "١.2.3.4"):
            self.assertFalse(access.allows(peer), peer)

    def test_overlaps(self) -> None:
        """Entries that overlap, touch or contain one another work together."""
        access = AccessList.parse(["10.0.0.0/8", "10.1.2.3", "11.0.0.0-11.0.0.5", "10.0.0.0-10.0.0.1", "9.9.9.9"])
        for peer, allowed in [("10.255.0.1", True), ("10.1.2.3", True), ("11.0.0.5", True), ("11.0.0.6", False),
                              ("9.9.9.9", True), ("9.9.9.8", False)]:
            self.assertEqual(access.allows(peer), allowed, peer)

    def test_memory_is_bounded(self) -> None:
        """However many strangers ask, only so many answers are remembered, and they stay right."""
        access = AccessList.parse(["10.0.0.0/24"])
        for number in range(5000):
            access.allows(str(IPv4Address(number)))
        self.assertLessEqual(len(access._known), 1024)
        self.assertTrue(access.allows("10.0.0.9"))

    def test_size(self) -> None:
        """A span knows how many addresses it has."""
        self.assertEqual([span.size for span in parse_entry("localhost")], [2**24, 1])

    @given(st.lists(st.ip_addresses(v=4).map(str) | st.ip_addresses(v=6).map(str), max_size=8),
           st.lists(st.tuples(st.ip_addresses(v=4), st.integers(0, 32)), max_size=4), st.ip_addresses().map(str))
    def test_agrees_with_definition(self, singles: list[str], nets: list[tuple[IPv4Address, int]], peer: str) -> None:
        """The fast answer is that of the plain definition."""
        networks = [ip_network((address, length), strict=False) for address, length in nets]
        access = AccessList.parse([*singles, *map(str, networks)])
        listed = {_plain(single) for single in singles}
        for candidate in [peer, *singles, *(str(network[-1]) for network in networks)]:
            found = _plain(candidate)
            expected = found in listed or any(found in network for network in networks)
            self.assertEqual(access.allows(candidate), expected, candidate)

    @given(st.text(alphabet="0123456789abcdef.:-/ l%", max_size=40))
    def test_only_value_errors(self, entry: str) -> None:
        """Any text is an entry or a ValueError."""
        with contextlib.suppress(ValueError):
            AccessList.parse([entry])
        self.assertIn(AccessList.parse(["::1"]).allows(entry), (True, False))


def _plain(text: str) -> IPv4Address | IPv6Address:
    """An address, as IPv4 when it is one mapped into IPv6."""
    address = ip_address(text)
    return getattr(address, "ipv4_mapped", None) or address
