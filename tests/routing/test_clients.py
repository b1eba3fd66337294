"""Client lists with host names."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.routing.clients import ClientList

PAGE = ["localhost", "cxhlpsrv,syscae.syscae.cz", "192.168.1.0-192.168.1.31"]
HOSTS = {"cxhlpsrv": frozenset({"192.0.2.1", "2001:db8::1"}), "syscae.syscae.cz": frozenset({"192.0.2.2"})}


class ClientListTests(SynchronousTestCase):
    """Who is on a list."""

    def test_page(self) -> None:
        """The lists of the SMTP receiver's page: localhost, two hosts in one entry, a range with both ends."""
        clients = ClientList.parse(PAGE)
        self.assertEqual(clients.names, ("cxhlpsrv", "syscae.syscae.cz"))
        for peer, listed in [
            ("127.0.0.1", True), ("127.255.255.255", True), ("::1", True), ("::ffff:127.0.0.1", True),
            ("192.168.1.0", True), ("192.168.1.31", True), ("192.168.1.32", False), ("192.168.0.255", False),
            ("192.0.2.1", True), ("::ffff:192.0.2.1", True), ("2001:DB8:0::1", True), ("2001:db8::1%eth0", True),
            ("192.0.2.2", True), ("192.0.2.3", False), ("", False), ("cxhlpsrv", False),
        ]:
            self.assertEqual(clients.allows(peer, HOSTS), listed, peer)

    def test_names_without_answer(self) -> None:
        """A host without an address is nobody; one that was not looked up yet is named as such."""
        clients = ClientList.parse(["a.example,b.example", "10.0.0.1"])
        hosts: dict[str, frozenset[str]] = {"a.example": frozenset()}
        self.assertFalse(clients.allows("192.0.2.1", hosts))
        self.assertTrue(clients.allows("10.0.0.1", hosts))
        self.assertEqual(clients.waits(hosts), ("b.example",))

    def test_empty(self) -> None:
        """A list without entries is empty; one whose hosts cannot be found is not."""
        self.assertFalse(ClientList.parse([]))
        self.assertTrue(ClientList.parse(["nowhere.example"]))
        self.assertTrue(ClientList.parse(["10.0.0.1"]))
        self.assertFalse(ClientList.parse([]).allows("127.0.0.1", HOSTS))

    def test_names(self) -> None:
        """Names are taken in any case, with a last dot, and with letters beyond ASCII as the DNS knows them."""
        for entry, names in [
            ("CXHLPSRV", ("cxhlpsrv",)), ("syscae.syscae.cz.", ("syscae.syscae.cz",)), ("web-1", ("web-1",)),
            ("a.example, b.example ,", ("a.example", "b.example")), ("4you.example", ("4you.example",)),
            ("bücher.example", ("xn--bcher-kva.example",)), ("sms_gate", ("sms_gate",)),
            ("a.example,10.0.0.1", ("a.example",)),
        ]:
            self.assertEqual(ClientList.parse([entry]).names, names, entry)

    def test_errors(self) -> None:
        """What is neither an address nor a name is refused with its place."""
        for entry in ("192.168.1.300", "10.0.0", "10.0.0.0-10.0.0.300", "10.0.0.9-10.0.0.1", "10.0.0.1/8", "*", "",
                      " , ", "*.example.org", "http://a.example/", "a b", "-a", "a..b", "host.1", "::1-10.0.0.1",
                      "a.example,10.0.0.300", "a" * 64, "x." * 140 + "x", "user@a.example", "a:25", "\x00"):
            error = str(self.assertRaises(ValueError, ClientList.parse, ["10.0.0.1", entry]))
            self.assertTrue(error.startswith("[1]: "), (entry, error))
        self.assertIn("or a host name", str(self.assertRaises(ValueError, ClientList.parse, ["a b"])))

    @given(st.text(alphabet="ab1.,-:/ *_ü%", max_size=30), st.text(max_size=20))
    def test_any_entry(self, entry: str, peer: str) -> None:
        """Any text is an entry or an error, and any peer is listed or not."""
        try:
            clients = ClientList.parse([entry])
        except ValueError:
            return
        self.assertTrue(clients)
        self.assertIn(clients.allows(peer, {name: frozenset() for name in clients.names}), (True, False))
        for name in clients.names:
            self.assertTrue(ClientList.parse([entry]).allows("203.0.113.9", {name: frozenset({"203.0.113.9"})}))
