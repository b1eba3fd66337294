"""Where the configuration is looked for."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.find import SYSTEM, find_config
from mailbridge.errors import ConfigError


class FindTests(SynchronousTestCase):
    """In the order of DESIGN 7."""

    def setUp(self) -> None:
        """Four files, one for each place."""
        self.cwd = Path(self.mktemp()).absolute()
        self.cwd.mkdir()
        for name in ("argument.toml", "environ.toml", "mailbridge.toml", "system.toml"):
            (self.cwd / name).write_text("")
        self.system = self.cwd / "system.toml"
        self.environ = {"MAILBRIDGE_CONFIG": "environ.toml"}

    def test_order(self) -> None:
        """--config comes first, then the environment, the folder one is in, and the system's file."""
        self.assertEqual(find_config("argument.toml", self.environ, self.cwd, self.system), self.cwd / "argument.toml")
        self.assertEqual(find_config(None, self.environ, self.cwd, self.system), self.cwd / "environ.toml")
        self.assertEqual(find_config(None, {}, self.cwd, self.system), self.cwd / "mailbridge.toml")
        (self.cwd / "mailbridge.toml").unlink()
        self.assertEqual(find_config(None, {}, self.cwd, self.system), self.system)

    def test_absolute(self) -> None:
        """A whole path is taken as it is."""
        path = self.cwd / "argument.toml"
        self.assertEqual(find_config(str(path), {}, Path("/"), self.system), path)

    def test_empty_variable(self) -> None:
        """An empty variable is as good as none."""
        found = find_config(None, {"MAILBRIDGE_CONFIG": ""}, self.cwd, self.system)
        self.assertEqual(found, self.cwd / "mailbridge.toml")

    def test_named_file_is_missing(self) -> None:
        """A file that was named on purpose is not replaced by another."""
        error = self.assertRaises(ConfigError, find_config, "gone.toml", self.environ, self.cwd, self.system)
        self.assertEqual(str(error), f"mailbridge: --config: there is no file {self.cwd / 'gone.toml'}")
        error = self.assertRaises(ConfigError, find_config, None, {"MAILBRIDGE_CONFIG": "gone"}, self.cwd, self.system)
        self.assertIn("$MAILBRIDGE_CONFIG: there is no file", str(error))

    def test_nothing_found(self) -> None:
        """Without any file it says where it looked and what to do."""
        self.system.unlink()
        (self.cwd / "mailbridge.toml").unlink()
        error = str(self.assertRaises(ConfigError, find_config, None, {}, self.cwd, self.system))
        for part in (str(self.cwd / "mailbridge.toml"), str(self.system), "--config", "$MAILBRIDGE_CONFIG"):
            self.assertIn(part, error)
        self.assertEqual(SYSTEM, Path("/etc/mailbridge/mailbridge.toml"))
