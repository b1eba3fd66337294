"""The trace lines put on top of a message, and that a peer cannot write in them."""

from __future__ import annotations

import re
from email.utils import parsedate_to_datetime

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL, Address, parse_mailbox
from mailbridge.clock import rfc5322_date
from mailbridge.content import Content
from mailbridge.envelope import Origin
from mailbridge.errors import AddressError
from mailbridge.received import maildrop_size, received_header, return_path

NOON = 1_795_262_400.0
ORIGIN = Origin("smtp[0]", "192.0.2.7", "client.example", None, None, NOON, "ESMTP")
BONNIE = Address("bonnie", "example.org")


def header(origin: Origin = ORIGIN, recipient: Address | None = BONNIE) -> bytes:
    """A Received line of this bridge."""
    return received_header(origin, "bridge.example.org", "abc123", recipient)


class ReceivedTests(SynchronousTestCase):
    """The Received line (RFC 5321 4.4)."""

    def test_form(self) -> None:
        """It says from whom, by whom, how, under which id, for whom and when."""
        unfolded = header().replace(b"\r\n\t", b" ").decode()
        match = re.fullmatch(
            r"Received: from client\.example \(\[192\.0\.2\.7\]\) by bridge\.example\.org with ESMTP id abc123"
            r" for <bonnie@example\.org>; (.*)\r\n", unfolded,
        )
        assert match is not None
        self.assertEqual(parsedate_to_datetime(match[1]).timestamp(), NOON)

    def test_several_recipients(self) -> None:
        """With several recipients none is named, so that no blind copy is given away (RFC 5321 7.2)."""
        self.assertNotIn(b"for <", header(recipient=None))

    def test_ipv6(self) -> None:
        """An IPv6 peer is written as an address literal is."""
        self.assertIn(b"([IPv6:2001:db8::1])", header(evolve(ORIGIN, peer="2001:db8::1")))

    def test_local_work(self) -> None:
        """Mail that came from no network says so."""
        self.assertIn(b"from unknown (local)", header(evolve(ORIGIN, peer="", helo="")))

    def test_tls(self) -> None:
        """TLS is told with its version and cipher."""
        octets = header(evolve(ORIGIN, tls="TLSv1.3:TLS_AES_256_GCM_SHA384"))
        self.assertIn(b"(using TLSv1.3:TLS_AES_256_GCM_SHA384)", octets)

    def test_utf8_recipient(self) -> None:
        """A recipient outside of ASCII is left out rather than mangled."""
        self.assertNotIn(b"for <", header(recipient=parse_mailbox("jürgen@x".encode())))

    @given(st.text(max_size=300), st.text(max_size=60), st.text(max_size=60))
    def test_no_injection(self, helo: str, peer: str, tls: str) -> None:
        """Whatever a peer calls itself, there is one header field, in ASCII, and only our own line ends."""
        octets = header(evolve(ORIGIN, helo=helo, peer=peer, tls=tls))
        self.assertTrue(octets.isascii())
        self.assertTrue(octets.endswith(b"\r\n"))
        unfolded = octets[:-2].replace(b"\r\n\t", b"")
        self.assertNotIn(b"\r", unfolded)
        self.assertNotIn(b"\n", unfolded)
        self.assertNotIn(b"\0", unfolded)
        self.assertEqual(unfolded.count(b";"), 1)
        self.assertLess(max(map(len, octets.split(b"\r\n"))), 998)

    def test_line_length(self) -> None:
        """The longest HELO and the longest recipient do not make a line over 998 octets (RFC 5322 2.1.1)."""
        longest = Address("l" * 255, "d" * 255)
        octets = header(evolve(ORIGIN, helo="h" * 10_000, peer="p" * 10_000, tls="t" * 10_000), longest)
        self.assertLess(max(map(len, octets.split(b"\r\n"))), 998)


class ReturnPathTests(SynchronousTestCase):
    """The Return-Path line."""

    def test_form(self) -> None:
        """It holds the sender, or `<>` for a bounce."""
        self.assertEqual(return_path(BONNIE), b"Return-Path: <bonnie@example.org>\r\n")
        self.assertEqual(return_path(NULL), b"Return-Path: <>\r\n")

    @given(st.binary(min_size=1, max_size=60))
    def test_no_injection(self, local: bytes) -> None:
        """No sender that parses can add a line."""
        try:
            sender = parse_mailbox(b'"' + local + b'"@x')
        except AddressError:
            return
        octets = return_path(sender)
        self.assertEqual((octets.count(b"\n"), octets.count(b"\r")), (1, 1))

    def test_size(self) -> None:
        """The size POP3 tells counts the Return-Path, and the line end that a message may lack."""
        for octets in (b"", b"a", b"a\r\n", b"a\r\nb"):
            sent = return_path(BONNIE) + octets + (b"" if octets.endswith(b"\r\n") else b"\r\n")
            self.assertEqual(maildrop_size(BONNIE, Content.of(octets)), len(sent), octets)


class DateTests(SynchronousTestCase):
    """Dates in mail."""

    @given(st.integers(0, 4_000_000_000))
    def test_date(self, second: int) -> None:
        """A date is read as the same second by others."""
        self.assertEqual(parsedate_to_datetime(rfc5322_date(second + 0.7)).timestamp(), second)
