"""dmail.conf: the page's own example, every setting, bad lines, included files, any octets."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.fetch.conffile import load
from mailbridge.fetch.conflines import DEEPEST, MOST_FILES, MOST_FINDINGS, MOST_OCTETS, File
from mailbridge.fetch.dmailconf import Dial, DmailConf, parse
from mailbridge.fetch.settings import ALIASES, SETTINGS
from mailbridge.fetch.words import PopUser

EXAMPLE = b"""\
pf_user fred passwd 1.2.3.4
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
"""The example settings of POPFetch's page, to the letter."""

LEAST = b"pf_user bob secret 127.0.0.1\nras_timer 7\n"

NAMES = [
    "pf_user", "pf_header", "pf_domain", "pf_dflt_address", "pf_max_duds", "pf_isinterval", "pf_wait", "pf_retry_delay",
    "ras_timer", "ras_number", "ras_entry", "ras_username", "ras_password", "ras_domain", "ras_smtpip", "ras_timeout",
    "work_path", "log_path", "log_level", "host_domain", "vdomain",
]


def files(**contents: bytes) -> Any:
    """A reader of files by name."""

    def read(path: str) -> File:
        if path not in contents:
            raise FileNotFoundError(2, "No such file or directory")
        return File(contents[path], path.startswith("open"))

    return read


def parsed(octets: bytes, **more: bytes) -> DmailConf:
    """`octets` as the file f."""
    return parse("f", files(f=octets, **more))


class ExampleTests(SynchronousTestCase):
    """The page's example."""

    def test_example(self) -> None:
        """The example loads unchanged; warnings for the misprint and for passwords in clear, and nothing else."""
        conf = parsed(EXAMPLE)
        self.assertEqual(conf.accounts, (PopUser("fred", "passwd", "1.2.3.4", 110, "off"),
                                         PopUser("fred2", "passwd", "4.3.2.1", 110, "off")))
        self.assertEqual((conf.domain, conf.max_duds, str(conf.caretaker)),
                         ("local.domain", 15, "fallback@local.domain"))
        self.assertEqual((conf.retry_delay, conf.period, conf.wait, conf.is_interval), (60.0, 300.0, 40.0, False))
        self.assertEqual(conf.dial, Dial("1,,12345678", None, "our_account", "account_password", None, 600.0))
        self.assertEqual((conf.smtp_ip, conf.header, conf.log_level, conf.usable), (None, None, "info", True))
        self.assertEqual([(each.place, each.severity) for each in conf.findings],
                         [("f:1", "warning"), ("f:2", "warning"), ("f:13", "warning")])
        self.assertIn("in clear", conf.findings[0].text)
        self.assertIn("ras_smtpip is neither", conf.findings[2].text)

    def test_on_loopback(self) -> None:
        """With its addresses on loopback only the misprint is left."""
        conf = parsed(EXAMPLE.replace(b"1.2.3.4", b"127.0.0.1:2110").replace(b"4.3.2.1", b"10.0.0.1"))
        self.assertEqual([each.place for each in conf.findings], ["f:13"])
        self.assertEqual((conf.accounts[0].host, conf.accounts[0].port), ("127.0.0.1", 2110))

    def test_every_setting(self) -> None:
        """The table has every setting that POPFetch's page and DMail's name for it, and no other."""
        self.assertEqual(list(SETTINGS), NAMES)
        self.assertEqual(ALIASES, {"max_duds": "pf_max_duds"})
        for setting in SETTINGS.values():
            self.assertTrue(setting.used, setting.name)
            self.assertEqual(bool(setting.unit), setting.minimum is not None, setting.name)

    def test_defaults(self) -> None:
        """What is not set has the default of the table."""
        conf = parsed(LEAST)
        self.assertEqual((conf.max_duds, conf.is_interval, conf.wait, conf.retry_delay), (10, False, 40.0, None))
        self.assertEqual((conf.dial.wanted, conf.findings), (False, ()))

    def test_no_secret_is_shown(self) -> None:
        """Passwords are in no repr and no finding, also on lines that are wrong."""
        conf = parsed(EXAMPLE + b"pf_user bob hush-hush\npf_user x hush-hush 1.2.3.400\npf_user x y 1.2.3.4 hush-hush\n"
                      b"pf_user fred hush-hush 1.2.3.4\n")
        shown = repr(conf) + "".join(map(str, conf.findings))
        for secret in ("passwd", "account_password", "hush-hush"):
            self.assertNotIn(secret, shown)


