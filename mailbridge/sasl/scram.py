"""SCRAM-SHA-256 without channel binding, the server's side (RFC 5802, RFC 7677).

| message      | form                                                              |
|--------------|-------------------------------------------------------------------|
| client-first | `n` or `y` `,[a=NAME],` `n=NAME,r=NONCE[,extensions]`              |
| server-first | `r=NONCE+ours,s=SALT,i=ITERATIONS`                                |
| client-final | `c=` base64 of the part before `n=`, `,r=NONCE+ours[,...],p=PROOF` |
| server-final | `v=SIGNATURE`, sent as a challenge that the client answers with nothing |

A wrong proof, an unknown name and a caller that may not try now look alike, and no signature is sent for them: it would
tell a guesser whether he was right.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable

from mailbridge.sasl.exchange import Exchange, decode
from mailbridge.sasl.simple import checked_name
from mailbridge.sasl.values import BadBase64, Challenge, Proof, Proven, SASLError
from mailbridge.sasl.verifier import ScramVerifier, Verifiers

_NONCE = rb"[!-+\--~]{1,512}"
_EXTENSIONS = rb"(?:,[A-Za-z]=[^,\0]+)*"
_CLIENT_FIRST = re.compile(
    rb"(?P<gs2>[ny],(?:a=(?P<authzid>[^,\0]+))?,)(?P<bare>n=(?P<name>[^,\0]*),r=(?P<nonce>%s)%s)"
    % (_NONCE, _EXTENSIONS)
)
_CLIENT_FINAL = re.compile(
    rb"(?P<bare>c=(?P<binding>[A-Za-z0-9+/=]+),r=(?P<nonce>%s)%s),p=(?P<proof>[A-Za-z0-9+/=]{1,128})"
    % (rb"[!-+\--~]{1,1024}", _EXTENSIONS)
)
_ESCAPE = re.compile(rb"=(2C|3D)|=")


class Scram(Exchange):
    """One SCRAM-SHA-256 exchange.

    `nonce` is our half, random and printable without commas. `may_try(name)` is asked before a proof is checked: while
    it says no, right and wrong proofs fail alike.
    """

    def __init__(self, verifiers: Verifiers, nonce: bytes, may_try: Callable[[bytes], bool]) -> None:
        super().__init__()
        self._verifiers = verifiers
        self._nonce = nonce
        self._may_try = may_try
        self._next: Callable[[bytes], Challenge | Proven] = self._client_first
        self._username = b""
        self._own_name = True
        self._gs2 = self._first = b""
        self._verifier: ScramVerifier | None = None

    def advance(self, message: bytes | None) -> Challenge | Proven:
        """Go through the four messages."""
        return Challenge.EMPTY if message is None else self._next(message)

    def _client_first(self, message: bytes) -> Challenge | Proven:
        if message.startswith(b"p="):
            raise SASLError("channel binding is not offered")
        match = _CLIENT_FIRST.fullmatch(message)
        if match is None:
            raise SASLError("this is no SCRAM client-first message")
        self._username = checked_name(_unescape(match["name"]))
        if match["authzid"]:
            authzid = checked_name(_unescape(match["authzid"]))
            self._own_name = authzid.decode("utf-8").casefold() == self._username.decode("utf-8").casefold()
        self._verifier = verifier = self._verifiers.scram(self._username.decode("utf-8"))
        self._gs2, self._nonce = match["gs2"], match["nonce"] + self._nonce
        server_first = b"r=%s,s=%s,i=%d" % (self._nonce, base64.b64encode(verifier.salt), verifier.iterations)
        self._first = match["bare"] + b"," + server_first
        self._next = self._client_final
        return Challenge(server_first)

    def _client_final(self, message: bytes) -> Challenge | Proven:
        match = _CLIENT_FINAL.fullmatch(message)
        if match is None or match["nonce"] != self._nonce or match["binding"] != base64.b64encode(self._gs2):
            raise SASLError("this is no SCRAM client-final message of this exchange")
        try:
            proof = decode(match["proof"])
        except BadBase64:
            raise SASLError("the proof is not base64") from None
        assert self._verifier is not None
        auth_message = self._first + b"," + match["bare"]
        right = self._verifier.accepts(proof, auth_message)
        if not (self._may_try(self._username) and self._own_name and right):
            return Proven(Proof(self._username, proven=False))
        self._next = self._client_done
        return Challenge(b"v=" + base64.b64encode(self._verifier.signature(auth_message)))

    def _client_done(self, message: bytes) -> Challenge | Proven:
        if message:
            raise SASLError("the answer to the SCRAM server-final message is empty")
        return Proven(Proof(self._username, proven=True))


def _unescape(name: bytes) -> bytes:
    """A saslname in clear: `=2C` is a comma, `=3D` an equals sign, any other `=` an error (RFC 5802 section 5.1)."""

    def replace(match: re.Match[bytes]) -> bytes:
        if match[1] is None:
            raise SASLError("a = in the name is not followed by 2C or 3D")
        return b"," if match[1] == b"2C" else b"="

    return _ESCAPE.sub(replace, name)
