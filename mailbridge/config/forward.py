"""`forward_smtp_server` of `[receiver]`: a default relay of the name `forward`, with all that relays have."""

from __future__ import annotations

from mailbridge.config.model import ReceiverSettings, RelaySettings

FORWARD = "forward"


def forward_relay(receiver: ReceiverSettings) -> dict[str, RelaySettings]:
    """The relay by its name; nothing where there is no such server."""
    if receiver.forward_smtp_server is None:
        return {}
    server = f"{receiver.forward_smtp_server}:{receiver.forward_smtp_server_port}"
    return {FORWARD: RelaySettings(servers=(server,), default=True)}
