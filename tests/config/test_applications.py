"""`[application.NAME]`, `[receiver]` and `[command_tags.NAME]`: what they mean, and every mistake in them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.load import load_text
from mailbridge.config.model import ApplicationSettings, Config, ReceiverSettings, RelaySettings
from mailbridge.errors import ConfigError

SMS = '[application.sms]\nctl_type = "sms"\noutput_folder = "jobs"\n'
NUMBER = r"(?P<number>\d+)"

# (file, faults). Each fault is a whole line, or its beginning when it ends in "...".
FAULTS: list[tuple[str, list[str]]] = [
    ("[application.sms]", ["application.sms.ctl_type: is missing; it has no default"]),
    ("[application]\nsms = 5", ["application: must be tables, each under [application.NAME], got a table"]),
    ('[application."a b"]\nctl_type = "json"\ncommand = ["cat"]',
     ['application: "a b" is no name for an application: ...']),
    ('[application."h\u00e1\u010dek"]\nctl_type = "json"\ncommand = ["cat"]', ["application: ..."]),
    ('[application.sms]\nctl_type = "sms"', ["application.sms.output_folder: is missing; ..."]),
    (SMS + 'command = ["cat"]', ["application.sms.command: takes the place of output_folder; ..."]),
    ('[application.a]\nctl_type = "json"\ncommand = ["cat"]\npickup = "5 min"\nctl_suffix = ".x"', [
        "application.a.pickup: is for files in output_folder, ...", "application.a.ctl_suffix: is for files ..."]),
    ('[application.a]\nctl_type = "json"\ncommand = []', ['application.a.command: must be a list such as ...']),
    (SMS + 'command_timeout = "5 s"', ["application.sms.command_timeout: has no meaning without command"]),
    (SMS + "enabled = 2", ["application.sms.enabled: must be true or false (or 1 or 0), got 2"]),
    (SMS + 'enabled = "yes"', ['application.sms.enabled: must be true or false (or 1 or 0), got "yes"']),
    (SMS.replace('"sms"', '"telex"'), ['application.sms.ctl_type: must be one of sms, fax, json, got "telex"']),
    (SMS + 'format_preference = ["txt", "pdf"]', ["application.sms.format_preference: must be one of txt, ..."]),
    (SMS + 'format_preference = "txt;txt"', ["application.sms.format_preference: names a format twice"]),
    (SMS + 'format_preference = ""', ["application.sms.format_preference: must be a list ..."]),
    (SMS + "addresses = ['a[z-a]@sms', '" + NUMBER + "@sms', '.*@gsm', '?(P<number>\\d)@fax']", [
        'application.sms.addresses[0]: bad pattern "a[z-a]@sms" at character 3: invalid character class range...',
        'application.sms.addresses[3]: bad pattern ...']),
    (SMS + "addresses = ['" + NUMBER + "@sms', '.*@gsm', '.*@x']", [
        'application.sms.addresses[1]: ".*@gsm" reads no number; ...', "application.sms.addresses[2]: ..."]),
    (SMS + 'addresses = "x@sms"', ['application.sms.addresses: must be a list [...], got "x@sms"']),
    (SMS + "addresses = { addr_re_0 = '(', other = 'x' }",
     ['application.sms.addresses.other: must be numbered, such as "addr_re_0", or stand in a list [...]']),
    (SMS + "addresses = { addr_re_0 = '(' }", ["application.sms.addresses.addr_re_0: bad pattern ..."]),
    (SMS + "from_disabled = { 1 = '(?=x)', 2 = 5 }", [
        "application.sms.from_disabled.1: bad pattern ...", "application.sms.from_disabled.2: must be text, got 5"]),
    (SMS + 'clients = ["localhost", "a b", "0.0.0.0/0", "10.0.0.9-10.0.0.1"]', [
        'application.sms.clients[1]: "a b" is no client; ...',
        'application.sms.clients[2]: "0.0.0.0/0" names so many hosts that anybody could send; ...',
        "application.sms.clients[3]: ..."]),
    (SMS + "nonstandard_data_terminator = '\\r\\n.\\r\\n'",
     ["application.sms.nonstandard_data_terminator: is the standard end of data, ..."]),
    (SMS + "nonstandard_data_terminator = 5", ["application.sms.nonstandard_data_terminator: must be text ..."]),
    (SMS + 'ctl_settings = { maxlen = 1, "system|x|parse|colour" = "x", "system|y|parse|subject" = "(", "a|b" = [] }', [
        "application.sms.ctl_settings.maxlen: must be section|key or section|key|parse|item",
        'application.sms.ctl_settings."system|x|parse|colour": there is no item "colour"; ...',
        'application.sms.ctl_settings."system|y|parse|subject": bad pattern ...',
        'application.sms.ctl_settings."a|b": must be text or a number, got a list']),
    (SMS + "transform = { subject = '<%open(1)%>', colour = 'x' }", [
        'application.sms.transform.subject: transform "subject": column 3: ...',
        'application.sms.transform.colour: there is no transform "colour"; ...']),
    (SMS + 'transform = "x"', ['application.sms.transform: must be a table, got "x"']),
    (SMS + "ctl_layout = { colour = 'a|b' }", ["application.sms.ctl_layout.colour: there is no such field; ..."]),
    (SMS + 'cmd_tags = "smtp_tag"', [
        'application.sms.cmd_tags: there is no [command_tags.smtp_tag]; known are sms; "" switches @commands off']),
    (SMS + 'output_code_page = "cp9999"', ['application.sms.output_code_page: there is no code page "cp9999"; ...']),
    (SMS + 'output_code_page = "utf-16"', ["application.sms.output_code_page: ..."]),
    (SMS + 'ctl_suffix = "/x"', ["application.sms.ctl_suffix: must be a dot with letters or digits, ..."]),
    (SMS + 'attachment_types = ["p/df"]', ["application.sms.attachment_types[0]: must be the end of a file name ..."]),
    (SMS + 'state_prefix = "+420"', ['application.sms.state_prefix: "+420" is no country code; ...']),
    (SMS + 'national_prefix = "abc"', ["application.sms.national_prefix: ..."]),
    (SMS + "allowed_numbers = '('", ["application.sms.allowed_numbers: bad pattern ..."]),
    (SMS + 'thread_num = 5', ["application.sms.thread_num: unknown key here; it belongs in [receiver]"]),
    (SMS + "terminator_clients = '10.0.0.8'", ["application.sms.terminator_clients: must be a list [...], got ..."]),
    (SMS + "addreses = []", ['application.sms.addreses: unknown key; did you mean "addresses"?']),
    (SMS + 'nonstandard_data_terminator = " ."\nterminator_clients = []', [
        "application.sms.nonstandard_data_terminator: must be one line ..."]),
    (SMS + "nonstandard_data_terminator = '\\r\\n .\\r\\n'\nterminator_clients = ['h.example', '10.0.0.1-10.0.0.9']\n"
     + SMS.replace("sms]", "fax]") +
     "nonstandard_data_terminator = '\\r\\n ,\\r\\n'\nterminator_clients = ['10.0.0.8']", [
        "application.fax.terminator_clients: names a client for whom application.sms has another ..."]),
    ('[command_tags.sms]\ndr = { key = "a|b", bare = "1" }', ['command_tags.sms: needs another name: ...']),
    ('[command_tags.a]\ndr = "a|b"\n[command_tags.b]\nx = { key = "a", bare = "1" }\ny = { key = "a|b" }', [
        'command_tags.a.dr: must be a table, ...', "command_tags.b.x: ...", "command_tags.b.y: allows nothing: ..."]),
    ("command_tags = 5", ["command_tags: must be tables, each under [command_tags.NAME], got 5"]),
    ('[receiver]\nsmtp_port = "many"', ['receiver.smtp_port: must be 0 to 65535, got "many"']),
    ('[receiver]\nsmtp_ip_address = "here"', ["receiver.smtp_ip_address: must be an address of this host ..."]),
    ("[receiver]\nthread_num = 5\nsocket_timeout = 60\nauthentication_lib = 'a.b'", [
        "receiver.thread_num: is for the receiver's own listener; set smtp_port, or leave it out",
        "receiver.socket_timeout: is for ...", "receiver.authentication_lib: is for ..."]),
    ("[receiver]\nthread_priority = 3", ["receiver.thread_priority: must be 0 (normal), -1 (lower), ..."]),
    ('[receiver]\nlog_file = "EX"', ['receiver.log_file: must be letters of "EWIT" ...']),
    ('[receiver]\nauthentication_lib = "Mxcomdbapi"\nsmtp_port = 0', ["receiver.authentication_lib: must be ..."]),
    ('[receiver]\nforward_smtp_server_port = 26', ["receiver.forward_smtp_server_port: has no meaning without ..."]),
    ('[receiver]\nforward_smtp_server = "h.example:26"', ["receiver.forward_smtp_server: must be a host..."]),
    ('[receiver]\nforward_smtp_server = "h.example"\n[relay.forward]\nservers = ["x.example"]\n[relay.office]\n'
     'servers = ["y.example"]\ndefault = true', [
        "relay.forward: is the name of receiver.forward_smtp_server among the relays; take another",
        "receiver.forward_smtp_server: is a default relay, and relay.office is one already".replace("one", "it")]),
    ('[receiver]\nsmtp_port = 2525\nforward_smtp_server = "127.0.0.1"\nforward_smtp_server_port = 2525',
     ["receiver.forward_smtp_server: is receiver of this bridge itself: mail would go round in a circle"]),
    ('[receiver]\nsmtp_port = 25\nforward_smtp_server = "::1"\n[[smtp]]\nlisten = "tcp:25:interface=\\\\:\\\\:1"',
     ["receiver.forward_smtp_server: is smtp[0] of this bridge itself: ..."]),
    ('[receiver]\nsmtp_ip_address = "127.0.0.1"\n[[smtp]]\nlisten = "tcp:25"',
     ['receiver.listen: "tcp:25:interface=127.0.0.1" takes the same port 25 as smtp[0].listen, "tcp:25"']),
    ("[[route]]\nto = 'application:sms'\n" + SMS + "enabled = 0",
     ["route[0].to: application:sms is switched off by its enabled"]),
    (SMS.replace('"jobs"', "'%UMS%\\mail\\in'"), [
        "application.sms.output_folder: \"%UMS%\\\\mail\\\\in\" is a path of Windows; name a folder of this host"]),
    (SMS.replace('"jobs"', "'\\\\host\\in'"), ["application.sms.output_folder: ..."]),
    ("[[route]]\nto = 'application:fax'\n" + SMS, [
        'route[0].to: "application:fax" is no target; known are application:sms, maildrop, ...'.replace(
            "application:sms, maildrop,", "maildrop, maildrop:USER, application:sms")]),
]


def _is(line: str, wanted: str) -> bool:
    start, dots, _ = wanted.partition("...")
    return line.startswith(start) if dots else line == wanted


class ApplicationTests(SynchronousTestCase):
    """Applications in a folder where `jobs` is."""

    def setUp(self) -> None:
        """The folder."""
        self.base = Path(self.mktemp()).absolute()
        (self.base / "jobs").mkdir(parents=True)

    def load(self, text: str) -> Config:
        """The configuration in `text`."""
        return load_text(text, "mailbridge.toml", self.base, (), lambda: "host.example")

    def faults(self, text: str) -> list[str]:
        """The faults of `text`."""
        try:
            self.load(text)
        except ConfigError as error:
            return [line.removeprefix("mailbridge.toml: ") for line in str(error).split("\n")]
        return []

    def sms(self, text: str) -> ApplicationSettings:
        """What `[application.sms]` with these lines means."""
        return self.load(SMS + text).application["sms"]

    def test_faults(self) -> None:
        """Each mistake is told with its place and what would be right, and nothing else is."""
        for text, expected in FAULTS:
            found = self.faults(text)
            agree = len(found) == len(expected) and all(map(_is, found, expected))
            self.assertTrue(agree, "\n".join([text, "found:", *found]))

    def test_all_at_once(self) -> None:
        """All faults of all applications are told at once."""
        text = "".join(
            application.replace("[application.sms]", f"[application.a{number}]") + "\n"
            for number, (application, faults) in enumerate(FAULTS)
            if application.startswith(SMS) and application.count("[") < 30 and application.count("[application") == 1
        )
        self.assertGreater(len(self.faults(text)), 35)

    def test_everything_has_a_default(self) -> None:
        """What is not written has the default that the model says."""
        self.assertEqual(self.sms(""), ApplicationSettings(ctl_type="sms", output_folder=self.base / "jobs"))
        self.assertEqual(self.load("").receiver, ReceiverSettings())

    def test_historic_spelling(self) -> None:
        """0 and 1, numbered names, semicolons and commas mean what they mean in a registry."""
        for text, key, value in [
            ("enabled = 0", "enabled", False), ('enabled = "0"', "enabled", False), ("enabled = true", "enabled", True),
            ('process_att_msg = "1"', "process_att_msg", True), ("daily_limit = '5'", "daily_limit", 5),
            ('format_preference = "EML; txt"', "format_preference", ("eml", "txt")),
            ('format_preference = ["htm", "mht"]', "format_preference", ("htm", "mht")),
            (f"addresses = {{ addr_re_10 = '{NUMBER}@a', addr_re_9 = '{NUMBER}@b' }}", "addresses",
             (NUMBER + "@b", NUMBER + "@a")),
            (f"addresses = ['''\n {NUMBER}\n  @fax''']", "addresses", (NUMBER + "@fax",)),
            ("clients = ['localhost', 'cxhlpsrv,syscae.syscae.cz', '192.168.1.0-192.168.1.31']", "clients",
             ("localhost", "cxhlpsrv", "syscae.syscae.cz", "192.168.1.0-192.168.1.31")),
            ("clients = { 1 = 'b', 0 = 'a , c' }", "clients", ("a", "c", "b")),
            ("from_enabled = []", "from_enabled", ()), ("from_enabled = {}", "from_enabled", ()),
            ("from_enabled = { 1 = '.*' }", "from_enabled", (".*",)), ("", "from_enabled", None),
            ("nonstandard_data_terminator = '\\r\\n .\\r\\n'", "nonstandard_data_terminator", b" ."),
            ('nonstandard_data_terminator = "\\r\\n .\\r\\n"', "nonstandard_data_terminator", b" ."),
            ('ctl_settings = { "system|maxlen" = 1, "a|b" = true, "a|c" = "x" }', "ctl_settings",
             {"system|maxlen": "1", "a|b": "1", "a|c": "x"}),
            ('attachment_types = [".PDF", "tif"]', "attachment_types", ("pdf", "tif")),
        ]:
            self.assertEqual(getattr(self.sms(text), key), value, text)

    def test_command(self) -> None:
        """A program is found by $PATH, or by its path beside the file; one that is not there may come."""
        program = self.base / "take"
        program.write_text("#!/bin/sh\n")
        program.chmod(0o700)
        for name, found in [("./take", str(program)), (sys.executable, sys.executable)]:
            config = self.load(f'[application.a]\nctl_type = "json"\ncommand = ["{name}", "-x"]')
            self.assertEqual(config.application["a"].command, (found, "-x"))
        config = self.load('[application.a]\nctl_type = "json"\ncommand = ["cat"]')
        self.assertTrue(os.path.isabs(config.application["a"].command[0]))
        for name, sought in [("./gone", str(self.base / "gone")), ("no such program", "no such program")]:
            config = self.load(f'[application.a]\nctl_type = "json"\ncommand = ["{name}"]')
            self.assertEqual(config.application["a"].command, (sought,))

    def test_terminators(self) -> None:
        """Two applications may have the same terminator for one client, or different ones for different clients."""
        one = SMS + "nonstandard_data_terminator = '\\r\\n .\\r\\n'\nterminator_clients = ['10.0.0.1', 'h.example']\n"
        other = one.replace("application.sms", "application.fax")
        self.assertEqual(self.faults(one + other), [])
        different = other.replace(" .", " ,")
        self.assertEqual(len(self.faults(one + different)), 1)
        self.assertEqual(self.faults(one + different.replace("10.0.0.1", "10.0.0.2").replace("h.ex", "g.ex")), [])
        self.assertEqual(self.faults(one + different + "enabled = 0"), [])

    def test_order(self) -> None:
        """Applications are in the order of the file."""
        names = ["zebra", "sms", "alpha"]
        text = "".join(SMS.replace("[application.sms]", f"[application.{name}]") for name in names)
        self.assertEqual(list(self.load(text).application), names)

    def test_routes(self) -> None:
        """A route may lead to an application, to the forward server, and ask for the receiver's listener."""
        config = self.load('[[route]]\nto = "application:sms"\n[[route]]\nto = "relay:forward"\nlistener = "receiver"\n'
                           '[receiver]\nsmtp_port = 0\nforward_smtp_server = "h.example"\n' + SMS)
        self.assertEqual([route.to for route in config.route], ["application:sms", "relay:forward"])

    def test_forward(self) -> None:
        """The forward server is a default relay like others."""
        for text, server in [
            ('"H.example"', "h.example:25"), ('"h.example"\nforward_smtp_server_port = 2525', "h.example:2525"),
            ('"h.example"\nforward_smtp_server_port = "26"', "h.example:26"), ('"2001:DB8::1"', "[2001:db8::1]:25"),
        ]:
            config = self.load("[receiver]\nforward_smtp_server = " + text)
            self.assertEqual(config.relay, {"forward": RelaySettings(servers=(server,), default=True)})

    def test_listener(self) -> None:
        """The receiver listens when an address or a port is written, on this host alone when no address is."""
        for text, listen in [
            ("", None), ("smtp_port = 2525", "tcp:2525:interface=127.0.0.1"),
            ('smtp_ip_address = "192.0.2.1"', "tcp:25:interface=192.0.2.1"),
            ('smtp_ip_address = "::1"\nsmtp_port = "26"', "tcp:26:interface=\\:\\:1"),
            ('smtp_ip_address = "0.0.0.0"', "tcp:25:interface=0.0.0.0"),
        ]:
            receiver = self.load("[receiver]\n" + text).receiver
            self.assertEqual(receiver.listen if receiver.listens else None, listen)

    def test_command_tags(self) -> None:
        """A table of commands is found by the application that names it."""
        config = self.load('[command_tags.fax]\nurgent = { key = "system|priority", bare = "high" }\n' + SMS
                           + 'cmd_tags = "fax"')
        self.assertEqual(config.command_tags, {"fax": {"urgent": {"key": "system|priority", "bare": "high"}}})
        self.assertEqual(self.sms('cmd_tags = "sms"').cmd_tags, "sms")
