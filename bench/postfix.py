"""A private Postfix for a measurement: its queue, configuration and log in one folder, ended by its process id.

Needs the programs of Postfix and root, as Postfix does; the mail system of the machine is left alone.
"""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from bridge import HOST, START_SECONDS, STOP_SECONDS, free_port, greets

PROCESSES = 250
CONCURRENCY = 20

_SERVICES = """{host}:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
virtual unix - n n - - virtual
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
"""


class Postfix:
    """Takes mail from loopback at `port` and relays it to `hosts`: for each domain, and "" for all others, HOST:PORT.

    Each host is a destination of its queue, with `CONCURRENCY` connections from the start. Mail for `local`, a domain,
    goes into the one maildir `maildir` instead, by Postfix's own virtual(8).
    """

    def __init__(self, folder: Path, hosts: Mapping[str, tuple[str, int]], local: str = "") -> None:
        self.folder = folder
        self.port = free_port()
        self.pid = 0
        etc, queue, data = (folder / name for name in ("etc", "queue", "data"))
        for each in (etc, queue, data):
            each.mkdir(parents=True)
        os.chown(data, pwd.getpwnam("postfix").pw_uid, -1)
        nexthops = {domain: f"[{host}]:{port}" for domain, (host, port) in hosts.items()}
        settings = {
            "compatibility_level": "3.6", "queue_directory": queue, "data_directory": data, "inet_interfaces": HOST,
            "inet_protocols": "ipv4", "mynetworks": "127.0.0.0/8", "myhostname": "bench.invalid", "mydestination": "",
            "alias_maps": "", "local_recipient_maps": "", "default_process_limit": PROCESSES, "in_flow_delay": "0",
            "smtpd_peername_lookup": "no", "disable_dns_lookups": "yes", "smtp_host_lookup": "native",
            "smtpd_relay_restrictions": "permit_mynetworks,reject", "smtpd_tls_security_level": "none",
            "smtp_tls_security_level": "none", "default_destination_concurrency_limit": CONCURRENCY,
            "initial_destination_concurrency": CONCURRENCY, "master_service_disable": "",
            "transport_maps": f"texthash:{etc}/transport", "relayhost": nexthops.pop("", ""),
            "maillog_file": folder / "log", "maillog_file_prefixes": folder,
        }
        self.maildir = folder / "mail" / "dir"
        if local:
            owner = pwd.getpwnam("nobody")
            (folder / "mail").mkdir()
            os.chown(folder / "mail", owner.pw_uid, owner.pw_gid)
            settings |= {
                "virtual_mailbox_domains": local, "virtual_mailbox_base": folder / "mail",
                "virtual_mailbox_maps": "static:dir/", "virtual_uid_maps": f"static:{owner.pw_uid}",
                "virtual_gid_maps": f"static:{owner.pw_gid}", "virtual_minimum_uid": "1",
            }
        (etc / "transport").write_text("".join(f"{domain} smtp:{hop}\n" for domain, hop in nexthops.items()))
        (etc / "main.cf").write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
        services = _SERVICES.format(host=HOST, port=self.port) + "postlog unix-dgram n - n - 1 postlogd\n"
        (etc / "master.cf").write_text(services)

    def start(self) -> None:
        """Start it. Raises SystemExit when it does not greet."""
        with (self.folder / "start").open("w") as log:
            subprocess.run(["postfix", "-c", self.folder / "etc", "start"], check=True, stdout=log, stderr=log)
        end = time.monotonic() + START_SECONDS
        while not greets(self.port):
            if time.monotonic() > end:
                raise SystemExit(f"Postfix did not start; see {self.folder / 'log'}")
            time.sleep(0.02)
        self.pid = int((self.folder / "queue" / "pid" / "master.pid").read_text())

    def stop(self) -> None:
        """End it and its processes."""
        if not self.pid:
            return
        os.kill(self.pid, signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS
        while Path(f"/proc/{self.pid}").exists() and time.monotonic() < end:
            time.sleep(0.05)
        self.pid = 0
