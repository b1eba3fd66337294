"""The registry of the SMTP receiver as a configuration: the documented example, what cannot be carried over."""

from __future__ import annotations

from pathlib import Path

from hypothesis import HealthCheck, given
from hypothesis import settings as property_settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.load import load_text
from mailbridge.config.model import Config
from mailbridge.config.reg_import import Imported, convert
from mailbridge.config.registry import parse
from mailbridge.errors import ConfigError, Fault

ETC = Path(__file__).parents[2] / "etc"
HEAD = "Windows Registry Editor Version 5.00\n\n"
ROOT = "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Wow6432Node\\Datasys\\UMS\\SMTPreceiver%s]\n"
APPLICATION = ROOT % "\\applications\\sms" + '"ctl_type"="sms"\n"output_folder"="D:\\\\ums\\\\in"\n'


class World(SynchronousTestCase):
    """Exports in a folder that has what the new paths name."""

    def setUp(self) -> None:
        """The folder."""
        self.base = Path(self.mktemp()).absolute()
        for folder in ("mail/in", "log", "in"):
            (self.base / folder).mkdir(parents=True)

    def faults(self, text: str) -> tuple[Fault, ...]:
        """What the loader says of a configuration."""
        try:
            self.load(text)
        except ConfigError as error:
            return error.faults
        return ()

    def load(self, text: str) -> Config:
        """The configuration in `text`."""
        return load_text(text, "x.toml", self.base, (), lambda: "host.example")

    def convert(self, octets: bytes, windows: str = "D:\\ums") -> Imported:
        """An export converted, its folder on drive D being ours."""
        return convert(parse(octets), self.faults, str(self.base), {windows: str(self.base)})

    def imported(self, text: str) -> Imported:
        """The same of an export in text."""
        return self.convert((HEAD + text).encode())


