"""Loading a configuration: every fault is found, told with its place and a remedy, and all of them at once."""

from __future__ import annotations

import random
import re
from pathlib import Path

from attrs import fields
from hypothesis import given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.keys import readers
from mailbridge.config.load import load, load_text, this_host, valid_hostname
from mailbridge.config.model import Config, POP3Listener, RouteRule, SMTPListener, TLSSettings, UsersSettings
from mailbridge.errors import ConfigError
from mailbridge.limits import Limits

SHIPPED = Path(__file__).parents[2] / "etc" / "mailbridge.toml"

# (file, faults). Each fault is a whole line, or its beginning when it ends in "...".
FAULTS: list[tuple[str, list[str]]] = [
    ('hostnam = "x"', ['hostnam: unknown key; did you mean "hostname"?']),
    ('source = "x"', ['source: unknown key; did you mean "store"?']),
    ("message_size = 1", ["message_size: unknown key here; it belongs in [limits]"]),
    ('listen = "tcp:25"', ["listen: unknown key here; it belongs in [[smtp]] or [[pop3]] or [oce]"]),
    ('"a b\\n" = 1', ['"a b\\n": unknown key; known are ...']),
    ("[nonsense]", ["nonsense: unknown key; known are ..."]),
    ("[limits]\nrecipients = \"many\"", ['limits.recipients: must be 1 to 100000, got "many"']),
    ("[limits]\nrecipients = true", ["limits.recipients: must be 1 to 100000, got true"]),
    ("[limits]\nrecipients = 0", ["limits.recipients: must be 1 to 100000, got 0"]),
    ("[limits]\nrecipents = 5", ['limits.recipents: unknown key; did you mean "recipients"?']),
    ("[limits]\nmessage_size = \"50 parsecs\"", ["limits.message_size: must be a size from 64 KiB to 2 GiB, ..."]),
    ("[limits]\nsmtp_idle = \"5 MiB\"", ["limits.smtp_idle: must be a time from 1 s to 1 d, ..."]),
    ("[limits]\nsmtp_idle = nan", ["limits.smtp_idle: must be a time ..."]),
    ("limits = 5", ["limits: must be a table [...], got 5"]),
    ("[[limits]]", ["limits: must be a table [...], got a list"]),
    ("smtp = 5", ["smtp: must be an array of tables, each under [[...]], got 5"]),
    ("[smtp]\nlisten = \"tcp:25\"", ["smtp: must be an array of tables, each under [[...]], got a table"]),
    ("smtp = [5]", ["smtp[0]: must be a table [...], got 5"]),
    ("[[smtp]]", ["smtp[0].listen: is missing; it has no default"]),
    ("[[smtp]]\nlisten = 25", ['smtp[0].listen: must be an endpoint such as "tcp:25" or ...']),
    ("[[smtp]]\nlisten = \"tcp:x\"", ['smtp[0].listen: port must be 0 to 65535, got "x"']),
    ("[[smtp]]\nlisten = \"ssl:465\"", ["smtp[0].listen: ssl: is not taken here; write tcp:PORT and tls = true, ..."]),
    ("[[smtp]]\nlisten = \"tcp:25\"\ntls = \"yes\"", ['smtp[0].tls: must be true or false, got "yes"']),
    ("[[smtp]]\nlisten = \"tcp:25\"\ntls = true", ["smtp[0].tls: needs [tls] with certificate and key"]),
    ("[[pop3]]\nlisten = \"tcp:25\"\ntls = true", ["pop3[0].tls: needs [tls] with certificate and key"]),
    ("[[smtp]]\nlisten = \"tcp:25\"\nstarttls = \"require\"", ['smtp[0].starttls: "require" needs [tls] ...']),
    ("[[smtp]]\nlisten = \"tcp:25\"\nstarttls = \"requires\"",
     ['smtp[0].starttls: must be one of offer, require, off, got "requires"; did you mean "require"?']),
    ("[[smtp]]\nlisten = \"tcp:25\"\nclients = \"localhost\"",
     ['smtp[0].clients: must be a list [...], got "localhost"']),
    ("[[smtp]]\nlisten = \"tcp:25\"\nclients = [\"10.0.0.0/8\", \"mail.example\", 5, \"0.0.0.0/0\", \"::/0\"]", [
        'smtp[0].clients[1]: "mail.example" is no client; ...', "smtp[0].clients[2]: must be text, got 5",
        'smtp[0].clients[3]: "0.0.0.0/0" trusts so many hosts that this would be an open relay; ...',
        'smtp[0].clients[4]: "::/0" trusts so many hosts ...']),
    ("[[smtp]]\nlisten = \"tcp:25\"\nsender = \"printer\"", ["smtp[0].sender: must be an address with a domain, ..."]),
    ("[[smtp]]\nlisten = \"tcp:25\"\nsender = \"a b@c\"", ["smtp[0].sender: must be an address, ..."]),
    ("[[smtp]]\nlisten = \"tcp:25\"\nbare_newlines = \"keep\"", ["smtp[0].bare_newlines: must be one of refuse, ..."]),
    ("[[smtp]]\nlisten = \"tcp:25\"\n[[pop3]]\nlisten = \"tcp:25:interface=127.0.0.1\"",
     ['pop3[0].listen: "tcp:25:interface=127.0.0.1" takes the same port 25 as smtp[0].listen, "tcp:25"']),
    ("[store]\nurl = \"postgresql://u@h/db\"",
     ['store.url: must be "sqlite:NAME": sqlite is the one kind of store this version knows, not "postgresql"']),
    ("[store]\nurl = \"sqlite:../x.db\"", ['store.url: must be "sqlite:NAME" with a file name and no folder ...']),
    ("[store]\nurl = \"sqlite:Ballast\"", ['store.url: must be "sqlite:NAME" with another name: mailbridge needs '
                                          '"Ballast" in `state` itself']),
    ("[users]\ndomains = [\"example.org\", \"a b\", \"[1.2.3.4]\", \"\"]", [
        'users.domains[1]: must be a domain such as "example.org", got "a b"', "users.domains[2]: must be a domain ...",
        'users.domains[3]: must be text, got ""']),
    ("[users]\ntag_separator = \"a\"", ['users.tag_separator: must be a sign such as "+", ...']),
    ("[users]\npostmaster = \"\"", ["users.postmaster: must be text, ..."]),
    ('hostname = "no host"', ['hostname: must be a host name such as "bridge.example.org", got "no host"']),
    ("state = \"\"", ['state: must be a path, got ""']),
    ("[tls]", ["tls.certificate: is missing; it has no default", "tls.key: is missing; it has no default"]),
    ("[tls]\ncertificate = \"gone.pem\"\nkey = \".\"",
     ["tls.certificate: cannot read /nowhere/gone.pem: No such file or directory",
     "tls.key: cannot read /nowhere: ..."]),
    ("[tls]\ncertificate = 5\nkey = { env = \"KEY\" }",
     ["tls.certificate: must be a path, got 5", 'tls.key: must be a path or { file = "PATH" }']),
    ("[[route]]", ["route[0].to: is missing; it has no default"]),
    ("[[route]]\nto = \"relay:office\"",
     ['route[0].to: "relay:office" is no target; known are maildrop, maildrop:USER and refuse']),
    ("[[route]]\nto = \"maildrop\"\nrecipient = \"a[z-a]\"",
     ['route[0].recipient: bad pattern "a[z-a]" at character 3: invalid character class range']),
    ("[[route]]\nto = \"maildrop\"\nsender = \"(?=x)\"", ['route[0].sender: bad pattern "(?=x)" at character 1: ...']),
    ("[[route]]\nto = \"maildrop\"\nclients = []", ["route[0].clients: must have at least 1 entry; ..."]),
    ("[[route]]\nto = \"maildrop\"\nreply = \"550 5.7.1 no\"",
     ['route[0].reply: is the text of a refusal; it needs to = "refuse"']),
    ("[[route]]\nto = \"refuse\"\nreply = \"go away\"", ['route[0].reply: must look like "550 5.7.1 text", ...']),
    ("[[route]]\nto = \"refuse\"\nreply = \"550 4.7.1 no\"", ["route[0].reply: 550 and 4.7.1 disagree: ..."]),
    ("[[route]]\nto = \"maildrop\"\nlistener = \"smtp[0]\"",
     ['route[0].listener: there is no listener "smtp[0]"; known are none, for there is no [[smtp]] or [[pop3]]']),
    ("[[route]]\nto = \"maildrop\"\nanyone = true", ['route[0].anyone: has no meaning with to = "maildrop": ...']),
    ("[[route]]\nto = \"relay:x\"\nanyone = true",
     ['route[0].to: "relay:x" is no target; ...', "route[0].anyone: needs a recipient that ends in ..."]),
    ("[[route]]\nto = \"relay:x\"\nanyone = true\nrecipient = \"a[\"",
     ['route[0].to: "relay:x" is no target; ...', "route[0].recipient: bad pattern ..."]),
    ("a = \n", ["line 1, column 5: is not TOML: Invalid value"]),
    ("a = [", ["end of the file: is not TOML: Invalid value"]),
    ("\n\nb = 1\nb = 2\n", ["line 4, column 6: is not TOML: Cannot overwrite a value"]),
    ("a = " + "[" * 5000, ["file: is nested too deeply"]),
    ("a = " + "9" * 5000, ["file: is not TOML: Exceeds the limit ..."]),
    ("a = 2026-02-30\n", ["line 1, column 5: is not TOML: Invalid date or datetime"]),
]


