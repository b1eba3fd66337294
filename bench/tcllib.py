"""The same messages sent by Tcllib's `smtp::sendmessage` and by ours to one recording server, side by side.

`python bench/tcllib.py` needs `tclsh` with the packages smtp, mime and tls (Debian: tcllib, tcl-tls). It prints for
each message what arrived from either, and each difference with its reason; exit code 1 when one has none. `--options`
prints where each option of both originals has gone:

==================  =====================================  =============================================================
original            here                                   shown by (tests/test_sendmail.py unless another is named)
==================  =====================================  =============================================================
Tcllib smtp
-servers            servers                                test_tandem, test_failover; testing.test_next_server
-ports              ports                                  test_tandem
-client             client_name                            test_client_name
-queue              queue                                  test_queue
(ONEX, one message) (by itself)                            test_queue
-atleastone         at_least_one                           test_at_least_one; message 5 and 6 here
-originator         originator                             test_null_sender; test_compose.test_envelopes; message 4, 13
-recipients         recipients                             test_compose.test_envelopes, test_from_message; message 14
-header             headers                                test_compose (all)
  Dcc               headers                                test_compose.test_hidden; message 3
  Bcc               headers, bcc="deliver" or "digest"     test_bcc_digest; test_compose.test_digest; message 1
  Resent-           headers                                test_compose.test_replaced; message 2
-usetls             tls="opportunistic" or "off"           test_sendmail_tls.test_opportunistic
-tlsimport          tls="implicit"                         test_sendmail_tls.test_implicit
-tlspolicy          tls_policy                             test_policy; message 8 and 9
-username           username                               LoginTests, OwnBridgeTests; sasl.test_client
-password           password                               LoginTests, OwnBridgeTests; sasl.test_client
-debug              transaction_log (a callable)           test_context_and_log
-maxsecs            timeout, limits                        test_timeout; EndTests.test_each_phase_has_its_limit
(SIZE)              (by itself)                            smtp.test_client.test_parameters
(result list)       SendResult.refused                     test_at_least_one; message 5
POE Client::SMTP
From                originator                             test_null_sender, test_nothing_by_default
To                  recipients                             test_nothing_by_default
Body                message                                test_body
MessageFile         message_file                           test_file
FileHandle          file_handle                            test_file
Server              servers                                test_failover
Port                ports                                  test_tandem
Timeout             timeout                                test_timeout, test_timeout_in_the_goodbye
MyHostname          client_name                            test_client_name
BindAddress         bind_address                           test_bind
BindPort            bind_port                              test_bind
Debug               transaction_log (a callable)           test_context_and_log
Alias               (the Deferred is the handle)           testing.test_cancelled_at_any_moment
Context             context                                test_context_and_log
TransactionLog      transaction_log                        test_context_and_log
SMTP_Success        callback: SendResult                   test_context_and_log
SMTP_Failure        errback: SendFailure                   test_context_and_log, testing.test_kinds
  SMTP_Server_Error Kind.SERVER, code                      test_at_least_one
  Timeout           Kind.TIMEOUT                           test_timeout
  POE::Wheel::*     Kind.CONNECTION                        test_tandem
  Configure         Kind.CONFIGURATION, Kind.LOGIN         test_never_raises, test_login_required
  MessageFile_Error Kind.MESSAGE                           test_file
  line              SendFailure.line                       test_timeout
Auth                username, password, token, external    LoginTests
==================  =====================================  =============================================================
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.task import react
from twisted.internet.utils import getProcessOutputAndValue

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from mailbridge.message.header import end_of_header, fields
from mailbridge.sendmail import SendFailure, sendmessage
from mailbridge.testing.hostile import HostileFactory, Script, ehlo

HEAD = "MIME-Version: 1.0\r\nContent-Type: text/plain\r\n\r\n"
FROM, TO, DATE = ("From", "f@x.example"), ("To", "t@y.example"), ("Date", "Sat, 21 Nov 2026 12:00:00 +0000")
NO_TLS: Script = {"EHLO": (ehlo("STARTTLS"),), "STARTTLS": (b"454 4.7.0 not now\r\n",)}
ONE_REFUSED: Script = {"RCPT TO:<no@y": (b"550 5.1.1 who is that\r\n",)}

EVERYWHERE = {"header content-id": "Tcllib's mime package gives each part a Content-ID; we leave the message as it is"}
"""Reasons of differences by what differs; each case has its own besides."""


@frozen
class Case:
    """One message for both. `extra` are Tcllib options and our keywords that are not headers or the body."""

    name: str
    headers: tuple[tuple[str, str], ...] = (FROM, TO, DATE)
    body: str = "line one\nline two\n"
    tcl: str = ""
    ours: dict[str, Any] = field(factory=dict)
    script: Script = field(factory=dict)
    dead_first: bool = False
    reasons: dict[str, str] = field(factory=dict)


CASES = (
    Case("1 Bcc digest", (FROM, TO, DATE, ("Subject", "plan"), ("Bcc", "b@y.example")), ours={"bcc": "digest"},
         reasons={
             "header bcc": "Tcllib shows an empty Bcc in the blind copy",
             "header content-type": "each has a boundary of its own, ours the first that does not occur",
             "header from": "the same address; we write what we make up in angle brackets",
             "header ": "Tcllib repeats the boundary on a line of its own, which is no field: the copy is damaged",
             "content": "the boundaries, Tcllib's Content-ID and the order of fields",
         }),
    Case("2 Resent", (FROM, TO, DATE, ("Resent-From", "rf@x.example"), ("Resent-To", "rt@y.example"))),
    Case("3 Dcc", (FROM, TO, DATE, ("Cc", "c@y.example"), ("Dcc", "d@y.example"))),
    Case("4 empty originator", (TO, DATE), tcl="-originator {}", ours={"originator": ""}),
    Case("5 atleastone, one refused", (FROM, ("To", "t@y.example, no@y.example"), DATE), tcl="-atleastone 1",
         ours={"at_least_one": True}, script=ONE_REFUSED),
    Case("6 one refused, no atleastone", (FROM, ("To", "t@y.example, no@y.example"), DATE), script=ONE_REFUSED,
         reasons={"result": "nothing was sent: Tcllib returns the refusals, here they come in a SendFailure"}),
    Case("7 failover", dead_first=True),
    Case("8 tlspolicy insecure", tcl="-tlspolicy go_on", ours={"tls_policy": lambda *_: "insecure"}, script=NO_TLS),
    Case("9 tlspolicy secure", tcl="-tlspolicy give_up", ours={"tls_policy": lambda *_: "secure"}, script=NO_TLS),
    Case("10 dots", body=".\n..\n.three\nend .\n.\n",
         reasons={
             "header content-transfer-encoding": "Tcllib turns to quoted-printable for a dot, and says so twice",
             "content": "Tcllib's encoding of the last dot loses a line end; ours is what was given",
         }),
    Case("11 bare LF, no last line end", body="one\ntwo\n\nlast"),
    Case("12 no Date, no Message-ID", (FROM, TO)),
    Case("13 originator differs from From", tcl="-originator o@x.example", ours={"originator": "o@x.example"},
         reasons={"header sender": "Tcllib writes the address of From; RFC 5322 3.6.2 wants the one who sends"}),
    Case("14 recipients named", tcl="-recipients {r@y.example, s@y.example}",
         ours={"recipients": "r@y.example, s@y.example"}),
)

TCL = """
package require mime
package require smtp
package require tls
proc go_on {args} {return insecure}
proc give_up {args} {return secure}
set token [mime::initialize -canonical text/plain -string [encoding convertfrom utf-8 [binary decode hex %s]]]
set code [catch {smtp::sendmessage $token -servers {%s} -ports {%s} -client us.example %s %s} result]
puts "$code $result"
"""


@frozen
class Seen:
    """What one sender did: its result, and (sender, recipients, header fields, body) of each message that arrived."""

    result: str
    messages: tuple[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...], bytes], ...]


def seen(result: str, server: HostileFactory) -> Seen:
    """The record of `server`, in a form that can be compared."""
    found = []
    for lines, content in server.messages:
        words = [line.decode().split(":", 1)[1].split()[0].strip("<>") for line in lines]
        end = end_of_header(content)
        found.append((words[0], tuple(words[1:]), tuple(map(_field, fields(content[:end]))), content[end + 2:]))
    return Seen(result, tuple(found))


def _field(pair: tuple[bytes, bytes]) -> tuple[str, str]:
    name, octets = pair[0].decode(), pair[1].partition(b":")[2].decode()
    value = re.sub(r"\s+", " ", octets).strip()
    return name, "(any)" if name.removeprefix("resent-") in ("message-id", "content-id") else value


async def _listen(factory: HostileFactory, reactor: Any) -> Any:
    return await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)


async def tcllib(reactor: Any, case: Case, servers: Sequence[str], ports: Sequence[int]) -> str:
    """What Tcllib's sender says about the message."""
    headers = " ".join(f"-header {{{name} {{{value}}}}}" for name, value in case.headers)
    script = TCL % (case.body.encode().hex(), " ".join(servers), " ".join(map(str, ports)), headers, case.tcl)
    running: Deferred[Any] = getProcessOutputAndValue(
        "/bin/sh", ["-c", 'printf %s "$1" | tclsh', "sh", script], env=dict(os.environ), reactor=reactor
    )
    out, errors, _ = await running
    return f"{out.decode().strip()}{errors.decode().strip()}"


