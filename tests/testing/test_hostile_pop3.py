"""Hostile POP3 servers against the client: nothing hangs, grows, tells a secret, or deletes what was not collected."""

from __future__ import annotations

import tracemalloc
from base64 import b64encode

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.pop3.answer import LONGEST_LINE
from mailbridge.pop3.failure import Kind, UpstreamError
from mailbridge.pop3.upstream import UpstreamLogin
from mailbridge.testing.hostile_pop3 import MESSAGES, MODES
from tests.testing.collecting import PASSWORD, Collection

TOKEN = "ya29.A0ARrdaM-token-that-nobody-may-see"
MIB = 1024 * 1024
LONGEST = 620.0
"""Seconds after which every mode must have come to an end: the limit of a list, and some spare."""

KINDS = {
    Kind.TIME: {
        "silence", "drip in the greeting", "silence at CAPA", "CAPA without an end", "STLS unanswered",
        "STLS hanging in the handshake", "silence at USER", "silence at PASS", "silence at AUTH", "silence in a login",
        "silence at STAT", "silence at LIST", "LIST without an end",
        "drip in LIST", "silence at UIDL", "silence at RETR", "no final dot", "an answer left out", "an end left out",
        "silence inside RETR", "drip in RETR", "silence at DELE", "silence at QUIT",
    },
    Kind.LOST: {
        "closed at once", "LIST cut", "cut inside RETR", "cut before the final dot", "closed without a word after RETR",
        "closed at DELE", "closed at QUIT",
    },
    Kind.PROTOCOL: {
        "endless greeting", "no POP3", "answers before commands", "flood of unasked answers", "endless CAPA",
        "endless CAPA line", "garbage at STLS", "plaintext injected after STLS", "part of an answer after STLS",
        "garbage at PASS", "AUTH that never ends", "AUTH that is repeated as a challenge",
        "AUTH that is repeated as nonsense", "huge numbers at STAT", "nonsense at STAT", "endless LIST",
        "endless LIST line", "endless UIDL", "garbage at RETR", "flood after RETR",
    },
    Kind.REFUSED: {
        "-ERR at the greeting", "control characters", "-ERR at STAT", "-ERR at LIST", "-ERR at UIDL", "-ERR at QUIT",
    },
    Kind.LOGIN: {
        "-ERR at USER", "-ERR at PASS", "IN-USE at PASS", "password repeated at PASS", "AUTH refused",
        "AUTH that is repeated aloud",
    },
    Kind.TLS: {"STLS missing", "STLS refused"},
    Kind.LARGE: {"endless line", "endless header", "endless message"},
}
EXPECTED = {mode: kind for kind, modes in KINDS.items() for mode in modes}
"""What ends the collection; a mode that is not named does no harm."""
SPARED = {"-ERR at RETR": ["uid-1", "uid-3"]}
"""What is deleted where not everything is."""

LOGINS = [mode for mode in MODES if not mode.startswith(("endless LIST", "endless UIDL"))]
"""Where a secret could be repeated; the endless lists take a second each and have their turn in other tests."""


def collect(mode: str, **more: object) -> Collection:
    """A collection, as long as it may take."""
    collection = Collection(MODES[mode], "require" if "STLS" in mode else "off", **more)
    collection.wait(LONGEST)
    return collection