def faults(text: str, base: Path = Path("/nowhere"), targets: tuple[str, ...] = ()) -> list[str]:
    """The faults of a configuration, each as `place: problem`."""
    try:
        load_text(text, "mailbridge.toml", base, targets, lambda: "host.example")
    except ConfigError as error:
        lines = str(error).split("\n")
        prefix = "mailbridge.toml: "
        assert all(line.startswith(prefix) for line in lines), lines
        return [line.removeprefix(prefix) for line in lines]
    return []


class FaultTests(SynchronousTestCase):
    """Every fault."""

    def test_table(self) -> None:
        """Each mistake is told with its place and what would be right, and nothing else is."""
        for text, expected in FAULTS:
            found = faults(text)
            self.assertEqual(len(found), len(expected), (text[:200], found))
            for line, wanted in zip(found, expected, strict=True):
                if wanted.endswith("..."):
                    self.assertEqual(line[:len(wanted) - 3], wanted[:-3], text[:200])
                else:
                    self.assertEqual(line, wanted)

    def test_all_at_once(self) -> None:
        """All faults of all tables are told at once: those of single keys and those of combinations."""
        single = [(text, expected) for text, expected in FAULTS if text.startswith("[[smtp]]\nlisten = \"tcp:25\"\n")]
        text, count = "", 0
        for number, (table, expected) in enumerate(single):
            if "[[pop3]]" in table:
                continue
            text += table.replace("tcp:25", f"tcp:{1000 + number}") + "\n"
            count += len(expected)
        text += "[limits]\nrecipients = \"many\"\n[[route]]\nto = \"x\"\n[nonsense]\n"
        self.assertEqual(len(faults(text)), count + 3)

    def test_implicit_and_starttls(self) -> None:
        """A listener that begins in TLS cannot ask for STARTTLS."""
        base = Path(self.mktemp()).absolute()
        pem(base)
        text = TLS + "[[smtp]]\nlisten = \"tcp:465\"\ntls = true\nstarttls = \"require\""
        self.assertEqual(
            faults(text, base), ["smtp[0].starttls: with tls = true the session begins in TLS; leave starttls out"])

    def test_key_is_secret(self) -> None:
        """A private key that others may read is refused, with the command that helps."""
        base = Path(self.mktemp()).absolute()
        pem(base)
        for mode in (0o640, 0o604, 0o666, 0o660):
            (base / "key.pem").chmod(mode)
            self.assertEqual(faults(TLS, base), [
                f"tls.key: others may read {base}/key.pem (mode {mode:04o}); do: chmod 600 {base}/key.pem"])
        (base / "key.pem").chmod(0o400)
        self.assertEqual(faults(TLS, base), [])

    def test_folder_is_no_file(self) -> None:
        """A folder in place of a file is told as such."""
        base = Path(self.mktemp()).absolute()
        pem(base)
        self.assertEqual(faults(TLS.replace("cert.pem", "."), base), [f"tls.certificate: {base} is no file"])

    def test_no_value_of_unknown_keys(self) -> None:
        """What stands behind an unknown key may be a secret, and is not shown."""
        self.assertNotIn("hunter2", "".join(faults('password = "hunter2"\n[limits]\nsecret = "hunter2"')))


