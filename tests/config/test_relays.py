"""`[relay.NAME]` and `[queue]`: every fault with its place, what the keys mean, secrets that stay secret."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.load import load, load_text
from mailbridge.config.model import Config, QueueSettings, RelaySettings
from mailbridge.config.secrets import secret_text_reader
from mailbridge.config.servers import dedicated_server, parse_server
from mailbridge.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "etc" / "mailbridge.toml"
A = '[relay.a]\n'
HOST = 'servers = ["smtp.example.org"]\n'
LOGIN = 'user = "u"\npassword = "hunter2"\n'
PIN = "ab" * 32

# (file, faults). Each fault is a whole line, or its beginning when it ends in "...".
FAULTS: list[tuple[str, list[str]]] = [
    ("relay = 5", ["relay: must be tables, each under [relay.NAME], got 5"]),
    ("[relay]\nservers = []", ["relay: must be tables, each under [relay.NAME], got a table"]),
    ('[relay."a b"]\n' + HOST, ['relay: "a b" is no name for a relay: ...']),
    (A, ['relay.a.servers: is missing; name servers in a list, or ["mx"] for direct delivery']),
    (A + "servers = []", ["relay.a.servers: must have at least 1 entry; name a server"]),
    (A + 'servers = "mx"', ['relay.a.servers: must be a list [...], got "mx"']),
    (A + 'servers = ["mx", "b"]', ['relay.a.servers: "mx" stands alone: DNS names the servers then']),
    (A + 'servers = ["a b", "h:0", "h:99999", "2001:db8::1", "[::x]", 5, "10.0.0.999"]', [
        'relay.a.servers[0]: must be a server such as ...', 'relay.a.servers[1]: port must be 1 to 65535, got "0"',
        'relay.a.servers[2]: port must be 1 to 65535, got "99999"',
        'relay.a.servers[3]: must be a server such as "smtp.example.org", ...',
        "relay.a.servers[4]: must be a server such as ...", "relay.a.servers[5]: must be a server such as ...",
        'relay.a.servers[6]: "10.0.0.999" is no host; ...']),
    (A + HOST + "server = 5", ['relay.a.server: unknown key; did you mean "servers"?']),
    (A + HOST + 'tls = "required"', ['relay.a.tls: must be one of ...']),
    (A + HOST + "connections = 0", ["relay.a.connections: must be 1 to 1000, got 0"]),
    (A + HOST + 'idle = "2 d"', ["relay.a.idle: must be a time from 0 s to 1 d, ..."]),
    (A + HOST + 'bind = "eth0"', ['relay.a.bind: must be an address of this host such as "192.0.2.1", got "eth0"']),
    (A + HOST + 'pin = "abc"', ["relay.a.pin: must be the SHA-256 of a certificate, ..."]),
    (A + HOST + 'client_name = "a b"', ["relay.a.client_name: must be a host name ..."]),
    (A + HOST + 'ca = "gone.pem"', ["relay.a.ca: cannot read /nowhere/gone.pem: No such file or directory"]),
    (A + HOST + "use_from = true", ["relay.a.use_from: takes the server of the sender's domain; leave servers out"]),
    (A + HOST + 'user = "u"', ["relay.a.user: needs a password or a token"]),
    (A + HOST + 'password = "x"', ["relay.a.password: needs a user"]),
    (A + HOST + LOGIN + 'token = "t"', ["relay.a.token: takes the place of a password; leave one of them out"]),
    (A + HOST + LOGIN + 'tls = "off"',
     ['relay.a.password: would pass in clear with tls = "off"; set auth_in_clear = true to allow it']),
    (A + HOST + "auth_in_clear = true", ["relay.a.auth_in_clear: has no meaning without a login"]),
    (A + 'servers = ["mx"]\n' + LOGIN, ["relay.a.password: would be shown to servers of strangers; ..."]),
    (A + 'servers = ["mx"]\ntls = "implicit"\nlmtp = true', [
        "relay.a.tls: is for servers with a name, ...", "relay.a.lmtp: is for servers with a name, ..."]),
    (A + f'servers = ["mx"]\npin = "{PIN}"', ["relay.a.pin: is the certificate of one server; DNS names many"]),
    (A + HOST + f'tls = "off"\nverify = true\npin = "{PIN}"',
     ['relay.a.verify: has no meaning with tls = "off"', 'relay.a.pin: has no meaning with tls = "off"']),
    (A + HOST + f'verify = false\npin = "{PIN}"', ["relay.a.pin: has no meaning with verify = false"]),
    (A + HOST + 'password = 5\nuser = "u"', ['relay.a.password: must be "TEXT", { file = "PATH" } or ...']),
    (A + HOST + 'password = ""\nuser = "u"', ["relay.a.password: the secret is empty"]),
    (A + HOST + 'password = "a\\nb"\nuser = "u"', ["relay.a.password: the secret must be one line ..."]),
    (A + HOST + 'password = { env = "NO_SUCH_VARIABLE_HERE" }\nuser = "u"',
     ["relay.a.password: the environment has no variable NO_SUCH_VARIABLE_HERE"]),
    (A + HOST + 'password = { file = "gone" }\nuser = "u"',
     ["relay.a.password: cannot read /nowhere/gone: No such file or directory"]),
    (A + 'dedicatedsmtp = "host"', ['relay.a.dedicatedsmtp: must be "host,port,user,password" ...']),
    (A + 'dedicatedsmtp = "host,x,u,hunter2"', ['relay.a.dedicatedsmtp: port must be 1 to 65535, got "x"']),
    (A + 'dedicatedsmtp = "host,25,u,"', ["relay.a.dedicatedsmtp: has a user without a password, ..."]),
    (A + 'dedicatedsmtp = "host,25,u,hunter2"\ntls = "off"',
     ["relay.a.dedicatedsmtp: would pass in clear with tls = \"off\"; ..."]),
    (A + HOST + 'dedicatedsmtp = "host,25,u,hunter2"',
     ["relay.a.dedicatedsmtp: names the server and the login; leave servers out"]),
    ("[relay.a]\ndefault = true\n" + HOST + "[relay.b]\ndefault = true\n" + HOST,
     ["relay.b.default: only one relay is the default, and relay.a is it already"]),
    ('[[smtp]]\nlisten = "tcp:25"\n' + A + 'servers = ["localhost", "other.example", "127.0.0.1:25", "localhost:26"]', [
        "relay.a.servers[0]: is smtp[0] of this bridge itself: mail would go round in a circle",
        "relay.a.servers[2]: is smtp[0] of this bridge itself: mail would go round in a circle"]),
    ('hostname = "b.example"\n[[smtp]]\nlisten = "tcp:2525:interface=192.0.2.5"\n' + A
     + 'servers = ["B.example:2525", "192.0.2.5:2525", "127.0.0.1:2525"]',
     ["relay.a.servers[0]: is smtp[0] ...", "relay.a.servers[1]: is smtp[0] ..."]),
    ('[[smtp]]\nlisten = "tcp:465"\n' + A + 'tls = "implicit"\nservers = ["[::1]"]',
     ["relay.a.servers[0]: is smtp[0] ..."]),
    ('[[smtp]]\nlisten = "tcp:26"\n' + A + 'dedicatedsmtp = "localhost,26"', ["relay.a.dedicatedsmtp: is smtp[0] ..."]),
    (A + HOST + '[[route]]\nto = "relay:b"',
     ['route[0].to: "relay:b" is no target; known are maildrop, maildrop:USER, relay:a and refuse']),
    ('[queue]\nretry = "5 h"', ["queue.retry: is longer than longest_retry"]),
    ('[queue]\nexpire = "never"', ["queue.expire: must be a time from 1 s to 60 d, ..."]),
    ("[queue]\nnotices_per_minute = 0", ["queue.notices_per_minute: must be 1 to 100000, got 0"]),
    ("idle = 5", ["idle: unknown key here; it belongs in [relay.NAME]"]),
]


def faults(text: str, base: Path = Path("/nowhere"), public: bool = False) -> list[str]:
    """The faults of a configuration, each as `place: problem`."""
    try:
        load_text(text, "x.toml", base, (), lambda: "host.example", public)
    except ConfigError as error:
        return [line.removeprefix("x.toml: ") for line in str(error).split("\n")]
    return []


class FaultTests(SynchronousTestCase):
    """Every fault."""

    def test_table(self) -> None:
        """Each mistake is told with its place and what would be right, nothing else is, and no secret shows."""
        for text, expected in FAULTS:
            found = faults(text)
            self.assertEqual(len(found), len(expected), (text, found))
            for line, wanted in zip(found, expected, strict=True):
                if wanted.endswith("..."):
                    self.assertEqual(line[:len(wanted) - 3], wanted[:-3], text)
                else:
                    self.assertEqual(line, wanted)
            self.assertNotIn("hunter2", "".join(found))

    def test_all_at_once(self) -> None:
        """The faults of all relays are told at once."""
        single = [(text, expected) for text, expected in FAULTS if text.startswith(A + HOST) and "[[" not in text]
        text = "\n".join(text.replace("[relay.a]", f"[relay.a{number}]") for number, (text, _) in enumerate(single))
        self.assertEqual(len(faults(text)), sum(len(expected) for _, expected in single))

    def test_public_file(self) -> None:
        """A secret in a file that everybody may read is a fault; a file without secrets may be read by all."""
        for text, places in [
            (A + HOST + LOGIN, ["relay.a.password"]), (A + HOST, []),
            (A + 'dedicatedsmtp = "host,25,u,hunter2"', ["relay.a.dedicatedsmtp"]),
        ]:
            found = faults(text, public=True)
            self.assertEqual([line.partition(":")[0] for line in found], places)
            self.assertNotIn("hunter2", "".join(found))
            self.assertEqual(faults(text), [])
        path = Path(self.mktemp())
        path.write_text(A + HOST + LOGIN)
        path.chmod(0o644)
        self.assertIn("everybody may read", str(self.assertRaises(ConfigError, load, path)))
        path.chmod(0o640)
        self.assertEqual(load(path).relay["a"].password, "hunter2")


class MeaningTests(SynchronousTestCase):
    """What a good configuration means."""

    def setUp(self) -> None:
        """A folder with files."""
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        (self.base / "jobs").mkdir()
        (self.base / "dmail.conf").write_text("pf_user bob secret 127.0.0.1\nras_timer 5\n")
        for name in ("relay.password", "client.pem", "ca.pem", "cert.pem", "key.pem"):
            (self.base / name).write_text("hunter2\n")
            (self.base / name).chmod(0o600)

    def load(self, text: str) -> Config:
        """The configuration in `text`."""
        return load_text(text, "x.toml", self.base, (), lambda: "host.example")

    def test_everything(self) -> None:
        """Every key arrives where it belongs, with its unit and relative to the file."""
        relay = self.load(A + """
            servers = ["smtp.example.org:587", "[2001:db8::1]:26", "büro.example"]
            user = "bridge"
            password = { file = "relay.password" }
            ca = "ca.pem"
            identity = { file = "client.pem" }
            idle = "1 min"
        """).relay["a"]
        self.assertEqual(relay, RelaySettings(
            ("smtp.example.org:587", "[2001:db8::1]:26", "büro.example"), user="bridge", password="hunter2",
            ca=self.base / "ca.pem", identity=self.base / "client.pem", idle=60.0))

    def test_secrets_are_not_shown(self) -> None:
        """The repr of the configuration has no password, token or dedicated server in it."""
        config = self.load(
            A + HOST + LOGIN + '[relay.b]\ndedicatedsmtp = "h,25,u,hunter2"\n[relay.c]\n' + HOST
            + 'user = "u"\ntoken = "hunter2"')
        self.assertNotIn("hunter2", repr(config))
        self.assertEqual(config.relay["b"].dedicatedsmtp, ("h", 25, "u", "hunter2"))

    def test_secret_file(self) -> None:
        """A secret's file that others may read is refused, with the command that helps."""
        for mode in (0o640, 0o604):
            (self.base / "relay.password").chmod(mode)
            found = faults(A + HOST + 'user = "u"\npassword = { file = "relay.password" }', self.base)
            self.assertEqual(len(found), 1)
            self.assertIn("do: chmod 600", found[0])

    def test_environment(self) -> None:
        """A secret may come from the environment."""
        read = secret_text_reader(self.base, {"PASSWORD": "from outside", "EMPTY": ""})
        self.assertEqual(read({"env": "PASSWORD"}), "from outside")
        for wrong in ({"env": "EMPTY"}, {"env": "GONE"}, {"env": "a b"}, {"env": 5}, {"env": "PASSWORD", "file": "x"}):
            self.assertRaises(ValueError, read, wrong)

    def test_route_to_relay(self) -> None:
        """A route may name a relay of the same file."""
        config = self.load(A + HOST + '[[route]]\nto = "relay:a"\nrecipient = ".*"')
        self.assertEqual(config.route[0].to, "relay:a")

    def switched_on(self) -> str:
        """The shipped file with every setting that is off switched on."""
        return re.sub(r"(?m)^#(?=[a-z\[])", "", SHIPPED.read_text("utf-8"))

    def test_shipped_file(self) -> None:
        """The relays of etc/mailbridge.toml are written rightly; its queue has the defaults."""
        self.assertEqual(load(SHIPPED, default_hostname=lambda: "h.example").queue, QueueSettings())
        config = self.load(self.switched_on().partition("[oce]")[0])
        self.assertEqual(set(config.relay), {"office", "dedicated", "token", "direct", "home", "forward"})


