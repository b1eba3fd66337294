"""What an operator is warned of."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.config.load import load_text
from mailbridge.config.model import Config, TLSSettings
from mailbridge.config.warnings import warnings

LOCAL = 'listen = "tcp:0:interface=127.0.0.1"'
OPEN = 'listen = "tcp:0"'


def warned(text: str, tls: bool = False) -> list[str]:
    """The places that are warned of, for a configuration with or without a certificate."""
    config = load_text(text, "mailbridge.toml", Path("/nowhere"), (), lambda: "host.example")
    if tls:
        pems = TLSSettings(Path("/nowhere/cert.pem"), Path("/nowhere/key.pem"))
        config = Config(hostname="host.example", tls=pems, limits=config.limits, smtp=config.smtp, pop3=config.pop3)
    return [line.partition(": ")[0] for line in warnings(config)]


class WarningTests(SynchronousTestCase):
    """Each warning, and when there is none."""

    def test_relays(self) -> None:
        """Relays that nothing leads to, no default, passwords and mail in clear are warned of."""
        listens = f"[[smtp]]\n{LOCAL}\n"
        host = 'servers = ["h.example"]\n'
        for text, places in [
            (f"[relay.a]\n{host}", []),
            (f"[relay.a]\n{host}default = false", ["relay.a"]),
            (f"[relay.a]\n{host}[relay.b]\n{host}", ["relay", "relay.a", "relay.b"]),
            (f"[relay.a]\n{host}default = true\n[relay.b]\n{host}[[route]]\nto = 'relay:b'", []),
            (f"[relay.a]\n{host}tls = 'off'", ["relay.a.tls"]),
            ("[relay.a]\nservers = ['localhost:26']\ntls = 'off'", []),
            (f"[relay.a]\n{host}user = 'u'\npassword = 'p'\nauth_in_clear = true", ["relay.a.auth_in_clear"]),
        ]:
            self.assertEqual(warned(listens + text), places, text)

    def test_applications(self) -> None:
        """Applications that get no mail or cannot be meant so, and receivers that nobody reaches, are warned of."""
        sms = "[application.a]\nctl_type = 'sms'\ncommand = ['cat']\n"
        taken = sms + "addresses = ['(?P<number>\\d+)@sms']\n"
        mark = "nonstandard_data_terminator = '\\r\\n .\\r\\n'\n"
        for text, places in [
            (taken, []), (sms, ["application.a.addresses"]), (sms + "enabled = 0", []),
            (sms + "[[route]]\nto = 'application:a'", []),
            (taken + "from_enabled = []", ["application.a.from_enabled"]),
            (taken + "format_preference = 'eml;txt'", ["application.a.format_preference"]),
            (taken + mark, ["application.a.nonstandard_data_terminator"]),
            (taken + mark + "terminator_clients=['::1']", []),
            (taken + "terminator_clients = ['::1']", ["application.a.terminator_clients"]),
            (taken + "[command_tags.x]\ndr = { key = 'a|b', bare = '1' }", ["command_tags.x"]),
            (taken + "cmd_tags = 'x'\n[command_tags.x]\ndr = { key = 'a|b', bare = '1' }", []),
            ("[receiver]\nsmtp_port = 0", ["receiver.clients"]),
            ("[receiver]\nsmtp_port = 0\n" + taken + "clients = ['::1']", []),
            ("[receiver]\nsmtp_port = 0\nauthentication_lib = 'a.b'", []),
            ("[receiver]\nsmtp_ip_address = '192.0.2.1'\nauthentication_lib = 'a.b'", ["receiver.authentication_lib"]),
            ("[receiver]\nsmtp_ip_address = '192.0.2.1'\nauthentication_lib = 'a.b'\nauth_in_clear = true",
             ["receiver.auth_in_clear"]),
            ("[receiver]\nlog_rcv_data = 1", ["receiver.log_rcv_data"]),
        ]:
            self.assertEqual(warned(f"[[smtp]]\n{LOCAL}\n{text}"), places, text)
        self.assertEqual(warned("[receiver]\nsmtp_port = 0\nclients = ['::1']"), [])

    def test_not_there(self) -> None:
        """A folder or a program that is not there is warned of; the bridge starts, and its queue can be looked at."""
        taken = "[application.a]\nctl_type = 'sms'\naddresses = ['(?P<number>\\d+)@sms']\n"
        for text, places in [
            (taken + "output_folder = 'gone'", ["application.a.output_folder"]),
            (taken + "output_folder = 'gone'\nenabled = 0", []),
            (taken + "output_folder = '/etc/passwd'", ["application.a.output_folder"]),
            (taken + "output_folder = '/tmp'", []),
            (taken + "output_folder = '/tmp'\naccounting = 'gone/a.jsonl'", ["application.a.accounting"]),
            (taken + "command = ['no such program']", ["application.a.command"]),
            (taken + "command = ['/etc/passwd']", ["application.a.command"]),
            ("[receiver]\nlogging_file_name = 'gone/a.log'", ["receiver.logging_file_name"]),
        ]:
            self.assertEqual(warned(f"[[smtp]]\n{LOCAL}\n{text}"), places, text)

    def test_table(self) -> None:
        """Listeners open to others without TLS and passwords in clear are warned of; what stays on the host is not."""
        for text, tls, places in [
            ("", False, ["no [[smtp]] and no [[pop3]]"]),
            (f"[[smtp]]\n{LOCAL}\nauth_in_clear = true\n[[pop3]]\n{LOCAL}", False, []),
            ('[[smtp]]\nlisten = "unix:/run/smtp"', False, []),
            (f"[[smtp]]\n{OPEN}", False, ["smtp[0].listen"]),
            (f"[[smtp]]\n{OPEN}", True, []),
            (f'[[smtp]]\n{OPEN}\nstarttls = "off"', True, ["smtp[0].listen"]),
            (f"[[smtp]]\n{OPEN}\nauth_in_clear = true", True, ["smtp[0].auth_in_clear"]),
            (f'[[smtp]]\n{OPEN}\nauth = "require"', False, ["smtp[0].listen", "smtp[0].auth"]),
            (f"[[pop3]]\n{OPEN}", False, ["pop3[0].listen", "pop3[0]"]),
            (f"[[pop3]]\n{OPEN}\nlogin_in_clear = true", False, ["pop3[0].listen", "pop3[0].login_in_clear"]),
            (f"[[pop3]]\n{OPEN}", True, []),
            ('[[smtp]]\nlisten = "haproxy:tcp:0:interface=127.0.0.1"', False, ["smtp[0].listen"]),
            (f"[[smtp]]\n{LOCAL}\n[limits]\nconnections = 5", False, ["limits.connections_per_client"]),
            (f'[[smtp]]\n{LOCAL}\n[limits]\nmessage_size = "64 KiB"', False, ["limits.header_size"]),
            (f'[[smtp]]\n{LOCAL}\n[limits]\npop3_idle = "1 min"', False, ["limits.pop3_idle"]),
        ]:
            self.assertEqual(warned(text, tls), places, (text, tls))