class ImportTests(World):
    """What becomes of an export."""

    def test_documented_example(self) -> None:
        """The full example of the documentation means the same from a registry as written by hand, in any encoding."""
        octets = (ETC / "receiver.reg").read_bytes()
        written = self.load((ETC / "receiver.toml").read_text().replace("/srv/faxchange", str(self.base)))
        text = octets.decode().replace("\n", "\r\n")
        old = text.replace("Windows Registry Editor Version 5.00", "REGEDIT4")
        for export in (octets, b"\xff\xfe" + text.encode("utf-16-le"), old.encode("cp1250")):
            made = self.convert(export, "d:\\faxchange\\")
            self.assertEqual(self.load(made.toml), written)
        told = "\n".join(made.notes)
        for words in ("Mxcomdbapi.mxdbapi", "smtp_tag", "a misprint", "was D:\\FaxChange\\mail\\in"):
            self.assertIn(words, told)
        self.assertEqual(len(made.notes), 5)

    def test_written_example(self) -> None:
        """The example says everything that the documentation shows, with its values."""
        config = self.load((ETC / "receiver.toml").read_text().replace("/srv/faxchange", str(self.base)))
        fax = config.application["fax"]
        self.assertEqual((config.receiver.thread_num, config.receiver.socket_timeout), (5, 60.0))
        self.assertEqual(config.relay["forward"].servers, ("smtp.petrol.org:25",))
        self.assertEqual((fax.nonstandard_data_terminator, len(fax.addresses), len(fax.ctl_settings)), (b" .", 2, 6))

    def test_defaults_of_the_receiver(self) -> None:
        """What the registry does not say is what the receiver had: port 25, 5 clients, 60 seconds; loopback only."""
        made = self.imported(ROOT % "")
        receiver = self.load(made.toml).receiver
        self.assertEqual((receiver.listen, receiver.thread_num, receiver.socket_timeout),
                         ("tcp:25:interface=127.0.0.1", 5, 60.0))

    def test_paths(self) -> None:
        """A path of Windows stays, with a note, and the loader asks for one of this host; --path says its new place."""
        made = convert(parse((HEAD + APPLICATION).encode()), self.faults, str(self.base), {})
        (fault,) = self.faults(made.toml)
        self.assertEqual(str(fault), 'application.sms.output_folder: "D:\\\\ums\\\\in" is a path of Windows; '
                                     "name a folder of this host")
        self.assertIn("application.sms.output_folder: is a path of Windows; name a folder of this host", made.notes)
        self.assertEqual(self.load(self.imported(APPLICATION).toml).application["sms"].output_folder, self.base / "in")

    def test_commands(self) -> None:
        """The table of @commands is carried over when its key is in the export, and off with a note otherwise."""
        named = APPLICATION + '"cmd_tags"="SOFTWARE\\\\Datasys\\\\tags"\n'
        made = self.imported(named + "[HKLM\\Software\\DATASYS\\Tags]\n\"@prio\"=\"system|priority\"\n"
                             "\"fast\"=\"system|priority=high\"\n\"odd\"=\"what\"\n")
        config = self.load(made.toml)
        self.assertEqual(config.application["sms"].cmd_tags, "sms_tags")
        self.assertEqual(config.command_tags["sms_tags"]["fast"], {"key": "system|priority", "bare": "high"})
        self.assertEqual(config.command_tags["sms_tags"]["prio"]["key"], "system|priority")
        self.assertIn('application.sms: cmd_tags: odd = "what" is not command = section|key', made.notes)
        off = self.imported(named)
        self.assertEqual(self.load(off.toml).application["sms"].cmd_tags, "")
        self.assertTrue(any("@commands are off" in note for note in off.notes))

    def test_notes(self) -> None:
        """What is not known or not possible is named, with the nearest name, and stays in the file as a comment."""
        for lines, note in [
            ('"smtp_prot"="5"', 'receiver: smtp_prot = "5" is not known here; the nearest is smtp_port'),
            ('@="x"', 'receiver: the value without a name = "x" is not known here'),
            ('"thread_num"="many"', 'receiver.thread_num: left out: must be 1 to 100000, got "many"'),
            ('"thread_num"=hex:01,02', "receiver.thread_num: left out: must be 1 to 100000, got \"hex:01,02\""),
            (ROOT % "\\client", "receiver: the key client is not known here; the nearest is clients"),
            ("nonsense", "of the export, line 4: is no value: 'nonsense'"),
            (ROOT % "\\clients" + '"0"="a b"\n"1"="localhost"', 'receiver.clients: left out "a b": "a b" is no '),
            (APPLICATION + '"ctl_typ"="x"', 'application.sms: ctl_typ = "x" is not known here; the nearest is ctl_'),
            (ROOT % "\\applications\\x" + '"ctl_type"="telex"', "application.x.ctl_type: left out: must be one of "),
            (ROOT % "\\applications\\x" + '"ctl_type"="sms"', "application.x: left out, because application.x."),
            (APPLICATION.replace("\\sms]", "\\s m\u0161]"), 'application.s_m_: was "s m\u0161"; names have ASCII '),
            (APPLICATION + ROOT % "\\applications\\sms\\from_enabled", "application.sms.from_enabled: is an empty "),
            (APPLICATION + ROOT % "\\applications\\sms\\transform" + '"subject"="<%open()%>"',
             "application.sms.transform.subject: left out: "),
            (APPLICATION + ROOT % "\\applications\\sms\\clients" + '"0"="a b"',
             "application.sms: left out, because nothing is left of clients"),
            ('"forward_smtp_server"="h"\n' + APPLICATION + ROOT % "\\applications\\sms\\clients" + '"0"="x.example"',
             "receiver: x.example: may use an application, but their other mail is not forwarded; "),
        ]:
            made = self.imported(ROOT % "" + lines)
            self.assertTrue(any(told.startswith(note) for told in made.notes), (note, made.notes))
            self.assertIn("# NOTE: ", made.toml)
            self.assertEqual(self.faults(made.toml), ())

    def test_narrower_never_wider(self) -> None:
        """An application none of whose clients could be read is off: an empty list would mean the receiver's."""
        made = self.imported(APPLICATION + ROOT % "\\applications\\sms\\clients" + '"0"="a b"')
        self.assertEqual(self.load(made.toml).application, {})

    def test_values_as_they_were(self) -> None:
        """Texts come through TOML octet for octet, whatever is in them."""
        for text in (
            "plain", "it's", "'''", "back\\slash", 'quo"te', "\x7f\x01", "'x\\", "tab\tnl\n", "\u2028\U0001f600",
            "a'\\b",
        ):
            escaped = text.replace("\\", "\\\\").replace('"', '\\"')
            made = self.imported(APPLICATION + ROOT % "\\applications\\sms\\transform" + f'"txt"="{escaped}"\n')
            self.assertEqual(self.load(made.toml).application["sms"].transform, {"txt": text})

    def test_no_receiver(self) -> None:
        """An export without the receiver is refused."""
        error = self.assertRaises(ValueError, self.imported, "[HKLM\\SOFTWARE\\Other]\n\"a\"=\"b\"")
        self.assertIn("has no key", str(error))


