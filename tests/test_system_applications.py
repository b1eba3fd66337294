"""A bridge with applications, over loopback: jobs in a folder and for a program, strangers refused, other mail on."""

from __future__ import annotations

import json
import poplib
import shutil
import smtplib
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

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
[users]
domains = ["near.example"]
[queue]
retry = "1 s"
[receiver]
smtp_port = 0
clients = ["127.0.0.1"]
id_allocated = 41
logging_file_name = "receiver.log"
forward_smtp_server = "127.0.0.1"
forward_smtp_server_port = %d
[application.sms]
ctl_type = "sms"
output_folder = "jobs"
cmd_tags = "sms"
addresses = ['(?P<number>\\+?\\d+)@sms']
from_disabled = ['.*@gsm']
accounting = "sms.jsonl"
[application.pager]
ctl_type = "json"
addresses = ['[^@]+@pager']
command = ["%s", "%s"]
"""

PROGRAM = """
import json, pathlib, sys
job = json.load(sys.stdin)
pathlib.Path(__file__).with_name(f"paged-{job['job']}").write_text(job["text"])
"""

MESSAGE = (
    "From: Lamp Room <lamp@plant.example>\r\nSubject: Alarm ID:7781\r\nContent-Type: text/plain; charset=utf-8\r\n"
    "\r\n@dr=1\r\n\r\nP\u0159\u00edliv\r\n"
).encode()


class ApplicationTests(SynchronousTestCase):
    """A near bridge with two applications, and a far one for other mail."""

    def setUp(self) -> None:
        self.folder = self.new_folder()
        self.jobs = self.folder / "jobs"
        self.jobs.mkdir()
        self.program = self.folder / "program.py"
        self.program.write_text(PROGRAM)

    def new_folder(self) -> Path:
        """A folder that is gone after the test."""
        folder = short_folder()
        self.addCleanup(shutil.rmtree, folder, True)
        return folder

    def bridge(self, folder: Path, configuration: str) -> RunningBridge:
        """A started bridge that ends with the test."""
        bridge = RunningBridge(folder, configuration)
        self.addCleanup(bridge.stop)
        bridge.start()
        return bridge

    def start(self, forward: int = 9) -> None:
        """Start the near bridge; other mail goes to the port `forward`."""
        self.near = self.bridge(self.folder, NEAR % (forward, sys.executable, self.program))

    def client(self, source: str = "127.0.0.1", port: int = 1) -> smtplib.SMTP:
        """A client at the receiver's listener, or at the ordinary one (port 0)."""
        client = smtplib.SMTP("127.0.0.1", self.near.ports[port], source_address=(source, 0))
        self.addCleanup(client.close)
        return client

    def wait_until(self, condition: Callable[[], object]) -> None:
        """Until something is so."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            self.assertLess(time.monotonic(), deadline, self.near.log)
            time.sleep(0.05)

    def wait_for_the_queue(self) -> None:
        """Until nothing waits in the near bridge any more."""
        self.wait_until(lambda: not self.near.ask("queue count", all=True)["count"])

    def job(self) -> tuple[list[str], str]:
        """The lines of the one control file, and its text; both files are taken away, as a reader does."""
        (control,) = self.jobs.glob("*.CTL")
        lines = control.read_bytes().decode("cp1250").split("\r\n")
        data = self.jobs / next(line for line in lines if line.startswith("text=")).removeprefix("text=")
        text = data.read_bytes().decode("cp1250")
        for path in (control, data):
            path.unlink()
        self.assertEqual(list(self.jobs.iterdir()), [])
        return lines, text

    def test_jobs(self) -> None:
        """One message for a number, a pager and somebody elsewhere: two files, a program, the forward server."""
        far = self.bridge(self.new_folder(), FAR)
        far.ask("user add", name="clyde", password="correct horse")
        self.start(far.ports[0])
        self.client().sendmail("lamp@plant.example", ["+420603@sms", "bob@pager", "clyde@far.example"], MESSAGE)
        self.wait_for_the_queue()
        lines, text = self.job()
        for line in ("type=sms", "subject=Alarm ID:7781", "dr=1", "number=+420603", "name=Lamp Room"):
            self.assertIn(line, lines)
        self.assertEqual(text, "P\u0159\u00edliv")
        (paged,) = self.folder.glob("paged-*")
        self.assertEqual(paged.read_text(), "@dr=1\n\nP\u0159\u00edliv")
        numbers = sorted([int(paged.name[-2:]), int(next(line for line in lines if line.startswith("text="))[-6:-4])])
        self.assertEqual(numbers, [42, 43])
        accounts = (self.folder / "sms.jsonl").read_text()
        self.assertEqual(json.loads(accounts)["account"], "lamp@plant.example")
        self.assertNotIn("liv", accounts)
        box = poplib.POP3("127.0.0.1", far.ports[1], timeout=PATIENCE)
        box.user("clyde")
        box.pass_("correct horse")
        self.assertEqual(box.stat()[0], 1)
        box.quit()

    def test_refused(self) -> None:
        """Who is not listed cannot connect to the receiver, nor use an application elsewhere; nor can a prohibited
        sender, and his mail does not go on to the other server."""
        self.start()
        stranger = self.assertRaises(smtplib.SMTPConnectError, self.client, "127.0.0.2")
        self.assertEqual(stranger.smtp_code, 554)
        for client, sender in [(self.client("127.0.0.2", 0), "a@plant.example"), (self.client(), "a@gsm")]:
            error = self.assertRaises(smtplib.SMTPRecipientsRefused, client.sendmail, sender, ["1@sms"], MESSAGE)
            ((code, words),) = error.recipients.values()
            self.assertEqual((code, words[:5]), (550, b"5.7.1"))
        self.assertEqual(self.near.ask("queue count", all=True)["count"], 0)
        self.assertEqual(list(self.jobs.iterdir()), [])
        self.wait_until(lambda: self.log("*").count(" W ") >= 2)
        self.assertIn("554 5.7.1", self.log("*"))

    def log(self, name: str) -> str:
        """The log of the receiver."""
        return "".join(path.read_text() for path in self.folder.glob(f"receiver_{name}.log"))

    def test_reload(self) -> None:
        """A changed application works anew at once, one that is gone takes no mail; no number is given twice."""
        self.start()
        self.client().sendmail("lamp@plant.example", ["1@sms"], MESSAGE)
        self.wait_for_the_queue()
        self.assertNotIn("maxlen=3", self.job()[0])
        text = self.near.path.read_text()
        self.near.path.write_text(text[:text.index("[application.pager]")] + 'ctl_settings = { "system|maxlen" = 3 }\n')
        self.assertEqual(self.near.ask("reload"), {"notes": []})
        self.client().sendmail("lamp@plant.example", ["2@sms"], MESSAGE)
        self.wait_for_the_queue()
        self.assertIn("maxlen=3", self.job()[0])
        answer = self.near.ask("route", **{"from": "a@b.example", "to": "bob@pager", "client": "127.0.0.1",
                                           "listener": "receiver"})
        self.assertEqual((answer["targets"], answer["job"]), (["relay:forward"], 44))
        self.near.stop()
        self.near.ports = []
        self.near.start()
        self.client().sendmail("lamp@plant.example", ["3@sms"], MESSAGE)
        self.wait_for_the_queue()
        (data,) = (line for line in self.job()[0] if line.startswith("text="))
        self.assertGreaterEqual(data, "text=sms_0000000044.txt")

    def test_taken_out(self) -> None:
        """A folder is missing at the start: mail waits, also when its application is taken out; no relay gets it."""
        shutil.rmtree(self.jobs)
        far = self.bridge(self.new_folder(), FAR)
        self.start(far.ports[0])
        client = self.client()
        client.sendmail("lamp@plant.example", ["420603280030@sms"], MESSAGE)
        self.near.wait_for("ALARM: application:sms is paused, nothing bounces: ")
        path = self.folder / "mailbridge.toml"
        whole = path.read_text()
        path.write_text(whole[:whole.index("[application.sms]")])
        self.near.ask("reload")
        self.near.ask("queue retry", all=True)
        self.near.wait_for("application:sms is not in the configuration")
        self.assertEqual((self.near.ask("queue count", all=True)["count"], far.ask("queue count", all=True)["count"]),
                         (1, 0))
        path.write_text(whole)
        (note, *_) = self.near.ask("reload")["notes"]
        self.assertIn("application.sms.output_folder: there is no folder", note)
        self.jobs.mkdir()
        self.near.ask("queue retry", all=True)
        self.wait_for_the_queue()
        self.assertIn("number=420603280030", self.job()[0])

    def test_preview(self) -> None:
        """`route --message` shows the files that would be written, and writes none; no bridge need run."""
        (self.folder / "mailbridge.toml").write_text(NEAR % (9, sys.executable, self.program))
        message = self.folder / "message.eml"
        message.write_bytes(MESSAGE.replace(b"\r\n", b"\n"))
        shown = subprocess.run(
            [sys.executable, "-c", "import sys; from mailbridge.cli.main import main; sys.exit(main())", "--config",
             str(self.folder / "mailbridge.toml"), "route", "a@b.example", "+420603@sms", "--client", "127.0.0.1",
             "--listener", "receiver", "--message", str(message)], cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout
        for words in ("job 42 of sms:", "--- sms_0000000042.txt (6 octets)", "P\u0159\u00edliv", "number=+420603"):
            self.assertIn(words, shown)
        self.assertEqual(list(self.jobs.iterdir()), [])
