"""`mailbridge check`: configuration, certificate, users and store; and `client` beside a store."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mailbridge import certificate
from mailbridge.certificate import DAY
from mailbridge.cli.check import Findings, check_certificate, check_people
from mailbridge.cli.client import about
from mailbridge.config.model import Config, TLSSettings, UsersSettings
from mailbridge.store.changes import Alias, Credentials, People, User

ROOT = Path(__file__).resolve().parent.parent.parent
NOW = 1_800_000_000.0
CONFIG = Config(hostname="b.example", users=UsersSettings(domains=("example.org",), postmaster="harold"))
HAROLD = User(1, "harold", Credentials("", ""))


class FindingsTests(SynchronousTestCase):
    """What is found without a process of its own."""

    def test_people(self) -> None:
        """No user at all is told with the command that makes one; so is a postmaster or alias that leads nowhere."""
        self.assertIn("mailbridge user add", " ".join(check_people(CONFIG, People((), ()))))
        self.assertEqual(list(check_people(CONFIG, People((HAROLD,), ()))), [])
        found = " ".join(check_people(CONFIG, People((evolve(HAROLD, name="bonnie"),), (Alias("sales", ("x",)),))))
        self.assertIn("postmaster", found)
        self.assertIn('"sales"', found)

    def test_certificate(self) -> None:
        """A certificate that cannot be loaded is a fault, one that has expired a warning, none at all is neither."""
        folder = Path(self.mktemp())
        folder.mkdir()
        config = evolve(CONFIG, tls=TLSSettings(folder / "cert.pem", folder / "key.pem"))
        for make, faults, warnings in ((False, 1, 0), (True, 0, 1)):
            if make:
                assert config.tls is not None
                certificate.write(certificate.make(("b",), 1, NOW), config.tls.certificate, config.tls.key)
            findings = Findings()
            check_certificate(config, NOW + 2 * DAY, findings)
            self.assertEqual((len(findings.faults), len(findings.warnings)), (faults, warnings))
        findings = Findings()
        check_certificate(CONFIG, NOW, findings)
        self.assertEqual(findings, Findings())

    def test_text(self) -> None:
        """Each finding has its line and the last one is the sum."""
        text = Findings(["a"], ["b", "c"], ["d"]).text("mailbridge.toml")
        self.assertEqual(
            text.splitlines(),
            ["fault: a", "warning: b", "warning: c", "d", "mailbridge.toml: 1 fault, 2 warnings"],
        )

    def test_about(self) -> None:
        """`client USER` says when there is no such user, by whatever name he would log in."""
        people = People((HAROLD,), ())
        for name in ("harold", "Harold", "harold@example.org"):
            self.assertEqual(about(name, CONFIG, people), ())
        for name in ("bonnie", "harold@elsewhere.example"):
            self.assertIn(name, about(name, CONFIG, people)[0])


class CommandTests(SynchronousTestCase):
    """The commands as processes, with a store."""

    def setUp(self) -> None:
        # Not below trial's own folder: the path of a UNIX socket may have little more than 100 octets.
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        (self.folder / "mailbridge.toml").write_text(
            'state = "state"\n[users]\ndomains = ["example.org"]\n[[smtp]]\nlisten = "tcp:0:interface=127.0.0.1"\n'
            '[[pop3]]\nlisten = "tcp:2:interface=127.0.0.1"\n'
        )

    def command(self, *words: str, typed: str = "") -> tuple[int, str]:
        """Exit code and output of `mailbridge WORDS`."""
        run = "import sys; from mailbridge.cli.main import main; sys.exit(main())"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        environment.pop("MAILBRIDGE_CONFIG", None)
        done = subprocess.run(
            [sys.executable, "-c", run, *words], input=typed, capture_output=True, text=True, cwd=self.folder,
            env=environment, timeout=60,
        )  # fmt: skip
        self.assertEqual(done.stderr, "")
        return done.returncode, done.stdout

    def test_looking_makes_nothing(self) -> None:
        """Before the first start there is no store, and neither check nor client makes one."""
        code, said = self.command("check", "--store")
        self.assertEqual(code, 0)
        self.assertIn("there is none yet", said)
        self.assertIn("mailbridge user add", said)
        self.assertIn("There is no user bonnie", self.command("client", "bonnie")[1])
        self.assertFalse((self.folder / "state").exists())

    def test_sound(self) -> None:
        """A sound configuration and store pass; a damaged store is a fault and exit 1."""
        self.assertEqual(self.command("user", "add", "bonnie", "--password-stdin", typed="a good pass phrase\n")[0], 0)
        code, said = self.command("check", "--store", "--json")
        told = json.loads(said)
        self.assertEqual((code, told["faults"], told["warnings"]), (0, [], []))
        self.assertIn("checked", told["notes"][0])
        self.assertEqual(json.loads(self.command("client", "bonnie", "--json")[1])["address"], "bonnie@example.org")
        (self.folder / "state" / "mail.db").write_bytes(b"no data base" * 1000)
        code, said = self.command("check", "--store")
        self.assertEqual(code, 1)
        self.assertIn("fault: ", said)

    def test_little_room(self) -> None:
        """A disk with hardly more than min_free is a warning that says what to do, also before there is a store."""
        with (self.folder / "mailbridge.toml").open("a") as configuration:
            configuration.write('[store]\nmin_free = "900 TiB"\n')
        code, said = self.command("check")
        self.assertEqual(code, 0)
        self.assertRegex(said, "warning: .* are free on its file system: .*store.min_free.*make room")

    def test_every_fault(self) -> None:
        """All faults of a configuration are told at once, each with its place."""
        (self.folder / "mailbridge.toml").write_text('statte = "x"\n[limits]\nhops = "many"\n')
        code, said = self.command("check")
        self.assertEqual(code, 1)
        self.assertIn("statte", said)
        self.assertIn("limits.hops", said)
