"""`[popfetch]`: its faults, its warnings, and what its keys mean to the fetcher; a dmail.conf as it is."""

from __future__ import annotations

import re
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import parse_mailbox
from mailbridge.config.fetching import FetchPlan, fetch_plan
from mailbridge.config.load import load_text
from mailbridge.config.model import Config
from mailbridge.config.warnings import warnings
from mailbridge.edge.clienttls import Trust
from mailbridge.edge.sending import Server
from mailbridge.edge.upstream import Upstream
from mailbridge.errors import ConfigError, StartError
from mailbridge.fetch.fetcher import Settings
from mailbridge.fetch.secret import Secret
from mailbridge.fetch.settings import SETTINGS

ETC = Path(__file__).parents[2] / "etc"
PAGE = """pf_user fred passwd 1.2.3.4
pf_user fred2 passwd 4.3.2.1
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
ras_smtpip 1..2.3.4
ras_timeout 10
"""
TIMER = "[popfetch]\ntimer = '5 min'\n"
ACCOUNT = "[[popfetch.account]]\nhost = 'pop.example'\nuser = 'bob'\n"
WHOLE = TIMER + ACCOUNT + "password = 'hunter2'\n"

# (what stands in the file, its faults); a fault is its beginning when it ends in "..."
FAULTS = [
    ("[popfetch]", ["popfetch.account: there is none; add a [[popfetch.account]], or name a dmail_conf",
                    'popfetch.timer: is missing; it says how often mail is collected, such as "5 min"']),
    ("popfetch = 5", ["popfetch: must be a table [...], got 5"]),
    (TIMER + "account = 5", ["popfetch.account: must be an array of tables, each under [[...]], got 5"]),
    (TIMER + "[[popfetch.account]]", ["popfetch.account[0].host: is missing; it has no default",
                                      "popfetch.account[0].user: is missing; it has no default"]),
    (WHOLE.replace("5 min", "0"), ["popfetch.timer: must be a time from 1 s to 30 d, ..."]),
    (WHOLE + "tiemr = 1", ['popfetch.account[0].tiemr: unknown key; did you mean "timer"?']),
    (TIMER + "max_duds = 0\n" + ACCOUNT + "password = 'x'", ["popfetch.max_duds: must be 1 to 1000000, got 0"]),
    (TIMER + "log_level = 'loud'\n" + ACCOUNT + "password = 'x'", [
        'popfetch.log_level: must be one of error, info, debug, got "loud"']),
    (TIMER + "header = 'To you'\n" + ACCOUNT + "password = 'x'", [
        'popfetch.header: must be the name of a header such as "X-Envelope-To", got "To you"']),
    (TIMER + "log_path = '/nowhere/log'\n" + ACCOUNT + "password = 'x'", [
        "popfetch.log_path: there is no folder /nowhere/log; ..."]),
    (TIMER + "work_path = 'c:\\dmail'\n" + ACCOUNT + "password = 'x'", [
        'popfetch.work_path: "c:\\\\dmail" is a path of Windows; name a folder of this host']),
    (TIMER + "wait_for_link = true\nhangup = ['true']\n" + ACCOUNT + "password = 'x'", [
        "popfetch.hangup: has no meaning without dial", "popfetch.wait_for_link: has no meaning without dial"]),
    (TIMER + "dmail_conf = 'none.conf'", ["popfetch.dmail_conf: cannot read /nowhere/none.conf: ..."]),
    (TIMER + ACCOUNT, ["popfetch.account[0].password: is missing; give a password, or a token for XOAUTH2"]),
    (WHOLE + "token = 'x'", ["popfetch.account[0].token: takes the place of a password; leave one of them out"]),
    (WHOLE + "auth = 'xoauth2'", ["popfetch.account[0].auth: needs a token in place of the password"]),
    (TIMER + ACCOUNT + "token = 'x'\nauth = 'plain'", [
        'popfetch.account[0].auth: needs a password; a token goes with "xoauth2"']),
    (WHOLE.replace("'hunter2'", "{ command = ['/nowhere/secret'] }"), [
        'popfetch.account[0].password: there is no program "/nowhere/secret"; ...']),
    (WHOLE.replace("'hunter2'", "{ file = 'none' }"), ["popfetch.account[0].password: cannot read /nowhere/none: ..."]),
    (WHOLE.replace("'hunter2'", "{ vault = 'x' }"), ['popfetch.account[0].password: must be "TEXT", { file = ...']),
    (WHOLE.replace("'hunter2'", "5"), ['popfetch.account[0].password: must be "TEXT", { file = ...']),
    (WHOLE + "tls = 'off'", ['popfetch.account[0].tls: shows the password to the network when it is "off"; ...']),
    (WHOLE + "tls = 'off'\nauth_in_clear = true", []),
    (WHOLE + "tls = 'off'\nauth = 'apop'", []),
    (WHOLE.replace("pop.example", "127.0.0.1") + "tls = 'off'", []),
    (WHOLE.replace("pop.example", "::1") + "tls = 'off'", []),
    (WHOLE + "verify = false\npin = '" + "00" * 32 + "'", [
        "popfetch.account[0].pin: has no meaning with verify = false"]),
    (WHOLE + "delete_after = '3 d'", ["popfetch.account[0].delete_after: is for mail that is kept; ..."]),
    (WHOLE + "deliver_to = 'bonnie'\nheader = 'To:'\nonly_from = ['a.example']", [
        "popfetch.account[0].header: has no meaning with deliver_to, which takes all mail",
        "popfetch.account[0].only_from: has no meaning with deliver_to, which takes all mail"]),
    (WHOLE + ACCOUNT + "password = 'y'\nname = 'other'", [
        "popfetch.account[1].user: is the mailbox of popfetch.account[0] too; it would be collected twice"]),
    (WHOLE + ACCOUNT + "password = 'y'\nport = 995", [
        "popfetch.account[1].name: is the name of popfetch.account[0] too; give it another"]),
]


