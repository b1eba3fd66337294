"""Bridges and OCEs in processes of their own: registration, mail there and back, and two tribes over HTTPS."""

from __future__ import annotations

import json
import shutil
import smtplib
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from tests.oce_bridges import (
    ALONE,
    ANOTHER,
    EMBEDDED,
    KEYS,
    PASSWORD,
    TribeBridge,
    command,
    letter,
    write_secret,
)
from tests.running import PATIENCE, RunningBridge, short_folder

SECRET = "a secret of two operators"
NOWHERE = 9
"""The port of nobody."""


class WorldTests(SynchronousTestCase):
    """Folders and processes that end with the test."""

    def folder(self) -> Path:
        """A new one."""
        folder = short_folder()
        self.addCleanup(shutil.rmtree, folder, True)
        return folder

    def begin(self, bridge: RunningBridge) -> None:
        """Start it."""
        self.addCleanup(bridge.stop)
        bridge.start()


class TwoTribesTests(WorldTests):
    """Two bridges with embedded OCEs that name each other, HTTPS between them."""

    def setUp(self) -> None:
        self.home = TribeBridge(self.folder(), "home", "")
        self.friends = TribeBridge(self.folder(), "friends", "")
        self.begin_friends(SECRET)
        self.own = EMBEDDED.format(name="home", key=KEYS["home"], port=0)
        self.home.configure(self.own + self.home.meet(self.friends, self.friends.ports[2], SECRET))
        self.begin(self.home)
        self.home.add("bonnie", "harold")
        self.friends.add("edgar")

    def begin_friends(self, secret: str) -> None:
        """The other tribe is up, and does not know yet where home is."""
        oce = EMBEDDED.format(name="friends", key=KEYS["friends"], port=0)
        self.friends.configure(oce + self.friends.meet(self.home, NOWHERE, secret))
        self.begin(self.friends)

    def introduce(self, secret: str = SECRET) -> None:
        """Tell friends where home is, by a reload; its own port stays the same."""
        oce = EMBEDDED.format(name="friends", key=KEYS["friends"], port=0)
        self.friends.configure(oce + self.friends.meet(self.home, self.home.ports[2], secret))
        self.assertEqual(self.friends.ask("reload"), {"notes": []})

    def test_there_and_back(self) -> None:
        """Mail to a member of our tribe and to one of another; his reply to all finds both, by his names for them."""
        self.home.send("bonnie@oce", ["harold@oce", "edgar@friends.oce"],
                       letter("Bonnie <bonnie@oce>", "Harold <harold@oce>", "edgar@friends.oce"))
        (near,) = self.home.mail("harold@oce", 1)
        self.assertEqual((near["From"], near["To"], near["Cc"]),
                         ("Bonnie <bonnie@oce>", "Harold <harold@oce>", "edgar@friends.oce"))
        (far,) = self.friends.mail("edgar@oce", 1)
        self.assertEqual((far["From"], far["To"], far["Cc"]),
                         ("Bonnie <bonnie@home.oce>", "Harold <harold@home.oce>", "edgar@oce"))
        self.assertEqual(far["Subject"], "Grüße")
        self.assertEqual(far["Message-ID"], near["Message-ID"])
        (attachment,) = far.iter_attachments()
        self.assertEqual((attachment.get_filename(), attachment.get_content()),
                         ("octets.bin", b"\x00\xff\r\n.\r\n" * 100))
        self.introduce()
        answer = letter("edgar@oce", str(far["From"]), str(far["To"]), "Hello all\n")
        answer["In-Reply-To"] = far["Message-ID"]
        self.friends.send("edgar@oce", ["bonnie@home.oce", "harold@home.oce"], answer)
        for name in ("bonnie", "harold"):
            (reply,) = self.home.mail(name, 1)
            self.assertEqual((reply["From"], reply["In-Reply-To"]), ("edgar@friends.oce", far["Message-ID"]))
            self.assertEqual((reply["To"], reply["Cc"]), ("Bonnie <bonnie@oce>", "Harold <harold@oce>"))

    def test_refusals(self) -> None:
        """A tribe or member nobody knows is refused at once, and so is everything from who did not log in."""
        with smtplib.SMTP("127.0.0.1", self.home.ports[0], timeout=PATIENCE) as client:
            client.ehlo()
            client.mail("stranger@example.net")
            code, text = client.rcpt("harold@oce")
            self.assertEqual((code, text[:5]), (550, b"5.7.1"))
            client.rset()
            client.login("bonnie@oce", PASSWORD)
            client.mail("bonnie@oce")
            for recipient, status in (("edgar@strangers.oce", b"5.1.2"), ("clyde@oce", b"5.1.1")):
                code, text = client.rcpt(recipient)
                self.assertEqual((code, text[:5]), (550, status), recipient)
            self.assertEqual(client.rcpt("harold@HOME.oce")[0], 250)

    def test_unknown_member_abroad(self) -> None:
        """A member that only the other tribe could know comes back as a bounce or notice, in words."""
        self.home.send("bonnie@oce", ["clyde@friends.oce"], letter("bonnie@oce", "clyde@friends.oce"))
        (notice,) = self.home.mail("bonnie", 1)
        self.assertIn("INVMBR", notice.as_string())
        self.assertIn("clyde@friends.oce", notice.as_string())

    def test_wrong_secret(self) -> None:
        """With another secret on the other side mail waits and nothing bounces; with the right one it arrives."""
        self.introduce("another secret")
        self.home.send("bonnie@oce", ["edgar@friends.oce"], letter("bonnie@oce", "edgar@friends.oce"))
        deadline = time.monotonic() + PATIENCE
        while "INVKEY" not in (said := json.dumps(self.home.ask("queue stats"))):
            self.assertLess(time.monotonic(), deadline, said)
            time.sleep(0.05)
        self.introduce(SECRET)
        (arrived,) = self.friends.mail("edgar", 1)
        self.assertEqual(arrived["From"], "bonnie@home.oce")
        self.assertEqual(self.home.mail("bonnie", 0), [])
        self.home.stop()
        self.assertIn("messages for friends wait", self.home.log)
        self.assertNotIn(SECRET, self.home.log)


