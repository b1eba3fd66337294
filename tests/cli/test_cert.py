"""`mailbridge cert`: a certificate for a LAN before there is a configuration, and with one."""

import io
import json
import stat
from contextlib import redirect_stdout
from ipaddress import ip_address
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.certificate import LONGEST, load_context
from mailbridge.cli import cert
from mailbridge.cli.main import parser
from mailbridge.config.load import load
from mailbridge.errors import ConfigError, StartError


class CertTests(SynchronousTestCase):
    """The command in a folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.config = self.folder / "mailbridge.toml"
        self.config.write_text('hostname = "bridge.example.org"\nstate = "state"\n')

    def run_command(self, *words: str, config: str | None = None) -> tuple[int, str]:
        """Exit status and output of `mailbridge --config FILE cert WORDS`."""
        args = parser().parse_args(["--config", config or str(self.config), "cert", *words])
        args.json = "--json" in words
        with redirect_stdout(io.StringIO()) as said:
            status = cert.run(args)
        return status, said.getvalue()

    def test_make(self) -> None:
        """The pair lies beside the configuration, the key is 0600, and what to put into the file is printed."""
        status, said = self.run_command("--name", "mail.lan", "--address", "192.0.2.7")
        self.assertEqual(status, 0)
        self.assertEqual(stat.S_IMODE((self.folder / "key.pem").stat().st_mode), 0o600)
        for words in ("bridge.example.org", "localhost", "mail.lan", "192.0.2.7", "127.0.0.1", "SHA-256",
                      'certificate = "cert.pem"', 'key = { file = "key.pem" }'):  # fmt: skip
            self.assertIn(words, said)
        load_context(self.folder / "cert.pem", self.folder / "key.pem")

    def test_what_it_prints_loads(self) -> None:
        """The lines it tells people to put into the file make a configuration that loads."""
        for words in ((), ("--certificate", str(self.folder / 'a "b".pem'), "--key", str(self.folder / "c.pem"))):
            with self.subTest(words=words):
                _, said = self.run_command(*words)
                lines = said[said.index("    [tls]") :].replace("    ", "")
                other = self.folder / "other.toml"
                other.write_text(self.config.read_text() + lines)
                tls = load(other).tls
                assert tls is not None
                load_context(tls.certificate, tls.key)

    def test_configured_places(self) -> None:
        """Files that the configuration names are made where it names them, although they are missing yet."""
        self.config.write_text('[tls]\ncertificate = "a.pem"\nkey = { file = "b.pem" }\n')
        self.assertRaises(ConfigError, load, self.config)
        status, said = self.run_command()
        self.assertEqual(status, 0)
        self.assertIn("SIGHUP", said)
        self.assertNotIn("[tls]", said)
        self.assertIsNotNone(load(self.config).tls)

    def test_not_twice(self) -> None:
        """A pair that is there is not replaced unless --force says so."""
        self.run_command()
        before = (self.folder / "cert.pem").read_bytes()
        self.assertIn("--force", str(self.assertRaises(StartError, self.run_command)))
        self.assertEqual((self.folder / "cert.pem").read_bytes(), before)
        self.assertEqual(self.run_command("--force")[0], 0)
        self.assertNotEqual((self.folder / "cert.pem").read_bytes(), before)

    def test_show(self) -> None:
        """--show tells names, days and the same fingerprint, in JSON too; a certificate that is missing is one line."""
        self.assertIn("does not exist", str(self.assertRaises(StartError, self.run_command, "--show")))
        made = json.loads(self.run_command("--json", "--days", "400")[1])
        status, said = self.run_command("--show")
        self.assertEqual(status, 0)
        for words in ("CN=bridge.example.org", "self-signed", "(400 days)", made["sha256"]):
            self.assertIn(words, said)
        told = json.loads(self.run_command("--show", "--json")[1])
        self.assertEqual(told["sha256"], made["sha256"])
        self.assertEqual(told["names"], made["names"])
        self.assertIsNone(told["warning"])

    def test_refused(self) -> None:
        """Names and days that cannot be are told in one line, and no file is made."""
        for words in (("--name", "a b"), ("--days", "0"), ("--days", str(LONGEST + 1)), ("--address", "1.2.3.4.5:6")):
            with self.subTest(words=words):
                error = self.assertRaises(StartError, self.run_command, *words)
                self.assertNotIn("\n", str(error))
        self.assertEqual(list(self.folder.iterdir()), [self.config])

    def test_configuration_that_is_none(self) -> None:
        """A file that is named and missing, or no TOML, is told in one line."""
        missing = str(self.folder / "none.toml")
        self.assertIn("none.toml", str(self.assertRaises(ConfigError, self.run_command, config=missing)))
        self.config.write_text("hostname =")
        self.assertIn("no TOML", str(self.assertRaises(StartError, self.run_command)))

    def test_names(self) -> None:
        """Names asked for come first; a host name gets its short form, an address none; nothing stands twice."""
        for host, extra, expected in (
            ("b.example", [], ("b.example", "b", "localhost", "::1")),
            ("b", ["x", "b"], ("x", "b", "localhost", "::1")),
            ("192.0.2.1", [], ("192.0.2.1", "localhost", "::1")),
        ):
            with self.subTest(host=host):
                self.assertEqual(cert.names(host, extra, ["::1"]), expected)

    def test_own_addresses(self) -> None:
        """The addresses of this machine are addresses, loopback last, each once."""
        found = cert.own_addresses()
        self.assertEqual(found[-2:], ("127.0.0.1", "::1"))
        self.assertEqual(len(set(found)), len(found))
        for address in found[:-2]:
            self.assertFalse(ip_address(address).is_loopback)
