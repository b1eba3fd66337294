"""What the rooms are told of applications and the receiver: claims, plans, the listener, the log."""

from __future__ import annotations

import pickle
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL, Address, parse_mailbox
from mailbridge.application.claim import Claimed, Passed, Refused
from mailbridge.application.job import Mail
from mailbridge.config import rooms
from mailbridge.config.load import load_text
from mailbridge.config.model import Config
from mailbridge.config.outlets import application_plans, claims, first_number, host_names
from mailbridge.envelope import Origin
from mailbridge.logs.plan import LogPlan
from mailbridge.target.outlet import CommandOutlet, FolderOutlet

SMS = r"""
[application.sms]
ctl_type = "sms"
output_folder = "jobs"
addresses = ['(?P<number>\+?\d+)@sms']
"""
MESSAGE = b"Subject: Alarm ID:7\r\nFrom: Lamp <lamp@x.example>\r\n\r\n@dr=1\r\n\r\nn\xc3\xa1hle; text\r\n"
ORIGIN = Origin("receiver", "10.0.0.1", "h", None, None, 0.0, "ESMTP")


class World(SynchronousTestCase):
    """Configurations in a folder where `jobs` is."""

    def setUp(self) -> None:
        """The folder."""
        self.base = Path(self.mktemp()).absolute()
        (self.base / "jobs").mkdir(parents=True)

    def load(self, text: str) -> Config:
        """The configuration in `text`."""
        return load_text(text, "x.toml", self.base, (), lambda: "host.example")


class JobTests(World):
    """Each key of an application, by what is written for one message."""

    def written(self, keys: str, top: str = "", kind: str = "sms") -> dict[str, bytes]:
        """The files of job 5 by name, with these keys."""
        config = self.load(top + SMS.replace('"sms"', f'"{kind}"') + keys)
        (plan,) = application_plans(config)
        recipient = parse_mailbox(b"+420603@sms")
        groups = plan.claim.groups(recipient) or {}
        mail = Mail(parse_mailbox(b"lamp@x.example"), recipient, groups, MESSAGE, 0.0)
        recipe = pickle.loads(pickle.dumps(plan.recipe))  # it goes to another process
        job = recipe.job(mail, 5, 0.0)
        return {file.name: file.octets for file in (*job.files, job.control)}

    def test_keys(self) -> None:
        """Changing a key changes what is written."""
        top = '[command_tags.own]\ndr = { key = "system|prio", values = ["1"] }\n'
        plain = self.written("")
        self.assertIn(b"type=fax", self.written("", kind="fax")["sms_0000000005.CTL"])
        self.assertEqual(sorted(plain), ["sms_0000000005.CTL", "sms_0000000005.txt"])
        for keys, name, words in [
            ('ctl_suffix = ".job"', "sms_0000000005.job", b"[system]"),
            ('format_preference = "eml"', "sms_0000000005.eml", b"Subject: Alarm"),
            ('cmd_tags = "sms"', "sms_0000000005.CTL", b"dr=1"),
            ('cmd_tags = "own"', "sms_0000000005.CTL", b"prio=1"),
            ('ctl_settings = { "system|maxlen" = 3 }', "sms_0000000005.CTL", b"maxlen=3"),
            ('cmd_tags = "sms"\nctl_settings_lock = true\nctl_settings = { "system|dr" = 0 }', "sms_0000000005.CTL",
             b"dr=0"),
            ("transform = { subject = '<%app%>' }", "sms_0000000005.CTL", b"subject=sms"),
            ('ctl_layout = { to_number = "to|phone" }', "sms_0000000005.CTL", b"phone=+420603"),
            ('output_code_page = "utf-8"', "sms_0000000005.txt", "n\u00e1hle".encode()),
            ("text_size = 5", "sms_0000000005.txt", b"@dr"),
            ('transform = { subject = "a;b" }\nini_semicolon = "replace"', "sms_0000000005.CTL", b"subject=a,b"),
        ]:
            files = self.written(keys, top)
            self.assertIn(words, files[name], keys)
            self.assertNotEqual(files[name], plain.get(name), keys)

    def test_code_page_of_the_receiver(self) -> None:
        """The receiver's code page holds where the application names none."""
        self.assertIn("n\u00e1hle".encode("cp1250"), self.written("")["sms_0000000005.txt"])
        self.assertIn("n\u00e1hle".encode(), self.written("", '[receiver]\noutput_code_page = "utf-8"')[
            "sms_0000000005.txt"])