class AnotherOCETests(WorldTests):
    """A bridge at the OCE of another process, `twist mailbridge-oce`."""

    def setUp(self) -> None:
        self.oce = RunningBridge(self.folder(), ALONE, "mailbridge-oce")
        self.begin(self.oce)
        self.bridge = TribeBridge(self.folder(), "home", ANOTHER.format(port=self.oce.ports[0]))
        self.begin(self.bridge)
        for name in ("bonnie", "harold"):
            self.oce.ask("user add", name=name, password=f"{name}'s at the OCE")
        self.bridge.add("bonnie", "harold")

    def test_registration(self) -> None:
        """Register with a password of a file, be approved by the operator of the OCE, then mail goes there and back."""
        password = self.bridge.folder / "password"
        write_secret(password, "wrong")
        code, said = command(self.bridge.path, "register", "harold", "--password-file", str(password))
        self.assertEqual((code, "INVPASS" in said), (1, True), said)
        self.bridge.send("bonnie@oce", ["harold@oce"], letter("bonnie@oce", "harold@oce"))
        self.assertIn("mailbridge register", self.waits_for("waiting to be sent: 1"))
        write_secret(password, "harold's at the OCE\n")
        code, said = command(self.bridge.path, "register", "harold", "--password-file", str(password))
        self.assertEqual(code, 0, said)
        self.assertNotIn("harold's at the OCE", said)
        self.assertIn("PEND", self.waits_for("PEND"))
        self.assertEqual([each["approved"] for each in self.oce.ask("oce applications")], [False])
        code, said = command(self.oce.path, "oce", "approve", "SMTP:mailbridge")
        self.assertEqual((code, "works" in said), (0, True), said)
        self.bridge.ask("queue retry", target="oce")
        (arrived,) = self.bridge.mail("harold@oce", 1)
        self.assertEqual((arrived["From"], arrived["To"]), ("bonnie@oce", "harold@oce"))
        self.bridge.send("harold@oce", ["bonnie@oce"], letter("harold@oce", "bonnie@oce"))
        (back,) = self.bridge.mail("bonnie@oce", 1)
        self.assertEqual(back["From"], "harold@oce")
        code, said = command(self.bridge.path, "pullinfo")
        self.assertEqual(code, 0, said)
        self.assertIn("registered: yes", said)
        self.assertEqual(self.oce.ask("status")["users"], 2)
        self.assertEqual(self.oce.stop(), self.bridge.stop())

    def waits_for(self, words: str) -> str:
        """What `pullinfo` says once it has these words in it."""
        deadline = time.monotonic() + PATIENCE
        while words not in (said := "\n".join(self.bridge.ask("oce pullinfo")["lines"])):
            self.assertLess(time.monotonic(), deadline, said)
            time.sleep(0.05)
        return said

    def test_unknown_member(self) -> None:
        """Whom only the OCE knows is accepted and comes back as a bounce when it does not know him either."""
        self.bridge.ask("oce register", member="harold", password="harold's at the OCE")
        self.oce.ask("oce approve", application="1")
        self.bridge.send("bonnie@oce", ["clyde@oce"], letter("bonnie@oce", "clyde@oce"))
        (bounce,) = self.bridge.mail("bonnie", 1)
        self.assertIn("5.1.1", bounce.as_string())


class Killer(BaseHTTPRequestHandler):
    """An OCE that answers everything with what `answer` says."""

    answer = (-13, "KILL")
    asked = 0

    def do_POST(self) -> None:
        """One request."""
        self.rfile.read(int(self.headers["Content-Length"]))
        type(self).asked += 1
        number, name = self.answer
        octets = json.dumps({"RespCount": 1, "MsgNum": number, "MsgId": name, "Mesg": "stop"}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(octets)))
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(octets)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


class KillTests(WorldTests):
    """An OCE that says KILL."""

    def test_kill_and_release(self) -> None:
        """After a KILL nothing is sent until the operator releases it, by the command that `pullinfo` names."""
        server = HTTPServer(("127.0.0.1", 0), Killer)
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        bridge = TribeBridge(self.folder(), "home", ANOTHER.format(port=server.server_port))
        self.begin(bridge)
        bridge.add("bonnie")
        deadline = time.monotonic() + PATIENCE
        while not bridge.ask("oce pullinfo")["killed"]:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        asked = Killer.asked
        code, said = command(bridge.path, "pullinfo")
        self.assertIn("`mailbridge oce release`", said)
        refused = command(bridge.path, "register", "harold", MAILBRIDGE_OCE_PASSWORD="secret")
        self.assertEqual((refused[0], "KILL" in refused[1]), (1, True), refused[1])
        self.assertEqual(Killer.asked, asked)
        Killer.answer = (5, "NULLSET")
        self.assertEqual(command(bridge.path, "oce", "release")[0], 0)
        while Killer.asked == asked:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.02)
        self.assertEqual(bridge.ask("oce pullinfo")["killed"], "")
