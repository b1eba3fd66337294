"""Collecting from real POP3 servers, and what broken ones do to the others.

    python bench/fetch.py servers [--many N] [--few N] [--popa3d PROGRAM --popa3d-user USER]
    python bench/fetch.py ten [--messages N] [--rounds N]

`servers`: a private Dovecot in clear, with STLS, with TLS from the first octet and with each SASL mechanism; a bridge's
own POP3 server with STLS; popa3d, unpacked with `dpkg -x` or installed, with the mailbox of a user of this host (its
password is the one in pop3_peers.py). N messages (10,000) from Dovecot in clear and from the bridge, 200 from the
others, in many shapes. What comes out of the bridge by POP3 is compared octet for octet below the lines it added, and
nothing may be left over there.

`ten`: seven mailboxes of a Dovecot are collected alone, then beside a server that never answers, a wrong password and
a server that cuts the connection at one message. The seven must be done within 10 % of their time alone (medians).

Needs root and dovecot-pop3d. Exit code 1 when anything is not so.
"""

from __future__ import annotations

import argparse
import shutil
import smtplib
import statistics
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from bridge import HOST, ROOT, Bridge
from fetchkill import maildrop, verdict
from pop3_peers import MECHANISMS, PASSWORD, Dovecot, Hanging, Poisoned, Popa3d, message

sys.path.insert(0, str(ROOT))

from mailbridge import certificate


def account(name: str, port: int, user: str, ca: Path | None = None, **more: object) -> str:
    """A `[[popfetch.account]]`."""
    settings = {"name": name, "host": "localhost" if ca else HOST, "port": port, "user": user, "password": PASSWORD,
                **({"ca": str(ca)} if ca else {}), **more}
    lines = [f"{key} = {value if isinstance(value, int) else repr(str(value))}" for key, value in settings.items()]
    return "\n".join(["[[popfetch.account]]", *lines, ""])


