"""A bridge that collects from another's POP3 server over loopback: by its timer, by command, as a dmail.conf says."""

from __future__ import annotations

import json
import os
import poplib
import shutil
import signal
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.running import PATIENCE, ROOT, RunningBridge, short_folder

FAR = """
hostname = "far.example"
state = "state"
[[smtp]]
listen = "tcp:0:interface=127.0.0.1"
[[pop3]]
listen = "tcp:0:interface=127.0.0.1"
[users]
domains = ["far.example"]
"""

NEAR = """
hostname = "near.example"
state = "state"
[[smtp]]
listen = "tcp:0:interface=127.0.0.1"
clients = ["127.0.0.1"]
[[pop3]]
listen = "tcp:0:interface=127.0.0.1"
[users]
domains = ["near.example"]
[queue]
retry = "1 s"
"""

POPFETCH = """
[popfetch]
timer = "1 h"
caretaker = "harold"
domain = "near.example"
[[popfetch.account]]
host = "127.0.0.1"
port = %d
user = "all"
password = "correct horse"
tls = "off"
name = "far"
"""

PAGE = """pf_user fred passwd 127.0.0.1:%(port)d
pf_user fred2 passwd 127.0.0.1:%(port)d
pf_domain local.domain
pf_max_duds 15
pf_dflt_address fallback@local.domain
pf_retry_delay 60
ras_timer 5
ras_number 1,,12345678
ras_entry
ras_username our_account
ras_password account_password
ras_domain
ras_smtpip 127.0.0.1
ras_timeout 10
"""
"""The page's example, with its addresses on loopback."""

BODY = b"\r\n.leading dot\r\n\xff\xfe 8 bits\r\nFrom here\r\n"


def message(to: str, subject: str = "hello") -> bytes:
    """A message that names a recipient."""
    return f"From: a@out.example\r\nTo: {to}\r\nSubject: {subject}\r\n".encode() + BODY


class Fetching(SynchronousTestCase):
    """A near bridge that collects the mailbox `all` of a far one."""

    def setUp(self) -> None:
        self.folder = self.new_folder()
        self.start_far()
        self.far.ask("user add", name="all", password="correct horse")

    def start_far(self) -> None:
        """Start the far bridge."""
        self.far = self.bridge(self.new_folder(), FAR)

    def new_folder(self) -> Path:
        """A folder that is gone after the test."""
        folder = short_folder()
        self.addCleanup(shutil.rmtree, folder, True)
        return folder

    def bridge(self, folder: Path, configuration: str) -> RunningBridge:
        """A started bridge that ends with the test."""
        (folder / "mailbridge.toml").touch(0o600)
        bridge = RunningBridge(folder, configuration)
        self.addCleanup(bridge.stop)
        bridge.start()
        return bridge

    def start(self, popfetch: str | None = None) -> None:
        """Start the near bridge with two users, and let it begin to collect."""
        if not hasattr(self, "near"):
            self.near = self.bridge(self.folder, NEAR)
        for name in ("bonnie", "harold"):
            self.near.ask("user add", name=name, password="correct horse")
        self.reload(NEAR + (POPFETCH % self.far.ports[1] if popfetch is None else popfetch))

    def reload(self, configuration: str) -> None:
        """Give the near bridge another configuration."""
        self.near.path.write_text(configuration)
        self.assertEqual(self.near.ask("reload"), {"notes": []})

    def send(self, *messages: bytes, to: str = "all@far.example") -> None:
        """Into the far mailbox."""
        if self.far is self.near:
            to = "all@near.example"
        with smtplib.SMTP("127.0.0.1", self.far.ports[0]) as client:
            for each in messages:
                client.sendmail("a@out.example", [to], each, ["BODY=8BITMIME"])

    def mail(self, bridge: RunningBridge, user: str, port: int = 1, password: str = "correct horse") -> list[bytes]:
        """All messages of a user."""
        box = poplib.POP3("127.0.0.1", bridge.ports[port])
        try:
            box.user(user)
            box.pass_(password)
            return [b"\r\n".join(box.retr(number + 1)[1]) + b"\r\n" for number in range(box.stat()[0])]
        finally:
            box.quit()

    def command(self, *arguments: str, code: int = 0) -> str:
        """The output of `mailbridge ...` in a process of its own."""
        done = subprocess.run(
            [sys.executable, "-c", "import sys; from mailbridge.cli.main import main; sys.exit(main())", *arguments,
             "--config", str(self.folder / "mailbridge.toml")],
            cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
        )
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        self.assertNotIn("correct horse", done.stdout + done.stderr)
        return done.stdout + done.stderr

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.near.log)
            time.sleep(0.05)

    def account(self) -> dict[str, Any]:
        """The state of the one account."""
        (account,) = self.near.ask("fetch status")["accounts"]
        return dict(account)