async def ours(reactor: Any, case: Case, servers: Sequence[str], ports: Sequence[int]) -> str:
    """What ours says."""
    message = HEAD + case.body
    try:
        result = await sendmessage(
            reactor, message, servers=servers, ports=ports, client_name="us.example", headers=case.headers, **case.ours
        )
    except SendFailure as failure:
        return "1 " + (" ".join(f"{{{each.address} {each.code} ...}}" for each in failure.refused) or failure.line)
    return "0 " + " ".join(f"{{{each.address} {each.code} {{{each.text[4:]}}}}}" for each in result.refused)


def differences(theirs: Seen, mine: Seen) -> list[tuple[str, str]]:
    """(key, text) of each."""
    found = []
    if theirs.result.strip()[:1] != mine.result.strip()[:1]:
        found.append(("result", f"{theirs.result!r} / {mine.result!r}"))
    if [message[:2] for message in theirs.messages] != [message[:2] for message in mine.messages]:
        found.append(("envelope", f"{[m[:2] for m in theirs.messages]} / {[m[:2] for m in mine.messages]}"))
    for left, right in zip(theirs.messages, mine.messages, strict=False):
        names = sorted({name for name, _ in (*left[2], *right[2])})
        for name in names:
            values = [sorted(value for found_name, value in side[2] if found_name == name) for side in (left, right)]
            if name.removeprefix("resent-") == "date" and all(values) and (name, values[1][0]) != ("date", DATE[1]):
                continue  # both have one, of the moment
            if values[0] != values[1]:
                found.append((f"header {name}", f"{values[0]} / {values[1]}"))
        if left[3] != right[3]:
            found.append(("content", f"{left[3][:60]!r} / {right[3][:60]!r}"))
    return found