class EveryModeTests(SynchronousTestCase):
    """Each mode."""

    def test_every_mode_ends_as_it_should(self) -> None:
        """In time, with one typed outcome, nothing left behind, and deletions only when all was well."""
        for mode in MODES:
            with self.subTest(mode):
                collection = collect(mode, messages=1000)
                outcome = collection.outcome
                kind = outcome.kind if isinstance(outcome, UpstreamError) else outcome
                self.assertEqual(kind, EXPECTED.get(mode), f"{mode}: {outcome}")
                everything = [uid for uid, _ in MESSAGES]
                deleted = SPARED.get(mode, everything) if outcome is None else []
                self.assertEqual(collection.server.deleted, deleted, mode)
                collection.network.advance(0)
                self.assertEqual(collection.left, [], f"{mode}: a delayed call is left")
                self.assertFalse(any(end.connected for end, _ in collection.network.ends), f"{mode}: still connected")

    def test_every_mode_is_known(self) -> None:
        """The table above names modes that there are."""
        self.assertEqual(set(EXPECTED) - set(MODES), set())

    def test_memory(self) -> None:
        """No mode takes 8 MiB. (What the longest lists take is measured in tests.pop3.test_scan.)"""
        for mode in MODES:
            with self.subTest(mode):
                tracemalloc.start()
                collection = Collection(MODES[mode], "require" if "STLS" in mode else "off", messages=5000)
                most = 0
                for _ in range(300):
                    if collection.outcomes:
                        break
                    collection.network.advance(1.0)
                    if collection.network.ends:
                        most = max(most, collection.client.buffered)
                peak = tracemalloc.get_traced_memory()[1]
                tracemalloc.stop()
                self.assertLess(peak, 8 * MIB, mode)
                self.assertLessEqual(most, LONGEST_LINE + 64 * 1024, mode)

    def test_no_secret_in_any_text(self) -> None:
        """Neither password nor token, in no form, whatever the server does with it."""
        plain = b64encode(f"\0bonnie\0{PASSWORD}".encode()).decode()
        encoded = [b64encode(each.encode()).decode() for each in (PASSWORD, TOKEN)]
        forms = [PASSWORD, TOKEN, plain, plain[8:24], *encoded]
        for login in (UpstreamLogin("bonnie", PASSWORD, in_clear=True), UpstreamLogin("b", token=TOKEN, in_clear=True),
                      UpstreamLogin("bonnie", PASSWORD, auth="user", in_clear=True)):
            self.assertNotIn(PASSWORD, repr(login))
            self.assertNotIn(TOKEN, repr(login))
            for mode in LOGINS:
                with self.subTest(mode):
                    texts = collect(mode, login=login, messages=100).texts()
                    for form in forms:
                        self.assertNotIn(form, texts, mode)

    def test_no_control_character_in_any_text(self) -> None:
        """What a server says moves no cursor."""
        for mode in LOGINS:
            with self.subTest(mode):
                collection = collect(mode, messages=100)
                for text in (str(collection.outcome), *collection.lines, *map(str, collection.refused.values())):
                    self.assertTrue(text.isprintable(), f"{mode}: {text!r}")

    def test_cancelled_at_any_moment(self) -> None:
        """Cancelled at any turn: one outcome, the connection is closed at once and no delayed call is left."""
        for mode in ("silence", "AUTH that never ends", "STLS unanswered", "STLS hanging in the handshake",
                     "drip in LIST", "endless message", "silence at RETR", "silence at QUIT"):
            for turns in range(12):
                with self.subTest(mode=mode, turns=turns):
                    collection = Collection(MODES[mode], "require" if "STLS" in mode else "off")
                    for _ in range(turns):
                        collection.network.advance(0.0005)
                    over = bool(collection.outcomes)
                    collection.deferred.cancel()
                    if not over:
                        self.assertIsInstance(collection.outcome, CancelledError)
                    collection.network.advance(0)
                    self.assertEqual(collection.left, [])
                    self.assertFalse(any(end.connected for end, _ in collection.network.ends))


