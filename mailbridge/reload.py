"""Taking a new configuration into a running bridge, without dropping a session.

Users' settings, routes, limits, certificates and the rules of listeners change at once; listeners come and go. What
only a restart can change is left as it is and named. Everything that can fail is made before anything is changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mailbridge.certificate import load_context
from mailbridge.config import rooms
from mailbridge.config.model import Config

if TYPE_CHECKING:
    from mailbridge.service import Bridge

_RESTART_ONLY = ("hostname", "state", "store")


def apply(bridge: Bridge, new: Config) -> list[str]:
    """Make `bridge` follow `new`; notes on what needs a restart. Raises StartError, and then the old one stays."""
    old = bridge.config
    options = load_context(new.tls.certificate, new.tls.key) if new.tls is not None else None
    rules, submission = rooms.routing_rules(new), rooms.submission_rules(new)
    notes = [f"{key} changes only with a restart" for key in _RESTART_ONLY if getattr(old, key) != getattr(new, key)]
    if (old.tls is None) != (new.tls is None):
        notes.append("[tls] comes or goes only with a restart")

    bridge.config = new
    users = new.users
    bridge.directory.reconfigure(users.domains, users.tag_separator, users.postmaster)
    bridge.table.reconfigure(rules)
    bridge.intake.limits = new.limits
    bridge.intake.rules = submission
    bridge.sessions.limits = new.limits
    bridge.throttle.allowed = new.limits.wrong_passwords
    if bridge.tls is not None and options is not None:
        bridge.tls.options = options
    return notes + bridge.follow_listeners()
