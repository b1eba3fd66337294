"""What is packed and how it is found: the wheel, the plugin, and the documents that tell people how to run it."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import zipfile
from configparser import ConfigParser, RawConfigParser
from pathlib import Path

from twisted.application.service import IServiceMaker
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

from mailbridge import certificate
from mailbridge.cli import sendmail
from mailbridge.cli.main import main, parser
from mailbridge.config.load import load_text
from mailbridge.tap import Options

ROOT = Path(__file__).resolve().parent.parent
PACKED = ("LICENSE", "README.rst", "mailbridge", "pyproject.toml", "setup.cfg", "setup.py", "twisted")


def _settings() -> ConfigParser:
    settings = ConfigParser()
    settings.read(ROOT / "setup.cfg")
    return settings


class PackagingTests(SynchronousTestCase):
    """The checkout as setuptools, Twisted and a reader see it."""

    def test_every_package_is_listed(self) -> None:
        """The package list of setup.cfg names each folder of mailbridge, the plugin's, and nothing else."""
        found = {".".join(init.parent.relative_to(ROOT).parts) for init in (ROOT / "mailbridge").rglob("__init__.py")}
        self.assertEqual(set(_settings()["options"]["packages"].split()), found | {"twisted.plugins"})

    def test_twisted_is_not_shadowed(self) -> None:
        """No `__init__.py` stands in our `twisted/`: it would hide Twisted itself."""
        self.assertEqual(list((ROOT / "twisted").rglob("__init__.py")), [])

    def test_plugin(self) -> None:
        """`twist mailbridge` and `twist mailbridge-oce` are found once; their modules have what `twist` asks for."""
        for name in ("mailbridge", "mailbridge-oce"):
            (maker,) = [maker for maker in getPlugins(IServiceMaker) if maker.tapname == name]
            self.assertTrue(callable(maker.options))
            self.assertTrue(callable(maker.makeService))

    def test_command(self) -> None:
        """The console scripts of setup.cfg name functions that exist."""
        lines = _settings()["options.entry_points"]["console_scripts"].strip().splitlines()
        self.assertEqual(lines, ["mailbridge = mailbridge.cli.main:main",
                                 "mailbridge-sendmail = mailbridge.cli.sendmail:main"])
        self.assertTrue(callable(main) and callable(sendmail.main))

    def test_wheel(self) -> None:
        """A wheel holds every module, the plugin, py.typed and the licence, and no test."""
        tree = Path(self.mktemp())
        tree.mkdir()
        for name in PACKED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, tree / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
            else:
                shutil.copy(source, tree / name)
        build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"
        done = subprocess.run(
            [sys.executable, "-c", build, "dist"], cwd=tree, capture_output=True, text=True, env=dict(os.environ)
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        (wheel,) = (tree / "dist").iterdir()
        with zipfile.ZipFile(wheel) as archive:
            names = set(archive.namelist())
        modules = {str(path.relative_to(ROOT)) for path in (ROOT / "mailbridge").rglob("*.py")}
        packed = {name for name in names if ".dist-info/" not in name}
        self.assertEqual(packed, modules | {"mailbridge/py.typed", "twisted/plugins/mailbridge_plugin.py"})
        self.assertTrue(any(name.endswith("LICENSE") for name in names))



class DocumentTests(SynchronousTestCase):
    """What people copy from the documents works."""

    def test_first_configuration(self) -> None:
        """The first configuration of the README loads."""
        text = (ROOT / "README.rst").read_text()
        block = text[text.index("    hostname = ") : text.index("``state`` is the folder")]
        config = load_text(textwrap.dedent(block), "README.rst", Path("/nowhere"))
        self.assertEqual((len(config.smtp), len(config.pop3), config.users.postmaster), (1, 1, "harold"))

    def test_application(self) -> None:
        """The application of the README loads, in a folder that is there."""
        text = (ROOT / "README.rst").read_text()
        block = text[text.index("    [application.sms]") : text.index("Only users who are logged in and the listed")]
        block = block.replace("/var/spool/sms", str(ROOT))
        config = load_text(textwrap.dedent(block), "README.rst", Path("/nowhere"))
        self.assertEqual((config.application["sms"].ctl_type, len(config.application["sms"].clients)), ("sms", 2))

    def test_oce(self) -> None:
        """The OCE of the README loads, beside a certificate and the secret."""
        text = (ROOT / "README.rst").read_text()
        block = textwrap.dedent(text[text.index("    [oce]\n") : text.index("The operators of two tribes")])
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "friends.secret").write_text("secret")
        (folder / "friends.secret").chmod(0o600)
        tls = '[tls]\ncertificate = "cert.pem"\nkey = { file = "key.pem" }\n'
        head = 'hostname = "b.example"\nstate = "state"\n[users]\ndomains = ["b.example"]\n'
        certificate.write(certificate.make(("b.example",), 1, 0.0), folder / "cert.pem", folder / "key.pem")
        config = load_text(head + tls + block, "README.rst", folder)
        assert config.oce is not None
        self.assertEqual((config.oce.embedded, list(config.oce.tribes)), (True, ["friends"]))

    def test_commands(self) -> None:
        """Every `mailbridge` command line of the README is one that the command takes."""
        lines = re.findall(r"^    .*\.venv/bin/mailbridge (.*)$", (ROOT / "README.rst").read_text(), re.MULTILINE)
        self.assertGreater(len(lines), 8)
        for line in lines:
            with self.subTest(line=line):
                self.assertTrue(callable(parser().parse_args(shlex.split(line)).run))

    def test_units(self) -> None:
        """The units for systemd and supervisord start `twist mailbridge` with options that it has."""
        for name, section, key in (
            ("supervisord.conf", "program:mailbridge", "command"), ("mailbridge.service", "Service", "ExecStart")
        ):  # fmt: skip
            with self.subTest(name=name):
                unit = RawConfigParser(strict=False)
                unit.read(ROOT / "etc" / name)
                program, *before = shlex.split(unit[section][key])
                self.assertEqual(Path(program).name, "twist")
                option, path = before[before.index("mailbridge") + 1 :]
                self.assertIn(option.removeprefix("--"), Options().synonyms)
                self.assertTrue(path.endswith("mailbridge.toml"))

    def test_one_way_to_test(self) -> None:
        """The README, CONTRIBUTING and the CI run the tests by the same command."""
        for name in ("README.rst", "CONTRIBUTING.rst", ".ci/run"):
            with self.subTest(name=name):
                self.assertIn("-m twisted.trial", (ROOT / name).read_text())
