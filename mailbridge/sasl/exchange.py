"""One SASL exchange: base64 on the outside, a mechanism's messages on the inside.

Whatever a client sends, `step` answers with a value or raises SASLError, and keeps no more than one response.
"""

from __future__ import annotations

import base64
import binascii

from mailbridge.sasl.values import BadBase64, Cancelled, Challenge, Proven, SASLError

MAX_RESPONSE = 12_288  # RFC 4954 section 4: a server takes lines of this length
MAX_NAME = 512


def decode(octets: bytes) -> bytes:
    """Strict base64: no blanks, right padding, no stray bits. Raises BadBase64."""
    try:
        message = base64.b64decode(octets, validate=True)
    except (binascii.Error, ValueError):
        raise BadBase64("a response is not base64") from None
    if base64.b64encode(message) != octets:
        raise BadBase64("a response is not base64 as RFC 4648 wants it")
    return message


class Exchange:
    """A login in progress. Mechanisms fill in `advance`; it is over after a Proven or an error."""

    def __init__(self) -> None:
        self._begun = False
        self._over = False

    def step(self, response: bytes | None) -> Challenge | Proven:
        """Go on with the client's line, as it came, without CR LF.

        The first call has the initial response (`=` is an empty one) or None when there was none; each later call the
        answer to the last challenge. Raises SASLError, and Cancelled for `*`.
        """
        if self._over:
            raise SASLError("this exchange is over")
        first, self._begun, self._over = not self._begun, True, True
        if response is not None:
            if len(response) > MAX_RESPONSE:
                raise SASLError("a response is too long")
            if response == b"*":
                raise Cancelled("given up by the client")
            response = b"" if first and response == b"=" else decode(response)
        elif not first:
            raise SASLError("a response is missing")
        result = self.advance(response)
        if isinstance(result, Challenge):
            self._over = False
            return Challenge(base64.b64encode(result.data)) if result.data else result
        return result

    def advance(self, message: bytes | None) -> Challenge | Proven:
        """The mechanism's own answer to a message without base64 (None: there was no initial response)."""
        raise NotImplementedError