class Stage:
    """Servers and the collecting bridge in a folder that is gone afterwards."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="mb-f-"))
        self.folder.chmod(0o755)
        self.pem = self.folder / "cert.pem", self.folder / "key.pem"
        certificate.write(certificate.make(("localhost", HOST), 90, time.time()), *self.pem)
        self.dovecot = Dovecot(self.folder / "dovecot", *self.pem)
        self.dovecot.start()
        self.bridge = Bridge(self.folder / "bridge")
        self.bridge.configuration.chmod(0o600)
        self.base = self.bridge.configuration.read_text()
        self.bridge.start()
        self.ends: list[Any] = [self.bridge.stop, self.dovecot.stop]

    def follow(self, accounts: list[str]) -> None:
        """Let the bridge collect these accounts, and wait for the first cycle."""
        head = '[popfetch]\ntimer = "30 d"\nwait = 0\nlog_level = "error"\n'
        self.bridge.configuration.write_text(self.base + head + "\n".join(accounts))
        self.bridge.control("reload")

    def end(self) -> None:
        """End what was started."""
        for end in self.ends:
            end()
        shutil.rmtree(self.folder)


def sizes(count: int) -> list[bytes]:
    """So many messages, most of them small, some of 5 and 100 KiB."""
    return [message(number, (0, 5000, 0, 0, 100_000)[number % 5] if number % 50 < 5 else 1000)
            for number in range(count)]


def servers(args: argparse.Namespace) -> int:
    """Collect from each."""
    stage = Stage()
    failed = False
    try:
        ca, port, tls = stage.pem[0], stage.dovecot.port, stage.dovecot.tls_port
        rows: list[tuple[str, int, str, list[bytes]]] = []
        few, many = sizes(args.few), sizes(args.many)
        ways = [("Dovecot, clear", port, many, {"tls": "off"}), ("Dovecot, STLS", port, few, {"tls": "require"}),
                ("Dovecot, POP3S", tls, few, {"tls": "implicit"}),
                ("Dovecot, STLS, USER and PASS", port, few, {"tls": "require", "auth": "user"})]
        ways += [(f"Dovecot, STLS, {name.upper()}", port, few, {"tls": "require", "auth": name}) for name in MECHANISMS]
        accounts = []
        for number, (label, at, messages, more) in enumerate(ways):
            user = f"d{number}"
            stage.dovecot.fill(user, messages)
            accounts.append(account(label, at, user, ca if more["tls"] != "off" else None, deliver_to=user, **more))
            rows.append((label, len(messages), user, messages))
        other = Bridge(stage.folder / "other", tls=stage.pem)
        other.start()
        stage.ends.append(other.stop)
        other.control("user add", name="far", password=PASSWORD)
        with smtplib.SMTP(HOST, other.ports["smtp"]) as client:
            for text in many:
                client.sendmail("a@src.invalid", ["far@dst.invalid"], text.replace(b"\n", b"\r\n"), ["BODY=8BITMIME"])
        accounts.append(account("mailbridge, STLS", other.ports["pop3-tls"], "far", ca, deliver_to="own"))
        rows.append(("mailbridge, STLS", len(many), "own", many))
        if args.popa3d:
            popa3d = Popa3d(args.popa3d, args.popa3d_user)
            stage.ends.append(popa3d.stop)
            popa3d.fill(few)
            accounts.append(account("popa3d, clear", popa3d.port, args.popa3d_user, tls="off", deliver_to="popa"))
            rows.append(("popa3d, clear", len(few), "popa", few))
        for _, _, user, _ in rows:
            stage.bridge.control("user add", name=user, password=PASSWORD)
        stage.follow(accounts)
        told = stage.bridge.control("fetch now")
        by_name = {each["account"]: each for each in told["accounts"]}
        for label, count, user, messages in rows:
            each = by_name[label]
            wrong = [each["error"]] if each["error"] else []
            # what our own server gives has the lines of that bridge below those of this one
            wrong += verdict(messages, [_twice(octets, label) for octets in maildrop(stage.bridge, user)])
            total = each["total"]
            if total["deleted"] != count:
                wrong.append(f"{total['deleted']} deleted")
            seconds = each["ended"] - each["began"]
            failed = failed or bool(wrong)
            print(f"{label:36} {count:6} messages {total['octets'] / 1e6:7.1f} MB {seconds:6.2f} s  "
                  f"{'; '.join(wrong) or 'ok'}", flush=True)
    finally:
        stage.end()
    return int(failed)


def _twice(octets: bytes, label: str) -> bytes:
    """Without the lines that the other bridge has added, where it was one."""
    if not label.startswith("mailbridge"):
        return octets
    from fetchkill import below

    return below(octets)


def ten(args: argparse.Namespace) -> int:
    """Seven alone, then beside three that fail."""
    stage = Stage()
    try:
        names = [f"good{number}" for number in range(7)]
        for name in names:
            stage.bridge.control("user add", name=name, password=PASSWORD)
        good = [account(name, stage.dovecot.port, name, tls="off", deliver_to=name) for name in names]
        hanging, poisoned = Hanging(), Poisoned()
        stage.dovecot.fill("wrong", [message(1)])
        bad = [account("hanging", hanging.port, "x", tls="off"),
               account("wrong", stage.dovecot.port, "wrong", tls="off").replace(PASSWORD, "no"),
               account("poisoned", poisoned.port, "x", tls="off", deliver_to="good0")]
        took: dict[str, list[float]] = {"alone": [], "beside": []}
        errors: dict[str, str] = {}
        for _ in range(args.rounds):
            for what, accounts in (("alone", good), ("beside", [*good, *bad])):
                stage.follow(accounts)
                time.sleep(3.0)  # the first cycle finds empty mailboxes
                poisoned.turn += 1
                for name in names:
                    stage.dovecot.fill(name, [message(number, 5000) for number in range(args.messages)])
                threading.Thread(target=_ask, args=(stage.bridge,), daemon=True).start()
                took[what].append(_until_done(stage.bridge, names, args.messages))
                time.sleep(3.0)  # Dovecot answers a wrong password after two
                accounts_now = stage.bridge.control("fetch status")["accounts"]
                errors |= {each["account"]: each["error"] for each in accounts_now if each["error"]}
        alone, beside = statistics.median(took["alone"]), statistics.median(took["beside"])
        print(f"seven accounts of {args.messages} messages: alone {alone:.2f} s {_shown(took['alone'])}, beside three "
              f"that fail {beside:.2f} s {_shown(took['beside'])}: {beside / alone - 1:+.1%}")
        for name in ("hanging", "wrong", "poisoned"):
            print(f"    {name}: {errors.get(name) or 'still waits'}")
        return int(beside > 1.1 * alone)
    finally:
        stage.end()


def _ask(bridge: Bridge) -> None:
    with suppress(OSError, ValueError):  # the bridge ends meanwhile
        bridge.control("fetch now")


def _shown(seconds: list[float]) -> str:
    return f"({min(seconds):.2f}-{max(seconds):.2f})"


def _until_done(bridge: Bridge, names: list[str], count: int) -> float:
    """Seconds from the first beginning to the last end of those accounts."""
    while True:
        good = [each for each in bridge.control("fetch status")["accounts"] if each["account"] in names]
        if all(each["last"]["deleted"] == count and not each["running"] for each in good):
            return float(max(each["ended"] for each in good) - min(each["began"] for each in good))
        time.sleep(0.05)


def main() -> int:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    actions = parser.add_subparsers(required=True)
    action = actions.add_parser("servers")
    action.add_argument("--many", type=int, default=10_000)
    action.add_argument("--few", type=int, default=200)
    action.add_argument("--popa3d", metavar="PROGRAM")
    action.add_argument("--popa3d-user", metavar="USER", default="mbpop")
    action.set_defaults(work=servers)
    action = actions.add_parser("ten")
    action.add_argument("--messages", type=int, default=300)
    action.add_argument("--rounds", type=int, default=5)
    action.set_defaults(work=ten)
    args = parser.parse_args()
    return int(args.work(args))


if __name__ == "__main__":
    sys.exit(main())