async def both_ways(reactor: Any, case: Case) -> list[Seen]:
    """Tcllib's record and ours."""
    found = []
    for send in (tcllib, ours):
        server = HostileFactory(reactor, {"EHLO": (ehlo("SIZE 1000000"),), **case.script})
        port = await _listen(server, reactor)
        servers, ports = ["127.0.0.1"], [port.getHost().port]
        if case.dead_first:
            dead = await _listen(HostileFactory(reactor), reactor)
            servers, ports = ["127.0.0.1", *servers], [dead.getHost().port, *ports]
            await dead.stopListening()
        found.append(seen(await send(reactor, case, servers, ports), server))
        await port.stopListening()
    return found


async def main(reactor: Any) -> None:
    """Send everything twice and print."""
    unexplained = 0
    for case in CASES:
        both = await both_ways(reactor, case)
        print(f"\n{case.name}")
        for name, side in zip(("tcllib", "ours"), both, strict=True):
            print(f"  {name:7} result {side.result}")
            for sender, recipients, header, _ in side.messages:
                print(f"          <{sender}> -> {', '.join(recipients)}   {' '.join(each for each, _ in header)}")
        for key, text in differences(*both):
            reason = {**EVERYWHERE, **case.reasons}.get(key)
            unexplained += reason is None
            print(f"  differs {key}: {text}\n          {reason or 'NO REASON KNOWN'}")
    print(f"\n{len(CASES)} messages, {unexplained} differences without a reason")
    if unexplained:
        raise SystemExit(1)


if __name__ == "__main__":
    if "--options" in sys.argv:
        print(__doc__)
    else:
        react(lambda reactor: Deferred.fromCoroutine(main(reactor)))