names = st.sampled_from([
    "smtp_port", "thread_num", "clients", "0", "1", "addr_re_0", "ctl_type", "enabled", "output_folder", "cmd_tags",
    "system|dr", "system|dr ", "SYSTEM|DR", "from_enabled", "subject", "", "a b", "\u010d", "process_anonymous",
    "nonstandard_data_terminator", "format_preference", "forward_smtp_server", "log_file", "authentication_lib",
    "logging_file_name", "forward_smtp_server_port", "a|b|parse|subject", "\"]\nx = 1",
])
texts = st.sampled_from([
    "", "0", "1", "sms", "fax", "txt;eml", "D:\\ums\\in", "D:\\x", "?(P<number>\\d+)@sms", "(?P<number>\\d+)@sms", "(",
    "localhost", "10.0.0.0/8,h.example", "0.0.0.0/0", "\\r\\n .\\r\\n", "<%subject%>", "<%", "EWIT", "127.0.0.1", "-1",
    "SOFTWARE\\Datasys\\UMS\\SMTPreceiver\\clients", "99999999999", "'''\"\\", "\x7f", "a\nb", "system|x", "h.example",
]) | st.text(st.characters(codec="utf-16"), max_size=12)
keys = st.sampled_from([
    "", "\\clients", "\\applications", "\\applications\\sms", "\\applications\\sms\\clients", "\\applications\\a b",
    "\\applications\\a_b", "\\applications\\sms\\clients\\nonstandard_data_terminator",
    "\\applications\\sms\\addresses",
    "\\applications\\sms\\from_enabled", "\\applications\\sms\\from_disabled", "\\applications\\sms\\ctl_settings",
    "\\applications\\sms\\transform", "\\odd", "\\applications\\\u010d",
])


class PropertyTests(World):
    """What holds for all exports."""

    @property_settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.tuples(keys, st.lists(st.tuples(names, texts), max_size=4)), max_size=6))
    def test_always_loads(self, content: list[tuple[str, list[tuple[str, str]]]]) -> None:
        """Whatever is in the registry, what comes out loads but for folders, and what was left out is told."""
        def quoted(text: str) -> str:
            return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

        text = ROOT % "" + APPLICATION + "".join(
            ROOT % key + "".join(f"{quoted(name)}={quoted(value)}\n" for name, value in values)
            for key, values in content
        )
        made = convert(parse(b"\xff\xfe" + (HEAD + text).encode("utf-16-le")), self.faults, str(self.base),
                       {"D:\\ums": str(self.base)})
        for fault in self.faults(made.toml):
            key = fault.place.rpartition(".")[2]
            self.assertIn(key, ("output_folder", "logging_file_name"), (str(fault), made.toml))
