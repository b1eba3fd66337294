"""Mail exchangers as a real name server tells them to twisted.names, over loopback."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.names import authority, client, dns, server
from twisted.names.common import ResolverBase
from twisted.trial.unittest import TestCase

from mailbridge.queue.verdict import Trouble
from mailbridge.target.mx import MailExchangers, NoHosts


class Zone(authority.FileAuthority):
    """The zone `example`, in memory."""

    def __init__(self) -> None:
        ResolverBase.__init__(self)
        self.soa = (b"example", dns.Record_SOA(b"ns.example", b"root.example", 1, 60, 60, 60, 60, 60))
        self.records = {
            b"example": [self.soa[1]],
            b"many.example": [dns.Record_MX(20, b"Two.example", 60), dns.Record_MX(10, b"one.example", 60)],
            b"null.example": [dns.Record_MX(0, b"", 60)],
            b"alone.example": [dns.Record_A("203.0.113.4", 60)],
            b"six.example": [dns.Record_AAAA("2001:db8::6", 60)],
            b"alias.example": [dns.Record_CNAME(b"many.example", 60)],
            b"round.example": [dns.Record_CNAME(b"round.example", 60)],
            b"loop.example": [dns.Record_MX(10, b"ours.example", 60)],
            b"ours.example": [dns.Record_A("192.0.2.1", 60)],
            b"text.example": [dns.Record_TXT(b"no mail, no address", ttl=60)],
        }


class NameServerTests(TestCase):
    """What the records mean."""

    timeout = 20

    def setUp(self) -> None:
        """A name server on loopback, and who asks it."""
        port: Any = reactor.listenUDP(  # type: ignore[attr-defined]
            0, dns.DNSDatagramProtocol(server.DNSServerFactory(authorities=[Zone()])), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        resolver = client.Resolver(servers=[("127.0.0.1", port.getHost().port)])
        self.exchangers = MailExchangers(resolver, reactor, lambda hosts: None, (), ["192.0.2.1"])  # type: ignore[arg-type]

    async def test_records(self) -> None:
        """MX by preference, null MX, addresses in their place, aliases, unknown names and ourselves."""
        for domain, expected in [
            ("many.example", ["one.example", "two.example"]), ("alone.example", ["alone.example"]),
            ("six.example", ["six.example"]), ("alias.example", ["one.example", "two.example"]),
            ("null.example", Trouble.NULL_MX), ("gone.example", Trouble.NO_DOMAIN), ("loop.example", Trouble.LOOP),
            ("text.example", Trouble.NO_DOMAIN), ("round.example", Trouble.NO_DOMAIN),
        ]:
            try:
                found: object = await self.exchangers.hosts(domain)
            except NoHosts as error:
                found = error.trouble
            self.assertEqual(found, expected, domain)
