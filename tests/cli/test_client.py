"""`mailbridge client`: what people type into their mail programs."""

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.certificate import Description
from mailbridge.cli.mail_program import CLEAR, IMPLICIT, STARTTLS, settings
from mailbridge.cli.snippets import PROGRAMS, as_fields
from mailbridge.config.model import Config, POP3Listener, SMTPListener, TLSSettings, UsersSettings

TLS = TLSSettings(Path("cert.pem"), Path("key.pem"))
OWN = Description("CN=b", "CN=b", ("b.example",), 0.0, 1e10, "AB:CD")
BOUGHT = Description("CN=b", "CN=authority", ("b.example",), 0.0, 1e10, "AB:CD")


def _config(smtp: SMTPListener, pop3: POP3Listener, tls: TLSSettings | None = None) -> Config:
    return Config(
        source="mailbridge.toml",
        hostname="b.example",
        state=Path("state"),
        tls=tls,
        smtp=(smtp,),
        pop3=(pop3,),
        users=UsersSettings(domains=("example.org",)),
    )


class SettingsTests(SynchronousTestCase):
    """`settings`: what the listeners offer."""

    def test_security_and_login(self) -> None:
        """TLS kinds, and whether a password is taken: never without TLS from another machine unless that is set."""
        lan, here = "tcp:25", "tcp:25:interface=127.0.0.1"
        for smtp, pop3, tls, expected in (
            (SMTPListener(here), POP3Listener(here), None, (CLEAR, True, CLEAR, True)),
            (SMTPListener(lan), POP3Listener(lan), None, (CLEAR, False, CLEAR, False)),
            (SMTPListener(lan, auth_in_clear=True), POP3Listener(lan, login_in_clear=True), None,
             (CLEAR, True, CLEAR, True)),
            (SMTPListener(lan), POP3Listener(lan), TLS, (STARTTLS, True, STARTTLS, True)),
            (SMTPListener(lan, tls=True), POP3Listener(lan, tls=True), TLS, (IMPLICIT, True, IMPLICIT, True)),
            (SMTPListener(lan, starttls="off"), POP3Listener(lan, starttls="off"), TLS, (CLEAR, False, CLEAR, False)),
            (SMTPListener(lan, auth="off"), POP3Listener(lan), TLS, (STARTTLS, False, STARTTLS, True)),
        ):  # fmt: skip
            with self.subTest(smtp=smtp, pop3=pop3):
                told = settings(_config(smtp, pop3, tls), "bonnie", None)
                (sending,), (fetching,) = told.smtp, told.pop3
                self.assertEqual((sending.security, sending.login, fetching.security, fetching.login), expected)

    def test_server_name(self) -> None:
        """A listener on all addresses is reached by the host name, one on loopback by `localhost`."""
        for interface, host in (("", "b.example"), ("0.0.0.0", "b.example"), (r"\:\:", "b.example"),
                                ("127.0.0.1", "localhost"), (r"\:\:1", "localhost"),
                                ("10.0.0.9", "10.0.0.9")):  # fmt: skip
            with self.subTest(interface=interface):
                listen = f"tcp:25:interface={interface}"
                told = settings(_config(SMTPListener(listen), POP3Listener(listen)), "bonnie", None)
                self.assertEqual(told.smtp[0].host, host)

    def test_port(self) -> None:
        """The port is unknown where it is not ours: behind a proxy, on a socket of systemd's, on a free port."""
        for listen, port in (("tcp:port=25", 25), ("haproxy:tcp:20001", None), ("systemd:domain=INET:index=0", None),
                             ("tcp:0", None), ("unix:/run/socket", None)):  # fmt: skip
            with self.subTest(listen=listen):
                told = settings(_config(SMTPListener(listen), POP3Listener(listen)), "bonnie", None)
                self.assertEqual((told.smtp[0].port, told.pop3[0].port), (port, port))

    def test_address(self) -> None:
        """A user's address is in the first local domain; one that is complete stays as it is."""
        config = _config(SMTPListener("tcp:25"), POP3Listener("tcp:110"))
        self.assertEqual(settings(config, "bonnie", None).address, "bonnie@example.org")
        self.assertEqual(settings(config, "bonnie@other.example", None).address, "bonnie@other.example")

    def test_notes(self) -> None:
        """Each thing that would not work is said, and nothing when all is well."""
        lan, here = "tcp:25", "tcp:25:interface=127.0.0.1"
        fine = settings(_config(SMTPListener(lan), POP3Listener(lan), TLS), "bonnie", BOUGHT)
        self.assertEqual(fine.notes, ())
        for smtp, pop3, tls, told, words in (
            (here, here, TLS, BOUGHT, "Only programs on this machine"),
            (here, here, TLS, BOUGHT, "does not name localhost"),
            (lan, lan, None, None, "`mailbridge cert`"),
            (lan, lan, None, None, "nobody can fetch"),
            (lan, lan, TLS, OWN, "self-signed"),
            ("systemd:domain=INET:index=0", lan, TLS, BOUGHT, "ask who runs it"),
        ):
            with self.subTest(words=words):
                notes = settings(_config(SMTPListener(smtp), POP3Listener(pop3), tls), "bonnie", told).notes
                self.assertIn(words, " ".join(notes))

    def test_names_of_the_certificate(self) -> None:
        """A server name that the certificate lacks is told; `*.` stands for one label."""
        for names, fits in ((("b.example",), True), (("*.example",), True), (("*.b.example", "b"), False)):
            with self.subTest(names=names):
                told = Description("CN=b", "CN=authority", names, 0.0, 1e10, "AB:CD")
                notes = settings(_config(SMTPListener("tcp:25"), POP3Listener("tcp:110"), TLS), "bonnie", told).notes
                self.assertEqual([note for note in notes if "does not name b.example" in note] == [], fits)

    def test_no_listener(self) -> None:
        """With no listener at all the notes say so, and every format still writes something."""
        told = settings(Config(hostname="b.example"), "bonnie", None)
        self.assertEqual(len(told.notes), 2)
        for write in PROGRAMS.values():
            self.assertTrue(write(told))