class FaultTests(SynchronousTestCase):
    """What does not load."""

    def faults(self, text: str, base: Path = Path("/nowhere"), public: bool = False) -> list[str]:
        """Each fault as `place: problem`."""
        try:
            load_text(text, "x.toml", base, (), lambda: "host.example", public)
        except ConfigError as error:
            return [line.removeprefix("x.toml: ") for line in str(error).split("\n")]
        return []

    def test_table(self) -> None:
        """Each mistake is told with its place and what would be right, and nothing else is; no secret is shown."""
        for text, expected in FAULTS:
            found = self.faults(text)
            self.assertEqual(len(found), len(expected), (text, found))
            for line, wanted in zip(found, expected, strict=True):
                if wanted.endswith("..."):
                    line, wanted = line[:len(wanted) - 3], wanted[:-3]
                self.assertEqual(line, wanted, text)
            self.assertNotIn("hunter2", str(found))

    def test_public(self) -> None:
        """A password in a file that everybody may read is a fault; one in a file of its own is none."""
        self.assertEqual(len(self.faults(WHOLE, public=True)), 1)
        self.assertIn("popfetch.account[0].password: everybody may read", self.faults(WHOLE, public=True)[0])
        command = WHOLE.replace("'hunter2'", "{ command = ['cat', '/dev/null'] }")
        self.assertEqual(self.faults(command, public=True), [])

    def test_dmail_conf(self) -> None:
        """A dmail.conf without a mailbox does not load; one without a time does when the time is said here."""
        base = Path(self.mktemp()).absolute()
        base.mkdir()
        path = base / "dmail.conf"
        path.write_text("ras_timer 5\npf_user fred\n")
        text = "[popfetch]\ndmail_conf = 'dmail.conf'\n"
        self.assertEqual(self.faults(text, base), [
            f"popfetch.dmail_conf: {path}:2: pf_user needs three words: user, password and host; the line is ignored",
            f"popfetch.dmail_conf: {path}: there is no pf_user line, so there is nothing to collect"])
        path.write_text("pf_user fred passwd 127.0.0.1\n")
        self.assertEqual(self.faults(text, base), [
            'popfetch.timer: is missing and dmail_conf has no ras_timer; it says how often mail is collected, such as '
            '"5 min"'])
        self.assertEqual(self.faults(text + "timer = 60", base), [])
        twice = text + "timer = 60\n" + ACCOUNT.replace("pop.example", "127.0.0.1").replace("bob", "fred")
        self.assertEqual(self.faults(twice + "password = 'x'", base), [
            "popfetch.account[0].user: is the mailbox of dmail_conf too; it would be collected twice"])
        path.write_text("pf_user fred passwd 127.0.0.1\nras_timer 5\nwork_path c:\\dmail\\work\n")
        self.assertEqual(len(self.faults(text, base)), 2)  # it is where the log goes too
        self.assertEqual(self.faults(text + "work_path = 'w'\nlog_path = '.'", base), [])


