"""A smart host that refuses the login for 20 periods, then takes it: nothing bounces, is lost or comes twice.

    python bench/refusedlogin.py [--periods N] [--pause SECONDS] [--messages N] [--keep FOLDER]

A private bridge relays to a server in this process (aiosmtpd, STARTTLS, login required) that is down at first, then
answers 535 to every login. The bridge pauses that way out and tries one login a period. Shown at each stage:
`mailbridge queue stats` and `mailbridge status` with their exit codes, the lines of the log, the sender's maildrop, the
logins that the server saw. In the middle more mail comes, and the bridge is started anew. Then the server takes the
login. `--pause` is the period, at least a second. Exit code 1 when anything of it does not hold.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import shutil
import smtplib
import ssl
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from bridge import DOMAIN, HOST, ROOT, Bridge, Lines, free_port

sys.path.insert(0, str(ROOT))

from mailbridge import certificate

SENDER = f"bonnie@{DOMAIN}"
PASSWORD = "Correct-Horse7Battery"
SECRET = "hunter2-is-the-smart-hosts"
PATIENCE = 60.0


class SmartHost:
    """It refuses each login until `good`; `logins` are the times of its refusals, `taken` what was sent, by tag."""

    def __init__(self, pair: tuple[Path, Path]) -> None:
        logging.getLogger("mail").setLevel(logging.ERROR)
        self.good = False
        self.logins: list[float] = []
        self.taken: Counter[tuple[str, str]] = Counter()
        self.port = free_port()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*pair)
        self._controller = Controller(self, hostname=HOST, port=self.port, tls_context=context, require_starttls=True,
                                      auth_required=True, authenticator=self._login)

    def start(self) -> None:
        """Listen."""
        self._controller.start()

    def stop(self) -> None:
        """End it, if it was started."""
        self._controller.stop(no_assert=True)

    def _login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        if not self.good:
            self.logins.append(time.monotonic())
        return AuthResult(success=self.good, handled=False)

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        """See aiosmtpd."""
        tag = re.search(rb"^Message-ID: <(.*)@", envelope.content, re.M)
        for recipient in envelope.rcpt_tos:
            self.taken[tag.group(1).decode() if tag else "", recipient] += 1
        return "250 2.0.0 taken"


class Stage:
    """The bridge, the smart host, what was sent, and what went wrong."""

    def __init__(self, folder: Path, pause: float) -> None:
        pair = (folder / "cert.pem", folder / "key.pem")
        certificate.write(certificate.make(("localhost", HOST), 90, time.time()), *pair)
        secret = folder / "password"
        secret.touch(0o600)
        secret.write_text(SECRET)
        self.host = SmartHost(pair)
        self.bridge = Bridge(folder / "bridge", more="\n".join([
            "[queue]", "retry = 1", "longest_retry = 1", f"pause = {pause:g}", "[relay.office]",
            f'servers = ["localhost:{self.host.port}"]', 'tls = "require"', f'ca = "{pair[0]}"', 'user = "bridge"',
            f'password = {{ file = "{secret}" }}']))
        self.sent: Counter[tuple[str, str]] = Counter()
        self.failures: list[str] = []

    def hold(self, what: str, holds: bool) -> None:
        """Say whether something holds."""
        print(f"  {'ok' if holds else 'FAILED':6} {what}")
        if not holds:
            self.failures.append(what)

    def send(self, count: int) -> None:
        """Messages of bonnie to two people outside each."""
        with smtplib.SMTP(HOST, self.bridge.ports["smtp"]) as client:
            client.login("bonnie", PASSWORD)
            for _ in range(count):
                tag = f"refused-{len(self.sent)}"
                people = [f"clyde{number}@else.invalid" for number in range(2)]
                client.sendmail(SENDER, people, f"Message-ID: <{tag}@{DOMAIN}>\r\nSubject: x\r\n\r\n{tag}\r\n".encode())
                self.sent.update((tag, person) for person in people)

    def command(self, *words: str) -> tuple[int, str]:
        """The exit code and the output of `mailbridge ...`."""
        done = subprocess.run(
            [sys.executable, "-c", "import sys; from mailbridge.cli.main import main; sys.exit(main())", *words,
             "--config", str(self.bridge.folder / "mailbridge.toml")],
            cwd=ROOT, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C.UTF-8"}, check=False)
        return done.returncode, done.stdout + done.stderr

    def log(self) -> list[str]:
        """The lines of the bridge's log."""
        return (self.bridge.folder / "log").read_text().splitlines()

    def returned(self) -> int:
        """What is in the sender's maildrop."""
        reader = Lines(self.bridge.ports["pop3"])
        reader.login("bonnie", PASSWORD)
        count = reader.count()
        reader.quit()
        return count

    def until(self, done: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Wait for it. Raises SystemExit."""
        end = time.monotonic() + patience
        while not done():
            if time.monotonic() > end:
                raise SystemExit(f"{what}: not within {patience:.0f} s")
            time.sleep(0.05)

    def waiting(self) -> int:
        """Deliveries in the queue, with those that are being tried."""
        return int(self.bridge.control("queue count", all=True)["count"])

    def refused(self) -> None:
        """What has to be seen while the login is refused."""
        code, text = self.command("queue", "stats")
        alarm = next((line for line in text.splitlines() if "ALARM" in line), "")
        print(f"  queue stats ({code}): {alarm}")
        self.hold("queue stats has the alarm", "relay:office is paused" in alarm and "535" in alarm)
        code, text = self.command("status")
        print(f"  status ({code}): {text.splitlines()[0]}")
        self.hold("status warns (exit code 1 or 2)", code in (1, 2) and "relay:office is paused" in text)
        alarms = [line for line in self.log() if "ALARM" in line]
        print(f"  log: {len(alarms)} times ALARM, the last: {alarms[-1] if alarms else ''}")
        self.hold("the log has the alarm", bool(alarms))
        self.hold(f"all {self.sent.total()} deliveries wait", self.waiting() == self.sent.total())
        self.hold("nothing has come back", self.returned() == 0)


def show(stage: Stage, periods: int, pause: float, messages: int) -> None:
    """All of it."""
    host = stage.host
    print(f"1. {messages} messages to two people each while the smart host is down; then it refuses the login")
    stage.send(messages)
    stage.until(lambda: any(lane["reason"] for lane in stage.bridge.control("queue stats")["lanes"]), "it is noticed")
    stage.hold("a host that is down is no alarm", not stage.bridge.control("queue stats")["alarms"])
    host.start()
    stage.until(lambda: bool(stage.bridge.control("queue stats")["alarms"]), "the route pauses")
    stage.refused()
    half = periods // 2
    stage.until(lambda: len(host.logins) >= half, f"{half} logins", PATIENCE + 3 * half * pause)
    print(f"2. after {len(host.logins)} refused logins: {messages} messages more, and the bridge is started anew")
    stage.send(messages)
    stage.bridge.stop()
    stage.bridge.start()
    before = len(host.logins)
    alarms = sum("ALARM" in line for line in stage.log())
    stage.until(lambda: len(host.logins) > before, "a login after the start")
    stage.until(lambda: sum("ALARM" in line for line in stage.log()) > alarms, "the alarm in the log after the start")
    stage.refused()
    stage.until(lambda: len(host.logins) > periods, f"{periods} periods", PATIENCE + 3 * periods * pause)
    apart = [later - sooner for sooner, later in zip(host.logins, host.logins[1:], strict=False)]
    print(f"3. after {len(host.logins)} refused logins, {min(apart):.2f} to {max(apart):.2f} s apart")
    stage.refused()
    stage.hold("not more than one login a period", min(sorted(apart)[1:]) >= 0.9 * pause)
    print("4. the smart host takes the login")
    host.good = True
    begun = time.monotonic()
    stage.until(lambda: not stage.waiting(), "the queue is empty")
    print(f"  the queue is empty after {time.monotonic() - begun:.1f} s")
    wrong = (stage.sent - host.taken) + (host.taken - stage.sent)
    stage.hold(f"{stage.sent.total()} deliveries, each exactly once (otherwise: {wrong.total()})", not wrong)
    stage.hold("nothing has come back", stage.returned() == 0)
    code, text = stage.command("queue", "stats")
    stage.hold(f"queue stats ({code}) has no alarm", "ALARM" not in text)
    code, text = stage.command("status")
    print(f"  status ({code}): {text.splitlines()[0]}")
    stage.hold("status is OK", code == 0)
    again = [line for line in stage.log() if "works again" in line]
    print(f"  log: {again[-1] if again else ''}")
    stage.hold("the log says that it works again", bool(again))
    log = "\n".join(stage.log())
    stage.hold("no password is in the log", SECRET not in log and PASSWORD not in log)


def main() -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description="a smart host that refuses the login")
    parser.add_argument("--periods", type=int, default=20)
    parser.add_argument("--pause", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--messages", type=int, default=20)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder for all files, which is kept")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="refused-"))
    stage = Stage(folder.resolve(), options.pause)
    try:
        stage.bridge.start()
        stage.bridge.control("user add", name="bonnie", password=PASSWORD, keep_secret=True)
        show(stage, options.periods, options.pause, options.messages)
    finally:
        stage.bridge.stop()
        stage.host.stop()
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print("all of it holds" if not stage.failures else f"FAILED: {'; '.join(stage.failures)}")
    return 1 if stage.failures else 0


if __name__ == "__main__":
    sys.exit(main())