class TwoBridgesTests(Fetching):
    """Two bridges."""

    def test_collects(self) -> None:
        """At the start, and by command: to whom the header names, to the caretaker; octets equal; gone over there."""
        self.near = self.bridge(self.folder, NEAR)
        self.send(message("Bonnie <bonnie@provider.example>"), message("nobody@provider.example"))
        self.start()
        self.wait_until(lambda: self.account()["ended"])
        self.send(message("bonnie@provider.example", "second"), message("nobody@provider.example", "third"))
        told = self.command("fetch")
        self.assertIn("far: 1 delivered, 1 to the caretaker, 2 deleted", told)
        (mail,) = [each for each in self.mail(self.near, "bonnie") if b"Subject: second" in each]
        self.assertTrue(mail.endswith(message("bonnie@provider.example", "second")), mail)
        self.assertIn(b"Return-Path: <a@out.example>", mail)
        self.assertIn(b"with POP3", mail)
        caretakers = self.mail(self.near, "harold")
        self.assertTrue(any(b"third" in each and b"nobody@near.example" in each for each in caretakers))
        self.assertEqual(self.mail(self.far, "all"), [])
        total = self.account()["total"]
        self.assertEqual((total["fetched"], total["deleted"], total["failures"]), (4, 4, 0))
        path = self.folder / "state" / "popfetch" / "popfetch.log"
        self.wait_until(lambda: "delivered: bonnie@near.example" in path.read_text())  # it is written once a second
        self.assertNotIn("correct horse", path.read_text())

    def test_commands(self) -> None:
        """A dry run that changes nothing, a test cycle with what is said but no password, how it goes; the same while
        no bridge runs."""
        self.start()
        self.wait_until(lambda: self.account()["ended"])
        for runs in (True, False):
            if not runs:
                self.near.stop()
            self.send(message("bonnie@provider.example"), message("nobody@provider.example"))
            told = self.command("fetch", "--dry-run")
            self.assertIn("delivered by to -> bonnie@near.example (maildrop)", told)
            self.assertIn("caretaker by to -> harold@near.example (maildrop)", told)
            self.assertEqual(len(self.mail(self.far, "all")), 2)
            told = self.command("fetch", "--test")
            for line in ("-> AUTH SCRAM-SHA-256", "-> ***", "1 delivered, 1 to the caretaker, 2 deleted"):
                self.assertIn(f"far: {line}", told)
            self.assertEqual(self.mail(self.far, "all"), [])
        told = json.loads(self.command("fetch", "status", "--json"))
        self.assertEqual((told["running"], told["stopped"], len(told["accounts"])), (False, "", 1))
        self.near.path.write_text(NEAR + POPFETCH.replace("timer", "tmier") % 1)
        self.assertIn("did you mean", self.command("fetch", "--test", code=2))

    def test_page(self) -> None:
        """The page's dmail.conf as it is, its addresses on loopback: both accounts are collected, ETRN is sent and
        relays are tried when the line comes up, and what is refused goes to the fallback address."""
        near = NEAR.replace('"near.example"]', '"local.domain"]')
        near += f"[relay.isp]\nservers = ['127.0.0.1:{self.far.ports[0]}']\ntls = 'off'\n"
        self.near = self.bridge(self.folder, near)
        for name in ("fred", "fred2"):
            self.far.ask("user add", name=name, password="passwd")
        self.send(message("bonnie@isp.example"), to="fred@far.example")
        self.send(message("who@isp.example"), to="fred2@far.example")
        (self.folder / "dmail.conf").write_text(PAGE % {"port": self.far.ports[1]})
        (self.folder / "dmail.conf").chmod(0o600)
        dialled = self.folder / "dialled"
        script = self.folder / "dial.sh"
        script.write_text(f'#!/bin/sh\necho "$1 $RAS_NUMBER $RAS_USERNAME" >> {dialled}\n')
        script.chmod(0o700)
        popfetch = (f"[popfetch]\ndmail_conf = 'dmail.conf'\ndial = ['{script}', 'up']\nhangup = ['{script}', 'down']\n"
                    f"etrn_server = '127.0.0.1:{self.far.ports[0]}'\nwait_for_link = true\nlog_level = 'debug'\n")
        self.far.ask("user add", name="clyde", password="correct horse")
        for name in ("bonnie", "fallback"):
            self.near.ask("user add", name=name, password="correct horse")
        self.reload(near + popfetch)
        self.wait_until(lambda: dialled.exists() and "down" in dialled.read_text())
        with smtplib.SMTP("127.0.0.1", self.near.ports[0]) as client:
            client.sendmail("bonnie@local.domain", ["clyde@far.example"], message("clyde@far.example", "out"))
        time.sleep(0.5)  # nothing may happen
        self.assertEqual(self.mail(self.far, "clyde"), [])
        self.send(message("bonnie@isp.example", "again"), to="fred@far.example")
        self.command("fetch")
        self.wait_until(lambda: self.mail(self.far, "clyde"))
        self.wait_until(lambda: dialled.read_text().count("down") == 2)
        self.assertEqual(set(dialled.read_text().split("\n")), {
            "up 1,,12345678 our_account", "down 1,,12345678 our_account", ""})
        self.assertTrue(any(b"Subject: again" in each for each in self.mail(self.near, "bonnie")))
        self.assertEqual(len(self.mail(self.near, "bonnie") + self.mail(self.near, "fallback")), 3)
        log = (self.folder / "state" / "popfetch" / "popfetch.log").read_text()
        self.assertIn("ETRN local.domain: 127.0.0.1", log)
        self.assertIn("fred2@127.0.0.1:", log)
        self.assertNotIn("passwd", log)

    def test_smtp_server(self) -> None:
        """With smtp_server the mail goes to that server by SMTP, and comes out there as it was."""
        self.start("")
        other = self.new_folder()
        text = f'[popfetch]\nsmtp_server = "127.0.0.1:{self.near.ports[0]}"\n' + (
            POPFETCH % self.far.ports[1]).replace("[popfetch]\n", "").replace('"harold"', '"harold@near.example"')
        self.send(message("bonnie@provider.example", "by smtp"))
        self.bridge(other, FAR.replace("far.example", "front.example") + text)
        self.wait_until(lambda: self.mail(self.near, "bonnie"))
        (mail,) = self.mail(self.near, "bonnie")
        self.assertTrue(mail.endswith(message("bonnie@provider.example", "by smtp")))
        self.wait_until(lambda: not self.mail(self.far, "all"))
        self.assertEqual(sorted(os.listdir(other / "state" / "popfetch")), ["popfetch.lock", "popfetch.log"])