class PlanTests(SynchronousTestCase):
    """What a good configuration means."""

    def setUp(self) -> None:
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()

    def load(self, text: str) -> Config:
        """The configuration in `text`."""
        head = "hostname = 'bridge.example.org'\nstate = 'state'\n[users]\ndomains = ['example.org', 'example.net']\n"
        return load_text(head + text, str(self.base / "mailbridge.toml"), self.base)

    def plan(self, text: str) -> FetchPlan:
        """The plan of the configuration in `text`."""
        plan = fetch_plan(self.load(text))
        assert plan is not None
        return plan

    def test_none(self) -> None:
        """Without [popfetch] nothing is collected."""
        self.assertIsNone(fetch_plan(self.load("")))

    def test_defaults(self) -> None:
        """One mailbox and a time are enough: STLS at port 110, straight into the bridge, files in the state folder."""
        plan = self.plan(WHOLE)
        ((account, login),) = plan.accounts
        self.assertEqual((account.name, account.upstream), ("bob@pop.example", Upstream("pop.example", 110, "require")))
        self.assertEqual(login.password, Secret("hunter2"))
        self.assertEqual((account.keep, account.may_relay, account.expunge), (False, False, 1000))
        how = account.addressing
        self.assertEqual((how.local, how.main), (frozenset({"example.org", "example.net"}), "example.org"))
        self.assertEqual(plan.settings, Settings(period=300.0))
        self.assertEqual((plan.folder, plan.server, plan.etrn), (self.base / "state" / "popfetch", None, None))
        self.assertEqual((plan.log.path, plan.log.file), (self.base / "state" / "popfetch" / "popfetch.log", "EWI"))
        self.assertEqual((plan.hooks.dial, plan.verbose, plan.hostname), ((), False, "bridge.example.org"))

    def test_everything(self) -> None:
        """Every key arrives where it belongs, with its unit and relative to the file."""
        (self.base / "log").mkdir()
        (self.base / "token").write_text("abc\n")
        (self.base / "token").chmod(0o600)
        plan = self.plan("""[popfetch]
            timer = "10 min"
            isinterval = true
            wait = "3 s"
            retry_delay = "1 min"
            max_duds = 3
            parallel = 2
            header = "X-Envelope-To:"
            domain = "example.net"
            caretaker = "harold"
            smtp_server = "[::1]:2525"
            work_path = "work"
            log_path = "log"
            log_level = "debug"
            dial = ["true", "up"]
            hangup = ["true", "down"]
            dial_timeout = "1 min"
            etrn_server = "smtp.isp.example"
            wait_for_link = true
            [[popfetch.account]]
            host = "[::1]"
            port = 995
            user = "bob"
            name = "Bob"
            pin = "%s"
            token = { file = "token" }
            keep = true
            delete_after = "2 d"
            size_limit = "1 MiB"
            timer = "1 h"
            expunge = 0
            may_relay = true
            header = "Delivered-To"
            only_from = ["isp.example"]
            caretaker = "clyde@example.net"
            [[popfetch.account]]
            host = "pop.example"
            user = "bob"
            auth = "cram-md5"
            password = { env = "HOME" }
            verify = false
            auth_in_clear = true
            tls = "opportunistic"
            deliver_to = "bonnie"
        """ % ("ab" * 32))
        self.assertEqual(plan.settings, Settings(
            period=600.0, is_interval=True, wait=3.0, retry_delay=60.0, max_duds=3, parallel=2))
        server = Server("::1", 2525, "opportunistic", trust=Trust(verify=False))
        self.assertEqual((plan.server, plan.etrn), (server, evolve(server, host="smtp.isp.example", port=25)))
        self.assertEqual((plan.folder, plan.log.path), (self.base / "work", self.base / "log" / "popfetch.log"))
        self.assertEqual((plan.verbose, plan.waits_for_link), (True, True))
        self.assertEqual(plan.domains, ("example.org", "example.net"))
        self.assertEqual((plan.hooks.dial[1:], plan.hooks.hangup[1:]), (("up",), ("down",)))
        self.assertEqual(plan.hooks.told.timeout, 60.0)
        (one, token), (other, password) = plan.accounts
        self.assertEqual(one.upstream, Upstream("::1", 995, "implicit", Trust(pin="ab" * 32)))
        self.assertEqual((one.name, one.keep, one.delete_after, one.size_limit), ("Bob", True, 172_800.0, 1024 * 1024))
        self.assertEqual((one.interval, one.expunge, one.may_relay), (3600.0, 0, True))
        how = one.addressing
        self.assertEqual((how.header, how.domain, how.only_from), ("delivered-to", "example.net", {"isp.example"}))
        self.assertEqual(how.caretaker, parse_mailbox(b"clyde@example.net"))
        self.assertEqual((token.token, token.password), (Secret(file=self.base / "token"), None))
        self.assertEqual(other.upstream, Upstream("pop.example", 110, "opportunistic", Trust(verify=False)))
        self.assertEqual((password.auth, password.in_clear), ("cram-md5", True))
        self.assertEqual(other.addressing.fixed, parse_mailbox(b"bonnie@example.org"))
        self.assertEqual(other.addressing.caretaker, parse_mailbox(b"harold@example.org"))
        self.assertNotIn(str(password.password and password.password.text), repr(plan))

    def test_bad_certificates(self) -> None:
        """Authorities that are none stop the start, with their place."""
        (self.base / "ca.pem").write_text("nothing")
        with self.assertRaisesRegex(StartError, r"popfetch.account\[0\]: ca cannot be used"):
            self.plan(WHOLE + "ca = 'ca.pem'")

    def page(self, more: str = "", page: str = PAGE) -> str:
        """A [popfetch] that takes the example of POPFetch's page."""
        path = self.base / "dmail.conf"
        path.write_text(page)
        path.chmod(0o644)
        return f"[popfetch]\ndmail_conf = 'dmail.conf'\n{more}"

    def test_page(self) -> None:
        """The page's example loads unchanged; its misprint, its open mode, its passwords in clear and its dial-up are
        warned of, with file and line."""
        config = self.load(self.page())
        plan = fetch_plan(config)
        assert plan is not None
        self.assertEqual([account.name for account, _ in plan.accounts], ["fred@1.2.3.4", "fred2@4.3.2.1"])
        account, login = plan.accounts[0]
        self.assertEqual((login.password, login.in_clear, account.upstream.tls), (Secret("passwd"), True, "off"))
        self.assertEqual((account.addressing.domain, account.addressing.caretaker), (
            "local.domain", parse_mailbox(b"fallback@local.domain")))
        self.assertEqual(plan.settings, Settings(period=300.0, max_duds=15, retry_delay=60.0))
        path = f"popfetch.dmail_conf: {self.base}/dmail.conf"
        found = [line for line in warnings(config) if line.startswith("popfetch")]
        self.assertEqual([line.partition(": warning")[0] for line in found[:-1]], [
            f"{path}:1", f"{path}:2", f"{path}:13", path])
        self.assertIn("popfetch.dial: dmail_conf asks for a dial-up connection", found[-1])
        self.assertNotIn("passwd", "".join(found) + repr(config))
        self.assertNotIn("account_password", "".join(found) + repr(config))

    def test_over_the_page(self) -> None:
        """What [popfetch] says counts before a dmail.conf, but not before nothing."""
        plan = self.plan(self.page("timer = 420\nmax_duds = 2\ndomain = 'example.net'\ncaretaker = 'harold'\n"
                                   "header = 'X-To'\ndial = ['true']\n", PAGE.replace("1..2.3.4", "1.2.3.4")))
        self.assertEqual(plan.settings, Settings(period=420.0, max_duds=2, retry_delay=60.0))
        how = plan.accounts[0][0].addressing
        self.assertEqual((how.header, how.domain), ("x-to", "example.net"))
        self.assertEqual(how.caretaker, parse_mailbox(b"harold@example.org"))
        assert plan.etrn is not None
        told = plan.hooks.told
        self.assertEqual((plan.etrn.host, told.timeout, told.number), ("1.2.3.4", 600.0, "1,,12345678"))

    def test_dmail_folders(self) -> None:
        """A dmail.conf's work_path, log_path and log_level are followed; its folders may be relative to our file."""
        (self.base / "log").mkdir()
        plan = self.plan(self.page(page=PAGE + "work_path work\nlog_path log\nlog_level debug\n"))
        self.assertEqual((plan.folder, plan.log.path), (self.base / "work", self.base / "log" / "popfetch.log"))
        self.assertTrue(plan.verbose)
        plan = self.plan(self.page(page=PAGE + "work_path work\n"))
        self.assertEqual((plan.log.path, plan.verbose), (self.base / "work" / "popfetch.log", False))

    def test_table(self) -> None:
        """INTERNALS.rst has every setting with its default, its least value and a test that is there."""
        lines = (ETC.parent / "INTERNALS.rst").read_text("utf-8").split("\n")
        for setting in SETTINGS.values():
            (line,) = [line for line in lines if line.startswith(setting.name + " ")]
            name, default, least, _, test = re.split(r"  +", line)
            told = "-" if setting.default is None else f"{str(setting.default).lower()} {setting.unit}".strip()
            self.assertEqual((default, least), (
                told, "-" if setting.minimum is None else f"{setting.minimum} {setting.unit}"), name)
            module, _, method = test.partition(".")
            self.assertIn(f"def {method}(", (ETC.parent / "tests" / f"{module}.py").read_text("utf-8"), name)

    def test_shipped(self) -> None:
        """etc/dmail.conf has no finding but its mode."""
        path = self.base / "dmail.conf"
        path.write_bytes((ETC / "dmail.conf").read_bytes())
        path.chmod(0o600)
        config = self.load("[popfetch]\ndmail_conf = 'dmail.conf'\n")
        assert config.popfetch is not None and config.popfetch.dmail_conf is not None
        self.assertEqual(config.popfetch.dmail_conf.findings, ())
        self.assertEqual(len(config.popfetch.dmail_conf.accounts), 2)

    def test_warnings(self) -> None:
        """What is allowed and dangerous, or hardly meant, is warned of."""
        for text, places in [
            (WHOLE, []),
            (WHOLE + "tls = 'off'\nauth_in_clear = true", ["popfetch.account[0].auth_in_clear"]),
            (WHOLE + "verify = false", ["popfetch.account[0].verify"]),
            (WHOLE + "may_relay = true", ["popfetch.account[0].may_relay"]),
            (WHOLE.replace("'5 min'", "'5 min'\ndial = ['/nowhere/dial']"), ["popfetch.dial"]),
            (WHOLE.replace("'5 min'", "'1 min'\ndial = ['true']") + "timer = 60", [
                "popfetch.timer", "popfetch.account[0].timer"]),
        ]:
            found = [line.partition(": ")[0] for line in warnings(self.load(text))]
            self.assertEqual(found, places, text)