TLS = "[tls]\ncertificate = \"cert.pem\"\nkey = { file = \"key.pem\" }\n"


def pem(base: Path) -> None:
    """Files where [tls] looks for them."""
    base.mkdir(exist_ok=True)
    for name in ("cert.pem", "key.pem", "ca.pem", "client.pem", "relay.password", "oce.password",
                 "friends.secret", "oce-ca.pem", "oce-client.pem", "friends-ca.pem"):
        (base / name).write_text("PEM")
        (base / name).chmod(0o600)
    (base / "jobs").mkdir(exist_ok=True)
    (base / "dmail.conf").write_text("pf_user bob secret 127.0.0.1\nras_timer 5\n")


class LoadTests(SynchronousTestCase):
    """What a good configuration means."""

    def load(self, text: str, targets: tuple[str, ...] = ()) -> Config:
        """The configuration in `text`, in a folder with a certificate."""
        self.base = Path(self.mktemp()).absolute()
        pem(self.base)
        return load_text(text, "mailbridge.toml", self.base, targets, lambda: "host.example")

    def test_empty(self) -> None:
        """An empty file has all defaults; the host's name is the local domain."""
        config = self.load("")
        self.assertEqual(config, Config(
            hostname="host.example", users=UsersSettings(domains=("host.example",)), source="mailbridge.toml"))
        self.assertEqual(config.state, Path("/var/lib/mailbridge"))

    def test_domains(self) -> None:
        """Domains that are written down are the only ones, even when there are none."""
        self.assertEqual(self.load("[users]\ndomains = [\"a.example\"]").users.domains, ("a.example",))
        self.assertEqual(self.load("[users]\ndomains = []").users.domains, ())
        self.assertEqual(self.load("hostname = \"b.example\"\n[users]\npostmaster = \"x\"").users.domains,
        ("b.example",))

    def test_hostname_is_not_looked_up(self) -> None:
        """A host name in the file spares the look-up, which may take long."""
        def look_up() -> str:
            raise AssertionError("must not be called")
        self.assertEqual(load_text('hostname = "a.example"', "x", Path("/"), (), look_up).hostname, "a.example")

    def test_everything(self) -> None:
        """Every key arrives where it belongs, with its unit and relative to the file."""
        config = self.load(TLS + """
            [limits]
            message_size = "1 MiB"
            smtp_idle = "90 s"
            recipients = 5
            [[smtp]]
            listen = "tcp:465"
            tls = true
            clients = ["192.168.1.0-192.168.1.31", "localhost"]
            sender = "Printer@example.org"
            [[pop3]]
            listen = "tcp:110"
            apop = true
            [[route]]
            to = "relay:office"
            recipient = '.*@old\\.example\\.org'
            listener = "smtp[0]"
            anyone = true
            [[route]]
            to = "refuse"
            reply = "550 5.7.1 No"
        """, ("relay:office",))
        self.assertEqual(config.tls, TLSSettings(self.base / "cert.pem", self.base / "key.pem"))
        self.assertEqual((config.limits.message_size, config.limits.smtp_idle, config.limits.recipients),
        (2**20, 90.0, 5))
        self.assertEqual(config.smtp, (SMTPListener(
            "tcp:465", tls=True, clients=("192.168.1.0-192.168.1.31", "localhost"), sender="Printer@example.org"),))
        self.assertEqual(config.pop3, (POP3Listener("tcp:110", apop=True),))
        self.assertEqual(config.route, (
            RouteRule("relay:office", recipient=r".*@old\.example\.org", listener="smtp[0]", anyone=True),
            RouteRule("refuse", reply="550 5.7.1 No")))

    def test_key_as_text(self) -> None:
        """The key's path may stand alone or in a table."""
        config = self.load("state = \"var\"\n[tls]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"")
        self.assertEqual(config.tls, TLSSettings(self.base / "cert.pem", self.base / "key.pem"))
        self.assertEqual(config.state, self.base / "var")

    def test_every_key_has_a_reader(self) -> None:
        """The table of readers and the model name the same keys."""
        table = readers(Path("/"), ())
        for cls, keys in table.items():
            inner = {name for section, name, _ in settings() if section == cls.__name__}
            self.assertEqual(set(keys), inner, cls)


class FileTests(SynchronousTestCase):
    """Reading the file itself."""

    def write(self, octets: bytes) -> Path:
        """A file with these octets."""
        path = Path(self.mktemp())
        path.write_bytes(octets)
        return path

    def test_load(self) -> None:
        """A file is read as UTF-8, with or without the mark that some editors put in front."""
        for octets in (b'hostname = "a.example"', b'\xef\xbb\xbfhostname = "a.example"'):
            path = self.write(octets)
            config = load(path)
            self.assertEqual((config.hostname, config.source), ("a.example", str(path)))

    def test_relative_paths(self) -> None:
        """Paths are relative to the file, and absolute afterwards."""
        path = self.write(b'hostname = "a.example"\nstate = "var"')
        self.assertEqual(load(path).state, path.absolute().parent / "var")

    def test_unreadable(self) -> None:
        """A file that is not there, a folder, other encodings and huge files are faults, not crashes."""
        folder = Path(self.mktemp())
        folder.mkdir()
        for path, expected in [
            (folder / "gone", "file: cannot be read: No such file or directory"),
            (folder, "file: cannot be read: Is a directory"),
            (self.write(b'a = 1\nb = "\xff"'), "line 2: is not UTF-8"),
            (self.write(b"#" * (4 * 1024 * 1024 + 1)), "file: is larger than 4 MiB; that is no configuration"),
        ]:
            self.assertEqual(str(self.assertRaises(ConfigError, load, path)), f"{path}: {expected}")


class HostnameTests(SynchronousTestCase):
    """The default name of the host."""

    def test_valid(self) -> None:
        """The first candidate that names a host is taken; what look-ups make of loopback is not."""
        for candidates, name in [
            (("bridge.example.org", "bridge"), "bridge.example.org"), (("localhost", "bridge"), "bridge"),
            (("localhost.localdomain", "pc"), "pc"), (("1.0.0.127.in-addr.arpa", "pc"), "pc"), (("", "pc"), "pc"),
            (("my_pc.example",), "my-pc.example"), (("büro",), "b-ro"), (("-pc-.",), "pc"),
            (("", ""), "localhost.localdomain"),
            (("a..b",), "localhost.localdomain"), (("x" * 300, "pc"), "pc"),
        ]:
            self.assertEqual(valid_hostname(*candidates), name, candidates)

    def test_this_host(self) -> None:
        """The name of this host loads."""
        self.assertEqual(faults(f'hostname = "{this_host()}"'), [])

    @property_settings(deadline=None)
    @given(st.text(max_size=80))
    def test_any_name(self, name: str) -> None:
        """Whatever the system says, the default is a name that loads."""
        self.assertEqual(faults(f'hostname = "{valid_hostname(name)}"'), [])


def settings() -> list[tuple[str, str, object]]:
    """(class, key, default) of every key of the model that is a value and no table."""
    found: list[tuple[str, str, object]] = []
    tables = readers(Path("/"), ())
    for cls in (Config, *(c for c in tables if c is not Config)):
        for one in fields(cls):
            args = getattr(one.type, "__args__", (one.type,))
            is_table = any(part in tables for part in args)
            if one.name != "source" and not is_table:
                found.append((cls.__name__, one.name, one.default))
    return found


OCE_URL = 'url = "http://127.0.0.1:1895/"\n'


class ShippedFileTests(SynchronousTestCase):
    """etc/mailbridge.toml."""

    def switched_on(self) -> str:
        """The file with every setting that is off switched on."""
        return re.sub(r"(?m)^#(?=[a-z\[])", "", SHIPPED.read_text("utf-8"))

    def test_loads(self) -> None:
        """The file loads as it is, and says what would be so without it: every value in it is the default."""
        config = load(SHIPPED, default_hostname=lambda: "host.example")
        smtp, pop3 = SMTPListener("tcp:20001:interface=127.0.0.1"), POP3Listener("tcp:20002:interface=127.0.0.1")
        self.assertEqual(config, Config(
            hostname="host.example", smtp=(smtp,), pop3=(pop3,), users=UsersSettings(domains=("host.example",)),
            source=str(SHIPPED)))

    def test_switched_on(self) -> None:
        """Every setting that is off is written rightly."""
        base = Path(self.mktemp()).absolute()
        pem(base)
        text = self.switched_on().replace(OCE_URL, "")  # it has an OCE of its own
        self.assertIn("\n[tls]\n", text)
        self.assertEqual(faults(text, base), [])
        config = load_text(text, "x", base)
        self.assertEqual((len(config.route), config.users.postmaster), (1, "harold"))

    def test_every_key_is_in_it(self) -> None:
        """Every key of the model stands in the file, in its own table."""
        tables: dict[str, set[str]] = {"": set()}
        current = ""
        for line in self.switched_on().split("\n"):
            if line.startswith("["):
                current = line.strip("[]")
                if current.startswith("oce."):
                    current = "tribes"
                elif current != "popfetch.account":
                    current = current.partition(".")[0]  # several [relay.NAME] share the keys
                tables.setdefault(current, set())
            elif not line.startswith("#") and "=" in line:
                tables[current].add(line.split("=")[0].strip())
        names = {"Config": "", "StoreSettings": "store", "TLSSettings": "tls", "Limits": "limits",
        "SMTPListener": "smtp",
                 "POP3Listener": "pop3", "UsersSettings": "users", "RouteRule": "route",
                 "RelaySettings": "relay", "QueueSettings": "queue", "ReceiverSettings": "receiver",
                 "ApplicationSettings": "application", "PopfetchSettings": "popfetch",
                 "FetchAccount": "popfetch.account", "OCESettings": "oce", "TribeSettings": "tribes"}
        self.assertEqual(tables.pop("command_tags"), {"priority", "urgent"})  # named by the operator
        tables[""].add("command_tags")
        for cls, key, _ in settings():
            self.assertIn(key, tables[names[cls]], names[cls])
        self.assertEqual(sum(map(len, tables.values())), len(settings()))
        self.assertEqual(len(tables["limits"]), len(fields(Limits)))


toml_values = st.recursive(
    st.sampled_from(['"many"', "5", "-1", "true", "0.5", "nan", '"tcp:25"', '"tcp:26"', "2026-01-01", '"sqlite:x.db"',
    '""',
                     '"refuse"', '"maildrop:x"', '"require"', "'.*@a\\.org'", "'('", '"\\u0000"', '"é"', '"5 min"']),
    lambda inner: st.lists(inner, max_size=3).map(lambda items: "[" + ", ".join(items) + "]")
    | st.dictionaries(st.sampled_from(["file", "env", "listen", "to"]), inner, max_size=2).map(
        lambda items: "{" + ", ".join(f"{key} = {value}" for key, value in items.items()) + "}"),
    max_leaves=4,
)
toml_keys = st.sampled_from(sorted({key for _, key, _ in settings()} | {"smtp", "tls", "route", "limits", "x y",
"source"}))
toml_headers = st.sampled_from(["[store]", "[tls]", "[limits]", "[[smtp]]", "[[pop3]]", "[users]", "[[route]]",
"[oce]", "[smtp]"])


class PropertyTests(SynchronousTestCase):
    """What holds for all files."""

    @property_settings(deadline=None)
    @given(st.lists(toml_headers | st.tuples(toml_keys, toml_values).map(lambda pair: f'"{pair[0]}" = {pair[1]}'),
    max_size=12))
    def test_random_documents(self, lines: list[str]) -> None:
        """Any document is a configuration or a list of faults, each on one line."""
        for fault in faults("\n".join(lines)):
            self.assertIn(": ", fault)

    @property_settings(deadline=None)
    @given(st.integers(0, 2**32))
    def test_mutations(self, seed: int) -> None:
        """The shipped file with octets changed, lost or doubled is a configuration or a list of faults."""
        chance = random.Random(seed)
        text = ShippedFileTests.switched_on(ShippedFileTests())
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(text))
            text = text[:at] + chance.choice(["", "[", '"', "=", "0", "\n", "\0", "é", "]",
            text[at:at + 40]]) + text[at + 1:]
        faults(text)

    @property_settings(deadline=None)
    @given(st.text(max_size=60))
    def test_any_text(self, text: str) -> None:
        """Any text is a configuration or a list of faults."""
        faults(text)
