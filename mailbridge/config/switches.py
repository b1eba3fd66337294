"""The five settings that fauSMTP could switch on its command line, as changes of the configuration file.

smtpport, pop3port, jsonport  the port of the first `[[smtp]]` or `[[pop3]]`, and of the OCE
usefromsmtp                   outgoing mail goes to the server of the sender's domain, not of the recipient's
dedicatedsmtp                 outgoing mail goes to one server: `host,port,user,password`, or `none`

The last two choose the default relay; the one that was switched last counts. With both off mail goes to the servers of
the recipients' domains, as fauSMTP did.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import urlsplit

from mailbridge.config.editing import ConfigFile
from mailbridge.config.servers import dedicated_server

DEDICATED = "dedicated"
FROM = "usefromsmtp"
DIRECT = "direct"
NONE = ("none", "off", "0", "")

_PORT = re.compile(r"[0-9]{1,5}")
_TCP = re.compile(r"((?:haproxy:)?tcp6?:(?:port=)?)[0-9]+(.*)", re.DOTALL)
_ON = {"1": True, "on": True, "true": True, "yes": True, "0": False, "off": False, "false": False, "no": False}
_NEW_LISTENER = "tcp:{port}:interface=127.0.0.1"
_NEW_URL = "http://127.0.0.1:{port}/"


def port_number(text: str) -> int:
    """A TCP port. Raises ValueError."""
    if _PORT.fullmatch(text) and 0 < int(text) < 65536:
        return int(text)
    raise ValueError(f"must be a port from 1 to 65535, got {text[:20]!r}")


def on_or_off(text: str) -> bool:
    """0, 1, on or off. Raises ValueError."""
    found = _ON.get(text.lower())
    if found is None:
        raise ValueError(f"must be 0, 1, on or off, got {text[:20]!r}")
    return found


def smtp_port(file: ConfigFile, text: str) -> None:
    """Listen for SMTP on another port."""
    _listen(file, "smtp", port_number(text))


def pop3_port(file: ConfigFile, text: str) -> None:
    """Listen for POP3 on another port."""
    _listen(file, "pop3", port_number(text))


def _listen(file: ConfigFile, name: str, port: int) -> None:
    listener = file.listener(name)
    listener["listen"] = _with_port(listener.get("listen", _NEW_LISTENER.format(port=port)), port, f"{name}[0].listen")


def _with_port(endpoint: object, port: int, place: str) -> str:
    match = _TCP.fullmatch(str(endpoint))
    if match is None:
        raise ValueError(f'{place} is "{endpoint}", which has no port: change it in the file')
    return f"{match[1]}{port}{match[2]}"


def json_port(file: ConfigFile, text: str) -> None:
    """Speak with the OCE, or let the embedded one listen, on another port."""
    port = port_number(text)
    oce = file.table("oce")
    if "listen" in oce:
        oce["listen"] = _with_port(oce["listen"], port, "oce.listen")
    elif oce.get("embedded") is True:
        oce["listen"] = _NEW_LISTENER.format(port=port)
    if oce.get("embedded") is not True:
        parts = urlsplit(str(oce.get("url", _NEW_URL.format(port=port))))
        host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
        oce["url"] = parts._replace(netloc=f"{host}:{port}").geturl()


def use_from_smtp(file: ConfigFile, text: str) -> None:
    """Send by the server of the sender's domain, or no longer."""
    relays = file.table("relay")
    if on_or_off(text):
        if FROM not in relays:
            file.table("relay", FROM)["use_from"] = True
        _make_default(file, FROM)
    elif FROM in relays:
        del relays[FROM]
        _fall_back(file)


def dedicated_smtp(file: ConfigFile, text: str) -> None:
    """Send by one server, or no longer."""
    relays = file.table("relay")
    if text.lower() not in NONE:
        dedicated_server(text)
        file.table("relay", DEDICATED)["dedicatedsmtp"] = text
        _make_default(file, DEDICATED)
    elif DEDICATED in relays:
        del relays[DEDICATED]
        _fall_back(file)


def _fall_back(file: ConfigFile) -> None:
    """The default relay was removed: the other switch, else the only relay there is, else direct delivery."""
    relays = file.tables("relay")
    chosen = [name for name, relay in relays.items() if relay.get("default") is True]
    if not chosen:
        known = [name for name in (DEDICATED, FROM) if name in relays]
        if not known and not relays:
            file.table("relay", DIRECT)["servers"] = ["mx"]
            known = [DIRECT]
        _make_default(file, (known or list(relays))[0])


def _make_default(file: ConfigFile, chosen: str) -> None:
    for name, relay in file.tables("relay").items():
        if name == chosen:
            relay["default"] = True
        elif relay.get("default") is not False:
            relay["default"] = False


SWITCHES: dict[str, Callable[[ConfigFile, str], None]] = {
    "smtpport": smtp_port, "pop3port": pop3_port, "jsonport": json_port, "usefromsmtp": use_from_smtp,
    "dedicatedsmtp": dedicated_smtp,
}
"""By the names that the command line has for them. Each raises ValueError with the remedy."""


