"""One collection as a command: for `pop3_fetch.py --own`, and for the scripts beside it.

    python bench/collect.py once FOLDER HOST PORT USER PASSWORD    a bridge is put together for it, and ends with it
    python bench/collect.py ask FOLDER HOST PORT USER PASSWORD     a bridge that runs in FOLDER is asked and waited for

FOLDER gets (or has) mailbridge.toml with this one account; a bridge that runs reads it again where it has changed.
`ask` needs nothing of mailbridge but its control socket. Exit code 1 when anything was left on the server.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path

DOMAIN = "dst.invalid"
ACCOUNT = """
[popfetch]
timer = "30 d"
log_level = "error"
[[popfetch.account]]
host = "{host}"
port = {port}
user = "{user}"
password = "{password}"
tls = "off"
"""


def control(folder: Path, command: str, **arguments: object) -> dict[str, object]:
    """The answer of the bridge in `folder`."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(folder / "state" / "control.sock"))
        line.sendall(json.dumps({"id": 1, "command": command, "arguments": arguments}).encode() + b"\n")
        answer: dict[str, object] = json.loads(line.makefile().readline())
    return answer


def configure(folder: Path, host: str, port: str, user: str, password: str) -> bool:
    """Put the account behind what is in the file; whether that was news."""
    path = folder / "mailbridge.toml"
    old = path.read_text()
    new = old.partition("\n[popfetch]")[0] + ACCOUNT.format(host=host, port=port, user=user, password=password)
    if new != old:
        path.write_text(new)
    return new != old


def main() -> int:
    """Collect."""
    how, name, *account = sys.argv[1:]
    folder = Path(name)
    changed = configure(folder, *account)
    if how == "once":
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        from mailbridge.cli.main import main as mailbridge

        return mailbridge(["fetch", "--config", str(folder / "mailbridge.toml")])
    if changed:
        control(folder, "reload")
    told = control(folder, "fetch now")
    print(json.dumps(told))
    result = told.get("result")
    return 0 if isinstance(result, dict) and not result["failed"] else 1


if __name__ == "__main__":
    sys.exit(main())
