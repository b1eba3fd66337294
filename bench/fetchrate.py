"""How fast mail is collected from Dovecot into the bridge, beside mpop and getmail6, in one run.

    python bench/fetchrate.py HARNESS [--count N] [--size OCTETS] [--rounds N]

HARNESS is a pop3_fetch.py with `--own LABEL=COMMAND` ({host} {port} {user} {password} are filled in), which fills a
mailbox of a private Dovecot, has each program empty it in turn and prints messages a second. Two ways of the bridge:
`asked` is one that runs and is told to collect, until the last message is durable and deleted over there; `once` is the
command `mailbridge fetch` without a bridge, so that starting Python and opening the store are in it. Afterwards every
message must be in the maildrop. Needs root (the harness does), and runs everything as the user nobody; `--python` names
an interpreter that nobody may run, where that of this script is in somebody's home.
"""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bridge import ROOT
from collect import DOMAIN, control

import twisted

NOBODY = pwd.getpwnam("nobody")
BASE = f"""hostname = "bridge.{DOMAIN}"
state = "state"
[[pop3]]
listen = "tcp:0:interface=127.0.0.1"
[users]
domains = ["{DOMAIN}"]
[limits]
wrong_passwords = 1000
"""


def folder(parent: Path, name: str) -> Path:
    """A folder of nobody's with a configuration."""
    path = parent / name
    path.mkdir(mode=0o700)
    (path / "mailbridge.toml").write_text(BASE)
    (path / "mailbridge.toml").chmod(0o600)
    for each in (path, path / "mailbridge.toml"):
        os.chown(each, NOBODY.pw_uid, NOBODY.pw_gid)
    return path


def start(path: Path, python: str) -> subprocess.Popen[bytes]:
    """A bridge there, with the user b."""
    process = subprocess.Popen(
        [python, "-m", "twisted", "mailbridge", "--config", str(path / "mailbridge.toml")], cwd=ROOT,
        stdout=(path / "log").open("wb"), stderr=subprocess.STDOUT, user=NOBODY.pw_uid, group=NOBODY.pw_gid,
        extra_groups=[])
    for _ in range(600):
        try:
            control(path, "user add", name="b", password="bench")
            return process
        except OSError:
            time.sleep(0.05)
    process.kill()
    raise SystemExit(f"the bridge did not start; see {path / 'log'}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it."""
    process.terminate()
    process.wait(30)


def stored(path: Path, python: str) -> int:
    """Messages of b. The bridge of `path` must not run."""
    process = start(path, python)
    try:
        told = control(path, "user show", name="b")["result"]
        assert isinstance(told, dict)
        return int(told["messages"])
    finally:
        stop(process)


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("harness", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--size", type=int, default=5120)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", action="store_true", help="without getmail6")
    parser.add_argument("--python", default=sys.executable)
    args = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(twisted.__file__).parent.parent)
    parent = Path(tempfile.mkdtemp(prefix="mb-rate-"))
    parent.chmod(0o755)
    try:
        asked, once = folder(parent, "asked"), folder(parent, "once")
        stop(start(once, args.python))
        running = start(asked, args.python)
        try:
            command = f"{args.python} {ROOT}/bench/collect.py %s %s {{host}} {{port}} {{user}} {{password}}"
            own = [("asked", command % ("ask", asked)), ("once", command % ("once", once))]
            subprocess.run([
                sys.executable, args.harness.resolve(), "mpop", *([] if args.only else ["getmail6"]),
                *(word for label, text in own for word in ("--own", f"{label}={text}")),
                "--count", str(args.count), "--size", str(args.size), "--rounds", str(args.rounds),
            ], check=True)
        finally:
            stop(running)
        found = {path.name: stored(path, args.python) for path in (asked, once)}
        print(f"in the maildrops: {found}; expected {args.count * args.rounds} each")
        return int(set(found.values()) != {args.count * args.rounds})
    finally:
        shutil.rmtree(parent)


if __name__ == "__main__":
    sys.exit(main())