class PlanTests(World):
    """Where jobs go, and their limits."""

    def test_plans(self) -> None:
        """A folder or a program, with every limit; one that is off has no plan and claims nothing."""
        config = self.load(SMS + """
            expiry = "4 h"
            daily_limit = 7
            pickup = "30 min"
            accounting = "sms.jsonl"
            [application.pager]
            ctl_type = "json"
            command = ["cat", "-"]
            command_timeout = "5 s"
            [application.off]
            ctl_type = "json"
            enabled = 0
            command = ["cat"]
            [receiver]
            thread_priority = -2
            id_allocated = 41
        """)
        sms, pager = application_plans(config)
        self.assertEqual((sms.name, sms.outlet), ("sms", FolderOutlet(self.base / "jobs")))
        self.assertEqual((sms.expiry, sms.daily_limit, sms.pickup, sms.accounting, sms.nice),
                         (14400.0, 7, 1800.0, self.base / "sms.jsonl", 10))
        assert isinstance(pager.outlet, CommandOutlet)
        self.assertEqual((pager.outlet.command[1:], pager.outlet.timeout), (("-",), 5.0))
        self.assertEqual([claim.name for claim in claims(config)], ["sms", "pager"])
        self.assertEqual((first_number(config), first_number(self.load(""))), (42, 1))

    def test_claims(self) -> None:
        """Addresses, clients, senders and numbers are those of the file."""
        text = SMS + "clients = ['10.0.0.1']\nfrom_disabled = ['.*@gsm']\nallowed_numbers = '\\+420.*'\n"
        short = SMS + "normalize = true\nstate_prefix = '421'"
        (claim,) = claims(self.load(short))
        self.assertEqual(claim.groups(parse_mailbox(b"0603123456@sms")), {"number": "+421603123456"})
        for more, recipient, sender, origin, kind in [
            ("", "+420603@sms", "a@b", ORIGIN, Claimed), ("", "x@sms", "a@b", ORIGIN, Passed),
            ("", "+1@sms", "a@b", ORIGIN, Refused), ("", "+420603@sms", "a@gsm", ORIGIN, Refused),
            ("", "+420603@sms", "", ORIGIN, Refused), ("process_anonymous = 1", "+420603@sms", "", ORIGIN, Claimed),
            ("from_enabled = []", "+420603@sms", "a@b", ORIGIN, Refused),
        ]:
            (claim,) = claims(self.load(text + more))
            decision = claim.decide(parse_mailbox(recipient.encode()), address(sender), origin)
            self.assertIsInstance(decision, kind, (more, recipient, sender))
        (claim,) = claims(self.load("[receiver]\nclients = ['10.0.0.1']" + SMS))
        self.assertIsInstance(claim.decide(parse_mailbox(b"1@sms"), address("a@b"), ORIGIN), Claimed)

    def test_host_names(self) -> None:
        """All host names of all lists are looked up, those of an application that is off are not."""
        config = self.load("[receiver]\nclients = ['a.example,10.0.0.1']" + SMS + "clients = ['b.example']\n"
                           "terminator_clients = ['C.example']\n" + SMS.replace("sms]", "off]")
                           + "enabled = 0\nclients = ['d.example']")
        self.assertEqual(host_names(config), {"a.example", "b.example", "c.example"})


class ReceiverTests(World):
    """The listener and the log of `[receiver]`."""

    TEXT = ("[receiver]\nsmtp_port = 0\nclients = ['10.0.0.1', 'a.example']\nthread_num = 5\nsocket_timeout = 60\n"
            + SMS + "clients = ['10.0.0.2', 'b.example']\nnonstandard_data_terminator = '\\r\\n .\\r\\n'\n"
            "terminator_clients = ['10.0.0.3']\n")

    def test_listener(self) -> None:
        """The receiver's clients are trusted, those of applications are known, all others are refused."""
        hosts = {"a.example": frozenset({"10.1.0.1"}), "b.example": frozenset({"10.1.0.2"})}
        settings = rooms.receiver_settings(self.load(self.TEXT), hosts)
        self.assertEqual((settings.name, settings.strangers, settings.auth, settings.connections),
                         ("receiver", "refuse", "off", 5))
        self.assertEqual(settings.server.limits.smtp_idle, 60.0)
        for client, trusted, known in [
            ("10.0.0.1", True, True), ("10.1.0.1", True, True), ("10.0.0.2", False, True), ("10.1.0.2", False, True),
            ("10.0.0.3", False, False),
        ]:
            self.assertEqual((settings.clients.allows(client), settings.known.allows(client, hosts)), (trusted, known))
        config = self.load(self.TEXT + "[[smtp]]\nlisten = 'tcp:0'")
        for each in (settings, rooms.smtp_settings(config, "smtp[0]", config.smtp[0])):
            (mark,) = each.end_marks
            self.assertEqual((mark.line, mark.clients.allows("10.0.0.3")), (b" .", True))

    def test_without_historic_values(self) -> None:
        """Without them the limits of the bridge hold."""
        config = self.load("[receiver]\nsmtp_port = 0\nauthentication_lib = 'a.b'\nauth_in_clear = true")
        settings = rooms.receiver_settings(config, {})
        self.assertEqual((settings.connections, settings.server.limits), (None, config.limits))
        self.assertEqual((settings.auth, settings.auth_in_clear), ("offer", True))

    def test_own_address(self) -> None:
        """The receiver's address is one of ours: no mail is delivered to it as to another server."""
        self.assertIn("192.0.2.9", rooms.own_addresses(self.load("[receiver]\nsmtp_ip_address = '192.0.2.9'")))

    def test_log(self) -> None:
        """The log goes where its keys say; without a place there is none."""
        self.assertTrue(rooms.log_plan(self.load("")).silent)
        plan = rooms.log_plan(self.load("[receiver]\nlogging_file_name = 'smtp.log'\nlog_file = 'we'\n"
                                        "log_console = 'T'\nlog_event_log = 'E'\nlog_rcv_data = 1"))
        self.assertEqual(plan, LogPlan(self.base / "smtp.log", "EW", "T", "E", True))


def address(text: str) -> Address:
    """A sender; empty for none."""
    return parse_mailbox(text.encode()) if text else NULL