class ParticularTests(SynchronousTestCase):
    """What is said about some of the modes."""

    def test_a_good_server(self) -> None:
        """Everything is collected octet for octet, pipelined, and deleted."""
        collection = Collection({})
        collection.wait(1)
        self.assertIsNone(collection.outcome)
        self.assertEqual(collection.got, {number: text for number, (_, text) in enumerate(MESSAGES, 1)})
        self.assertEqual(collection.uids, {1: "uid-1", 2: "uid-2", 3: "uid-3"})
        self.assertEqual(collection.sizes, {number: len(text) for number, (_, text) in enumerate(MESSAGES, 1)})

    def test_one_bad_line_hides_no_other_mail(self) -> None:
        """Lists with bad lines lose those lines only."""
        sizes = {
            "LIST with huge numbers": {1: 23, 3: 9012}, "LIST with repeats": {1: 23, 2: 33, 3: 9012},
            "LIST with number 0 and below": {1: 23, 2: 33, 3: 9012},
            "LIST with malformed lines": {1: 23, 2: 33, 3: 9012},
            "LIST with wrong sizes": {1: 1, 2: 999999999999}, "LIST with fewer than there are": {2: 33},
        }
        for mode, found in sizes.items():
            self.assertEqual(collect(mode).sizes, found, mode)
        uids = {
            "a million-octet UID": {1: "uid-1", 3: "uid-3"}, "UIDs with control characters": {3: "uid-3"},
            "UIDL with huge numbers": {1: "uid-1", 2: "uid-2", 3: "uid-3"}, "UIDL without UIDs": {3: "uid-3"},
            "UIDL with number 0 and below": {1: "uid-1", 2: "uid-2", 3: "uid-3"},
            "UIDs like paths": {1: "../../../etc/passwd", 2: "/dev/null", 3: "C:\\uid;rm"}, "UIDL with repeats": {},
        }
        for mode, known in uids.items():
            self.assertEqual(collect(mode).uids, known, mode)

    def test_strange_messages(self) -> None:
        """Only CR LF dot CR LF ends a message; lone CR and LF become CR LF; NULs stay."""
        texts = {
            "a message of no lines": b"", "lone dots": b".\r\n" * 5, "NULs": b"Subject: \0\0\r\n\r\n\0\r\n",
            "bare CR and LF": b"Subject: bare\r\n\r\nLF\r\nCR\r\nCR LF\r\n",
            "false ends": b"one\r\n.\r\ntwo\r\n.\r\nthree\r\n\r\nfour\r\n.\r\nfive\r\n",
        }
        for mode, text in texts.items():
            collection = collect(mode)
            self.assertEqual(collection.got[2], text, mode)
            self.assertEqual(collection.got[3], MESSAGES[2][1], mode)

    def test_single_refusals(self) -> None:
        """-ERR for one message leaves the others alone."""
        self.assertEqual(list(collect("-ERR at RETR").refused), ["RETR 2"])
        self.assertEqual(list(collect("-ERR at DELE").refused), ["DELE 2"])

    def test_response_codes(self) -> None:
        """A maildrop in use, a wrong password and a server in trouble can be told apart."""
        for mode, code in (("IN-USE at PASS", "IN-USE"), ("-ERR at PASS", "AUTH"), ("-ERR at QUIT", "SYS/PERM"),
                           ("-ERR at the greeting", "SYS/TEMP"), ("-ERR at USER", "")):
            outcome = collect(mode).outcome
            assert isinstance(outcome, UpstreamError)
            self.assertEqual(outcome.code, code, mode)

    def test_password_is_not_said_without_tls(self) -> None:
        """Where TLS is required and cannot be had, neither name nor password is said."""
        for mode in MODES:
            if "STLS" in mode:
                said = b" ".join(collect(mode).server.commands)
                self.assertFalse(any(word in said for word in (b"USER", b"PASS", b"AUTH", b"APOP")), mode)

    def test_injected_answers(self) -> None:
        """The handshake does not even begin where octets in clear wait behind the answer to STLS."""
        for mode in ("plaintext injected after STLS", "part of an answer after STLS"):
            collection = collect(mode)
            self.assertIn("in clear", str(collection.outcome))
            self.assertFalse(collection.network.ends[0][0].secured)

    def test_wrong_password_is_shown_once(self) -> None:
        """A refused login is no reason to show the password in another way: guessing locks accounts."""
        said = [line for line in collect("AUTH refused").server.commands if line[:4] in (b"AUTH", b"USER")]
        self.assertEqual(said, [b"AUTH PLAIN"])

    def test_apop_bait(self) -> None:
        """APOP is never said by itself, and with bait not even when it is asked for."""
        self.assertFalse([line for line in collect("APOP bait").server.commands if line.startswith(b"APOP")])
        baited = collect("APOP bait", login=UpstreamLogin("bonnie", PASSWORD, auth="apop"))
        self.assertIn("time stamp", str(baited.outcome))
        self.assertEqual(baited.server.commands, [b"CAPA"])
