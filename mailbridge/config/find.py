"""Where the configuration is: the same answer for `twist mailbridge` and for `mailbridge`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mailbridge.errors import ConfigError, Fault

VARIABLE = "MAILBRIDGE_CONFIG"
NAME = "mailbridge.toml"
SYSTEM = Path("/etc/mailbridge") / NAME


def find_config(argument: str | None, environ: Mapping[str, str], cwd: Path, system: Path = SYSTEM) -> Path:
    """The file to load: `argument` (of --config), else $MAILBRIDGE_CONFIG, `cwd`/mailbridge.toml, `system`.

    What is named on purpose is not searched for elsewhere. Raises ConfigError that says where it looked.
    """
    for origin, named in (("--config", argument), (f"${VARIABLE}", environ.get(VARIABLE))):
        if named:
            path = cwd / named
            if path.is_file():
                return path
            raise ConfigError("mailbridge", (Fault(origin, f"there is no file {path}"),))
    places = (cwd / NAME, system)
    for path in places:
        if path.is_file():
            return path
    looked = " nor ".join(str(path) for path in places)
    problem = f"found neither {looked}; name the file with --config or ${VARIABLE}"
    raise ConfigError("mailbridge", (Fault("configuration", problem),))
