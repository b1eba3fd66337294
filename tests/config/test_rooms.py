"""What the rooms are told: relays as the router and the target know them."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.load import load_text
from mailbridge.config.model import Config
from mailbridge.config.rooms import own_addresses, own_names, relay_plans, ways_out
from mailbridge.edge.sending import INSECURE, NOT_OFFERED, SECURE, Server
from mailbridge.errors import StartError
from mailbridge.routing.route import Lanes, WayOut
from mailbridge.target.relay import RelayPlan


class RelayTests(SynchronousTestCase):
    """`[relay.NAME]`."""

    def setUp(self) -> None:
        """A folder with a file that is no certificate."""
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        (self.base / "ca.pem").write_text("not a certificate")

    def load(self, text: str) -> Config:
        """The configuration in `text`."""
        return load_text(text, "x.toml", self.base, (), lambda: "host.example")

    def plan(self, text: str) -> RelayPlan:
        """The one plan of `text`."""
        [plan] = relay_plans(self.load("[relay.a]\n" + text))
        return plan

    def mechanisms(self, plan: RelayPlan, encrypted: bool) -> list[str]:
        """The names of those a login may use."""
        assert plan.manner.login is not None
        made = plan.manner.login.mechanisms(plan.servers[0], encrypted)
        assert not isinstance(made, Deferred)
        return [mechanism.name for mechanism in made]

    def test_default(self) -> None:
        """The only relay is the default one unless it says no; of several, the one that says so."""
        host = 'servers = ["h.example"]\n'
        for text, defaults in [
            ("[relay.a]\n" + host, [True]), ("[relay.a]\ndefault = false\n" + host, [False]),
            ("[relay.a]\n" + host + "[relay.b]\n" + host, [False, False]),
            ("[relay.a]\n" + host + "[relay.b]\ndefault = true\n" + host, [False, True]),
        ]:
            self.assertEqual([way.default for way in ways_out(self.load(text))], defaults, text)

    def test_lanes(self) -> None:
        """A smart host has one lane, direct delivery one for each domain of recipients or of senders."""
        for text, lanes in [
            ('servers = ["h.example"]', Lanes.ONE), ('dedicatedsmtp = "h.example,25"', Lanes.ONE),
            ('servers = ["mx"]', Lanes.RECIPIENT), ("use_from = true", Lanes.SENDER),
            ('use_from = true\nservers = ["mx"]', Lanes.SENDER),
        ]:
            self.assertEqual(ways_out(self.load("[relay.a]\n" + text)), (WayOut("relay:a", lanes, True),))

    def test_servers(self) -> None:
        """Names, ports and kinds of TLS arrive; named servers are verified, those of strangers are not."""
        plan = self.plan('servers = ["h.example", "[::1]:26"]\nlmtp = true\ntls = "require"')
        self.assertEqual([(str(s), s.tls, s.lmtp, s.trust.verify) for s in plan.servers],
                         [("h.example:25", "require", True, True), ("[::1]:26", "require", True, True)])
        self.assertEqual(str(self.plan('servers = ["h.example"]\ntls = "implicit"').servers[0]), "h.example:465")
        self.assertFalse(self.plan('servers = ["h.example"]\nverify = false').servers[0].trust.verify)
        direct = self.plan('servers = ["mx"]')
        self.assertEqual((direct.servers, direct.stranger.tls), ((), "opportunistic"))
        self.assertFalse(direct.stranger.trust.verify)
        self.assertTrue(self.plan('servers = ["mx"]\nverify = true').stranger.trust.verify)

    def test_dedicated(self) -> None:
        """fauSMTP's spelling means the same as server, user and password apart."""
        plan = self.plan('dedicatedsmtp = "myhost.example,26,mruser,somepass"')
        self.assertEqual(str(plan.servers[0]), "myhost.example:26")
        self.assertIn("PLAIN", self.mechanisms(plan, True))
        self.assertIsNone(self.plan('dedicatedsmtp = "myhost.example,26"').manner.login)

    def test_login(self) -> None:
        """The password is shown under TLS only, or where the operator allows it; a token likewise."""
        login = 'servers = ["h.example"]\nuser = "u"\npassword = "p"\n'
        self.assertEqual(self.mechanisms(self.plan(login), True)[0], "SCRAM-SHA-256")
        self.assertNotIn("PLAIN", self.mechanisms(self.plan(login), False))
        self.assertIn("PLAIN", self.mechanisms(self.plan(login + "auth_in_clear = true"), False))
        token = 'servers = ["h.example"]\nuser = "u"\ntoken = "t"\n'
        self.assertEqual(self.mechanisms(self.plan(token), True), ["OAUTHBEARER", "XOAUTH2"])
        self.assertEqual(self.mechanisms(self.plan(token), False), [])
        self.assertNotIn("'p'", repr(self.plan(login)))

    def test_without_tls(self) -> None:
        """Opportunistic: in clear without TLS, but never with a login, nor when a named server's TLS fails."""
        login = 'servers = ["h.example"]\nuser = "u"\npassword = "p"\n'
        for text, no_tls, failed in [
            ('servers = ["h.example"]', INSECURE, SECURE),
            ('servers = ["h.example"]\nverify = false', INSECURE, INSECURE),
            ('servers = ["mx"]', INSECURE, INSECURE), (login, SECURE, SECURE),
            (login + "auth_in_clear = true", INSECURE, SECURE),
            (login + "auth_in_clear = true\nverify = false", INSECURE, INSECURE),
        ]:
            policy = self.plan(text).manner.tls_policy
            assert policy is not None
            self.assertEqual((policy(0, NOT_OFFERED), policy(0, "handshake failed")), (no_tls, failed), text)

    def test_other_keys(self) -> None:
        """Names, limits and times arrive where they belong."""
        plan = self.plan('servers = ["h.example"]\nclient_name = "us.example"\nbind = "192.0.2.9"\nconnections = 3\n'
                         'messages_per_connection = 4\nidle = 5\ntimeout = 6')
        self.assertEqual((plan.name, plan.manner.client_name, plan.manner.bind), ("a", "us.example", ("192.0.2.9", 0)))
        self.assertEqual((plan.limits.connections, plan.limits.messages, plan.limits.idle, plan.timeout), (3, 4, 5, 6))
        self.assertEqual(self.plan('servers = ["h.example"]').manner.client_name, "host.example")

    def test_bad_certificates(self) -> None:
        """A file that holds no certificate is told at the start, with its place."""
        error = self.assertRaises(StartError, self.plan, 'servers = ["h.example"]\nca = "ca.pem"')
        self.assertIn("relay.a: ca or identity cannot be used", str(error))

    def test_ourselves(self) -> None:
        """Mail servers with our name or an address that we listen on are ourselves."""
        config = self.load('[[smtp]]\nlisten = "tcp:25"\n[[smtp]]\nlisten = "tcp:25:interface=192.0.2.5"'.replace(
            '"tcp:25"', '"tcp:26"'))
        self.assertIn("host.example", own_names(config))
        self.assertEqual(own_addresses(config), ("127.0.0.1", "::1", "192.0.2.5"))

    def test_server(self) -> None:
        """A stranger's host is put into the plan's server without losing how to talk to it."""
        self.assertEqual(self.plan('servers = ["mx"]\ntls = "require"').stranger.tls, "require")
        self.assertIsInstance(self.plan('servers = ["mx"]').stranger, Server)