class ValueTests(SynchronousTestCase):
    """One setting after the other."""

    def test_values(self) -> None:
        """Each setting reaches its place."""
        for line, name, value in (
            (b"pf_header X-Recip-To", "header", "x-recip-to"), (b"PF_Header delivered-to:", "header", "delivered-to"),
            (b"\tpf_domain \t Branch.Example  ", "domain", "Branch.Example"), (b"pf_max_duds 1", "max_duds", 1),
            (b"max_duds 3", "max_duds", 3), (b"pf_isinterval TRUE", "is_interval", True),
            (b"pf_isinterval off", "is_interval", False), (b"pf_wait 0", "wait", 0.0),
            (b"pf_retry_delay 0", "retry_delay", None), (b"ras_timer 1", "period", 60.0),
            (b"ras_smtpip mail.isp.example", "smtp_ip", "mail.isp.example"), (b"log_level Debug", "log_level", "debug"),
            (b"work_path /var/mail bag", "work_path", "/var/mail bag"), (b"work_path /w # x", "work_path", "/w # x"),
            (b"work_path /w", "log_path", "/w"), (b"log_path /l", "log_path", "/l"),
            (b"ras_smtpip ::1\r", "smtp_ip", "::1"),
        ):
            conf = parsed(LEAST + line)
            self.assertEqual(getattr(conf, name), value, line)
            self.assertEqual([each for each in conf.findings if each.severity == "error"], [], line)

    def test_bad_values(self) -> None:
        """A bad value is an error that names its line; the line is ignored, what was set before holds."""
        for line in (b"pf_max_duds 0", b"pf_max_duds ten", b"pf_max_duds -1", b"pf_max_duds 1_0",
                     "pf_max_duds \u0661".encode(), b"pf_wait 99999999999", b"pf_isinterval maybe", b"pf_header a b",
                     b"pf_domain a b", b"pf_domain x@y@z", b"pf_dflt_address <>", b"pf_dflt_address a b@c",
                     b"ras_timer 0", b"ras_timer 5.5", b"log_level loud", b"pf_user a b", b"pf_user",
                     b"pf_user a b 1..2.3.4", b"pf_user a b c port=0", b"pf_user a b c tls=maybe",
                     b"pf_user a b c:70000", b'pf_user "" b c', b"pf_domain a\x07b", b"host_domain a b..c"):
            conf = parsed(b"pf_max_duds 4\n" + LEAST + line)
            self.assertEqual([(each.place, each.severity) for each in conf.findings], [("f:4", "error")], line)
            self.assertEqual((conf.max_duds, conf.period, len(conf.accounts)), (4, 420.0, 1))

    def test_accounts(self) -> None:
        """An account in all its spellings: quoted words, ports, names, TLS."""
        for value, account in (
            (b"bob secret 127.0.0.1", PopUser("bob", "secret", "127.0.0.1")),
            (b'bob "my \\"se\\\\cret" localhost', PopUser("bob", 'my "se\\cret', "localhost")),
            (b'bob "half localhost', PopUser("bob", '"half', "localhost")),
            (b'bob "" localhost', PopUser("bob", "", "localhost")),
            (b"bob s Mail.Example.:2110 tls=stls", PopUser("bob", "s", "mail.example", 2110, "require")),
            (b"bob s [::1]:995", PopUser("bob", "s", "::1", 995, "implicit")),
            (b"bob s ::1", PopUser("bob", "s", "::1")),
            (b"bob s mail.example TLS=POP3S", PopUser("bob", "s", "mail.example", 995, "implicit")),
            (b"bob s mail.example tls=pop3s port=110", PopUser("bob", "s", "mail.example", 110, "implicit")),
            (b"bob s 127.0.0.1:995 tls=none", PopUser("bob", "s", "127.0.0.1", 995)),
        ):
            conf = parsed(b"ras_timer 5\npf_user " + value)
            self.assertEqual(conf.accounts, (account,), value)
            self.assertEqual(conf.findings, (), value)

    def test_repeats(self) -> None:
        """Accounts repeat, the same one twice is an error; of other settings the last one counts, with a warning."""
        conf = parsed(LEAST + b"pf_user bob other 127.0.0.1\npf_user bob x 127.0.0.1:111\nras_timer 9\nras_timer\n")
        self.assertEqual([(each.port, each.password) for each in conf.accounts], [(110, "secret"), (111, "x")])
        self.assertEqual([(each.place, each.severity) for each in conf.findings],
                         [("f:3", "error"), ("f:5", "warning"), ("f:6", "warning"), ("f", "error")])
        self.assertIsNone(conf.period)

    def test_names_alone(self) -> None:
        """A name without a value is not set: an empty ras_entry does not make the least timer five minutes."""
        conf = parsed(b"pf_user bob secret 127.0.0.1\nras_timer 1\nras_entry\nras_number\npf_domain\n")
        self.assertEqual((conf.period, conf.dial.wanted, conf.domain, conf.findings), (60.0, False, None, ()))
        self.assertEqual(parsed(LEAST + b"pf_isinterval\n").findings[0].severity, "warning")

    def test_dialling_floor(self) -> None:
        """Whoever dials does so at most every five minutes."""
        for line in (b"ras_entry office", b"ras_number 1"):
            conf = parsed(b"ras_timer 2\n" + line + b"\npf_user bob secret 127.0.0.1\n")
            self.assertEqual((conf.period, [each.place for each in conf.findings]), (300.0, ["f:1"]))

    def test_domains(self) -> None:
        """Local domains: the main one first, each once; a virtual domain may be followed by its address."""
        conf = parsed(LEAST + b"vdomain v.example 10.0.0.1\nhost_domain main.example, two.example\n"
                              b"vdomain MAIN.example\n")
        self.assertEqual(conf.domains, ("main.example", "two.example", "v.example"))

    def test_nothing_to_do(self) -> None:
        """Without accounts or timer the operator is told; an empty file does no harm."""
        conf = parsed(b"")
        self.assertFalse(conf.usable)
        self.assertEqual([each.severity for each in conf.findings], ["error", "error"])

    def test_unknown(self) -> None:
        """Unknown settings of ours get a warning, those of other servers nothing."""
        conf = parsed(LEAST + b"pf_colour blue\nras_speed 9\ndns_timeout 5\nsysadmin x@y\n")
        self.assertEqual([each.place for each in conf.findings], ["f:3", "f:4"])