class OneBridgeTests(Fetching):
    """A bridge that collects from its own POP3 server, which is the far one then."""

    def start_far(self) -> None:
        """The same."""
        self.near = self.far = self.bridge(self.folder, NEAR)

    def test_failures(self) -> None:
        """A wrong password is an error of that account, an exit code and no hang; a reload mends it."""
        text = POPFETCH % self.far.ports[1]
        self.send(message("bonnie@provider.example"))
        self.start(text.replace("correct horse", "wrong horse"))
        self.wait_until(lambda: self.account()["ended"])
        told = self.command("fetch", "--test", code=1)
        self.assertIn("far: 1 failures; the server refused the login", told)
        self.assertNotIn("wrong horse", told)
        (self.folder / "mailbridge.toml").write_text(NEAR + text)
        with smtplib.SMTP("127.0.0.1", self.near.ports[0]) as client:
            client.ehlo()
            self.near.send_signal(signal.SIGHUP)
            self.wait_until(lambda: self.mail(self.near, "bonnie"))
            self.assertEqual(client.noop()[0], 250)  # no session was dropped
        self.assertEqual(self.mail(self.far, "all"), [])
        self.reload(NEAR)
        self.assertIn("no [popfetch]", str(self.near.ask("fetch status")))

    def test_duds(self) -> None:
        """Mail for nobody goes to duds.dat; too much of it in a row stops the fetcher, with an alarm, until it is told
        to go on."""
        text = POPFETCH.replace('caretaker = "harold"\n', "max_duds = 2\n") % self.far.ports[1]
        self.send(*(message(f"nobody{n}@provider.example") for n in range(5)))
        self.start(text)
        self.wait_until(lambda: self.near.ask("fetch status")["stopped"])
        told = self.near.ask("status")
        self.assertTrue(any("the fetcher has stopped" in each["text"] for each in told["problems"]), told)
        self.assertIn("STOPPED", self.command("fetch", code=3))
        self.reload(NEAR + text.replace("1 h", "2 h"))
        self.assertEqual(self.near.ask("fetch status")["stopped"], "max_duds")
        duds = (self.folder / "state" / "popfetch" / "duds.dat").read_bytes()
        self.assertGreaterEqual(duds.count(b"X-POPFetch-Dud:"), 2)
        self.reload(NEAR + text + 'deliver_to = "bonnie"\n')
        self.command("fetch", "resume")
        self.wait_until(lambda: not self.mail(self.far, "all"))
