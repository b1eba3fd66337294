"""What a client said in secret stays so when a server repeats it: some do, in the text of a refusal."""

from __future__ import annotations

import re

_BASE64_RUN = re.compile(rb"[A-Za-z0-9+/=]{8,}")


class Mask:
    """Shows `***` where octets of the server repeat a secret, or eight characters of its base64 form."""

    def __init__(self) -> None:
        self._secrets: tuple[bytes, ...] = ()

    def hide(self, *secrets: bytes) -> None:
        """Hide these too from now on."""
        self._secrets += tuple(secret for secret in secrets if secret)

    def masked(self, octets: bytes) -> bytes:
        """`octets` without the secrets."""
        if not self._secrets:
            return octets
        for secret in self._secrets:
            octets = octets.replace(secret, b"***")
        return _BASE64_RUN.sub(
            lambda match: b"***" if any(match[0] in secret for secret in self._secrets) else match[0], octets
        )


def printable(octets: bytes) -> str:
    """UTF-8 as text that moves no cursor: `?` for what is not printable."""
    text = octets.decode("utf-8", "replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)