class SnippetTests(SynchronousTestCase):
    """The files of mail programs."""

    def lines(
        self, program: str, tls: TLSSettings | None, told: Description | None, implicit: bool = False
    ) -> list[str]:
        """The lines for bonnie of one program."""
        config = _config(SMTPListener("tcp:20001", tls=implicit), POP3Listener("tcp:20002", tls=implicit), tls)
        return [line.strip() for line in PROGRAMS[program](settings(config, "bonnie", told)).splitlines()]

    def test_table(self) -> None:
        """Each program is told host, port, user, and the kind of TLS in its own words."""
        for program, tls, told, implicit, expected in (
            ("msmtp", TLS, OWN, False, ("host b.example", "port 20001", "user bonnie", "from bonnie@example.org",
                                        "auth on", "tls on", "tls_starttls on", "tls_fingerprint AB:CD")),
            ("msmtp", TLS, BOUGHT, True, ("tls on", "tls_starttls off")),
            ("msmtp", None, None, False, ("tls off", "auth off")),
            ("mpop", TLS, OWN, False, ("host b.example", "port 20002", "user bonnie", "tls_fingerprint AB:CD")),
            ("fetchmail", TLS, BOUGHT, False, ('poll "b.example" protocol POP3 port 20002 uidl', 'user "bonnie"',
                                               'sslproto "TLS1.2+"')),
            ("fetchmail", TLS, BOUGHT, True, ("ssl",)),
            ("fetchmail", None, None, False, ('sslproto ""',)),
            ("mutt", TLS, BOUGHT, False, ('set smtp_url = "smtp://bonnie@b.example:20001/"',
                                          'set pop_host = "pop://bonnie@b.example:20002/"', "set ssl_starttls = yes")),
            ("mutt", TLS, BOUGHT, True, ('set smtp_url = "smtps://bonnie@b.example:20001/"',
                                         'set pop_host = "pops://bonnie@b.example:20002/"')),
            ("thunderbird", TLS, OWN, False, ("server    b.example", "port      20001", "port      20002",
                                              "security  STARTTLS", "user      bonnie", "AB:CD")),
        ):  # fmt: skip
            with self.subTest(program=program, implicit=implicit):
                self.assertLessEqual(set(expected), set(self.lines(program, tls, told, implicit)))

    def test_fingerprint_only_where_needed(self) -> None:
        """A certificate of a known authority is checked by its chain, not pinned."""
        for program in ("msmtp", "mpop", "fetchmail"):
            text = "\n".join(self.lines(program, TLS, BOUGHT))
            self.assertNotIn("AB:CD", text)
            self.assertNotIn("sslcertfile", text)

    def test_tls_is_preferred(self) -> None:
        """With a plain and a TLS listener, a program's file names the TLS one; the fields name both."""
        config = Config(hostname="b.example", tls=TLS, smtp=(
            SMTPListener("tcp:20001", starttls="off"), SMTPListener("tcp:20465", tls=True)))  # fmt: skip
        told = settings(config, "bonnie", BOUGHT)
        self.assertIn("port 20465", PROGRAMS["msmtp"](told))
        self.assertIn("20001", as_fields(told))
        self.assertIn("20465", as_fields(told))