class ServerTests(SynchronousTestCase):
    """Names of servers."""

    def test_servers(self) -> None:
        """Names, addresses and ports come apart."""
        for text, expected in [
            ("Smtp.Example.org", ("smtp.example.org", None)), ("smtp.example.org.", ("smtp.example.org", None)),
            ("h:25", ("h", 25)), ("192.0.2.1:2525", ("192.0.2.1", 2525)), ("[2001:DB8::1]:25", ("2001:db8::1", 25)),
            ("[::1]", ("::1", None)), ("bücher.example", ("xn--bcher-kva.example", None)),
        ]:
            self.assertEqual(parse_server(text), expected)

    def test_dedicated(self) -> None:
        """fauSMTP's spelling; a comma in the password stays."""
        for text, expected in [
            ("myhost.com,26,mruser,somepass", ("myhost.com", 26, "mruser", "somepass")),
            ("h, 26, u,p,q", ("h", 26, "u", "p,q")), ("h,26", ("h", 26, "", "")), ("h,26,,", ("h", 26, "", "")),
        ]:
            self.assertEqual(dedicated_server(text), expected)

    @property_settings(deadline=None)
    @given(st.text(max_size=40))
    def test_any_text(self, text: str) -> None:
        """Any text is a server or a fault, and a fault of a login never shows its fourth part."""
        for reader in (parse_server, dedicated_server):
            try:
                host = reader(text)[0]  # type: ignore[operator]
            except ValueError:
                continue
            self.assertTrue(host.isascii())
            self.assertNotIn(" ", host)