class FileTests(SynchronousTestCase):
    """Files and what they include."""

    def test_remarks(self) -> None:
        """Lines with # are remarks, at the start or after blanks; elsewhere # is itself."""
        conf = parsed(b"\xef\xbb\xbf" + LEAST.replace(b"\n", b"\r\n") + b"#pf_domain x\r\n  # pf_domain x\r\n"
                      b"#includes y\r\n\r\npf_user a b#c 127.0.0.1")
        self.assertEqual((conf.domain, conf.accounts[1].password, conf.findings), (None, "b#c", ()))

    def test_latin_1(self) -> None:
        """A file that is not UTF-8 is Latin-1."""
        self.assertEqual(parsed(b"ras_timer 5\npf_user j\xf6rg p\xe4ss 127.0.0.1").accounts[0].user, "j\xf6rg")
        self.assertEqual(parsed("ras_timer 5\npf_user jörg päss 127.0.0.1".encode()).accounts[0].user, "jörg")

    def test_include(self) -> None:
        """An included file is read where it is named; its path is relative to the file that names it."""
        read = files(**{"d/f": b"ras_timer 5\n#include sub/users\npf_max_duds 2",
                        "d/sub/users": b'#INCLUDE "../more"\n', "d/more": b"pf_user a b 127.0.0.1\npf_max_duds 0\n"})
        conf = parse("d/f", read)
        self.assertEqual((len(conf.accounts), conf.max_duds), (1, 2))
        self.assertEqual([each.place for each in conf.findings], ["d/more:2"])

    def test_bad_includes(self) -> None:
        """A missing file, a circle, too deep a chain and too many files are errors; the rest of the file counts."""
        chain = {f"c{n}": b"#include c%d\n" % (n + 1) for n in range(30)}
        bomb = {f"b{n}": b"#include b%d\n" % (n + 1) * 10 for n in range(8)} | {"b8": b""}
        for line, text in ((b"#include none", "cannot be read: No such file"), (b"#include f", "includes itself"),
                           (b"#include", "needs the name"), (b"#include c0", f"more than {DEEPEST} files"),
                           (b"#include b0", f"more than {MOST_FILES} files"), (b"#include big", "larger than")):
            conf = parsed(line + b"\n" + LEAST, big=b"x" * (MOST_OCTETS + 1), **chain, **bomb)
            self.assertEqual({each.severity for each in conf.findings}, {"error"})
            self.assertIn(text, "".join(map(str, conf.findings)))
            self.assertLessEqual(len(conf.findings), MOST_FINDINGS)
            self.assertTrue(conf.usable)

    def test_exposed(self) -> None:
        """A file with passwords that others can read is warned of; one without is not."""
        self.assertIn("chmod 600", parse("open", files(open=LEAST)).findings[-1].text)
        conf = parse("open", files(open=b"ras_timer 5\n#include f\n", f=b"pf_user a b 127.0.0.1"))
        self.assertEqual(conf.findings, ())

    def test_on_disk(self) -> None:
        """A real file; its mode decides on the warning, and a missing one is an error."""
        path = self.mktemp()
        with open(path, "wb") as file:
            file.write(LEAST)
        os.chmod(path, 0o600)
        self.assertEqual(load(path).findings, ())
        os.chmod(path, 0o644)
        self.assertEqual([each.severity for each in load(path).findings], ["warning"])
        os.mkfifo(path + ".fifo")
        for wrong in (path + ".none", path + ".fifo"):
            self.assertIn("cannot be read", load(wrong).findings[0].text)

    @settings(max_examples=150, deadline=None)
    @given(st.one_of(st.binary(max_size=300), st.lists(st.builds(
        lambda name, rest: name.encode() + b" " + rest, st.sampled_from([*SETTINGS, "#include"]),
        st.binary(max_size=40),
    ), max_size=8).map(b"\n".join)))
    def test_any_file(self, octets: bytes) -> None:
        """Whatever is in the file, there is an answer, within its limits."""
        conf = parsed(octets)
        self.assertGreaterEqual(conf.max_duds, 1)
        for finding in conf.findings:
            self.assertNotIn("\n", str(finding))
