"""Tasks, here and in a process of their own."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import inlineCallbacks
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailbridge.message import writing
from mailbridge.oce import strictjson
from mailbridge.oce.aside import Aside, HelperLost, decoded, encoded
from mailbridge.oce.tasks import BadAnswer, Examine, Letter, Open, Opened, Result, Task, Write, octets_of, perform
from mailbridge.oce.tasks import with_octets as given_octets
from mailbridge.oce.tribes import Tribes
from mailbridge.oce.usds import Dest, Source
from mailbridge.reply import Reply
from tests.oce.oce_world import answer, usds

TRIBES = Tribes("AAAA", {"friends": "BBBB"})
LETTER = Letter(Source("bonnie"), Dest(member="harold"), "A" * 64)
MAIL = writing.message([("Subject", "Hi")], writing.text_part("Text"))
BIG = writing.message([], writing.attachment(b"x" * 8_000_000, "application/pdf", "a.pdf"))
DATE = "Sat, 21 Nov 2026 10:00:00 +0000"
JSON = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
                        ("msgType", "Source", "Dest", "Member", "MsgKey", "Object", "Data", "Type", "Adjunct",
                         "Summary", "MsgNum", "Mesg")), inner, max_size=4), max_leaves=12)


def over(task: Task) -> Result:
    """The result of a task, after its way through octets."""
    _, head, *pieces = encoded(task)
    return decoded(json.loads(head), b"".join(pieces))


class TaskTests(SynchronousTestCase):
    """`perform`, and its result as octets."""

    def test_results_travel(self) -> None:
        """Every kind of result is the same after its way through octets."""
        for task in (Write(MAIL, LETTER, TRIBES), Write(BIG, LETTER, TRIBES), Examine(MAIL), Examine(BIG),
                     Open(strictjson.write(answer(7, [usds(1), usds(2, Summary=[])])), 50, DATE, TRIBES),
                     Open(strictjson.write(answer(-3, "no such member")))):
            here = perform(task)
            there = over(task)
            if isinstance(here, Opened) and not isinstance(here.answer.mesg, str):
                assert isinstance(there, Opened)
                self.assertEqual((here.found, here.answer.num), (there.found, there.answer.num))
            else:
                self.assertEqual(here, there)

    def test_bad_answer(self) -> None:
        """What is no answer is the same error there."""
        for body in (b"", b"[]", b"{", b'{"MsgNum":"x"}', b'{"MsgNum":7,"Mesg":[1]}'):
            task = Open(body, 50)
            with self.assertRaises(BadAnswer) as here:
                perform(task)
            with self.assertRaises(BadAnswer) as there:
                over(task)
            self.assertEqual(str(here.exception), str(there.exception))

    def test_octets(self) -> None:
        """The octets of a task can be taken out of it and put back."""
        for task in (Examine(b"abc"), Open(b"abc", 7), Write(b"abc", LETTER, TRIBES)):
            self.assertEqual(octets_of(task), b"abc")
            self.assertEqual(given_octets(given_octets(task, b""), b"abc"), task)

    @given(st.lists(JSON, max_size=4))
    @settings(max_examples=200, deadline=None)
    def test_any_answer(self, values: list[Any]) -> None:
        """Whatever an OCE hands out, each object of it is a mail or a report, or there is a typed error."""
        body = strictjson.write({"MsgNum": 7, "Mesg": values})
        try:
            opened = perform(Open(body, 50, DATE, TRIBES))
        except BadAnswer:
            self.assertTrue(any(not isinstance(each, dict) for each in values))
            return
        assert isinstance(opened, Opened)
        self.assertEqual(len(opened.found), len(values))
        for each in opened.found:
            self.assertTrue(each.mail.endswith(b"\r\n"))
            self.assertNotIn("a fault of mailbridge", each.fault)

    def test_notices(self) -> None:
        """A notice of failure has no sender, so that nothing answers it by itself."""
        message = usds(1, Source={"OCE": "BBBB", "Member": "MAILER-DAEMON@elsewhere.example"})
        opened = perform(Open(strictjson.write(answer(7, [message])), 50, DATE, TRIBES))
        assert isinstance(opened, Opened)
        self.assertEqual(opened.found[0].sender, "")
        self.assertIn(b"\r\nFrom: MAILER-DAEMON@elsewhere.example\r\n", opened.found[0].mail)

    def test_sender_of_another_tribe(self) -> None:
        """A tribe speaks for its own members only: `harold@oce` there is not ours."""
        for member in ("harold@oce", "harold@AAAA.oce", "harold@friends.oce", "harold"):
            message = usds(1, Source={"OCE": "BBBB", "Member": member})
            opened = perform(Open(strictjson.write(answer(7, [message])), 50, DATE, TRIBES))
            assert isinstance(opened, Opened)
            self.assertEqual(opened.found[0].sender, "harold@friends.oce")


class AsideTests(TestCase):
    """`Aside`, with a process."""

    def setUp(self) -> None:
        """One of them."""
        self.aside = Aside(reactor)
        self.addCleanup(lambda: self.aside.close())

    @inlineCallbacks
    def test_tasks(self) -> Any:
        """Tasks are done one after the other in one process, with the results they have here."""
        many = Open(strictjson.write(answer(7, [usds(n, Detail="x" * 100_000) for n in range(30)])), 50, DATE, TRIBES)
        running = [self.aside(task) for task in (Write(MAIL, LETTER, TRIBES), Examine(BIG), Open(b"["), many)]
        self.assertEqual((yield running[0]), perform(Write(MAIL, LETTER, TRIBES)))
        refused = yield running[1]
        self.assertIsInstance(refused, Reply)
        yield self.assertFailure(running[2], BadAnswer)
        opened = yield running[3]
        self.assertEqual(opened.found, perform(many).found)  # type: ignore[union-attr]

    @inlineCallbacks
    def test_lost(self) -> Any:
        """When the process dies within a task, that task fails and the next one is done by another process."""
        yield self.aside(Examine(MAIL))
        process = self.aside._process
        assert process is not None
        running = self.aside(Examine(BIG * 3))
        os.kill(process.transport.pid, signal.SIGKILL)  # type: ignore[union-attr]
        yield self.assertFailure(running, HelperLost)
        self.assertIsNone((yield self.aside(Examine(MAIL))))

    @inlineCallbacks
    def test_closed(self) -> Any:
        """When it is closed, what runs and what waits fails, and nothing is begun."""
        running = [self.aside(Examine(BIG)), self.aside(Examine(MAIL))]
        yield self.aside.close()
        for each in [*running, self.aside(Examine(MAIL))]:
            yield self.assertFailure(each, HelperLost)

    @inlineCallbacks
    def test_too_slow(self) -> Any:
        """A process that takes too long is ended."""
        self.aside = Aside(reactor, patience=0.0)
        yield self.assertFailure(self.aside(Examine(BIG)), HelperLost)

    @inlineCallbacks
    def test_given_up(self) -> Any:
        """Who gives up ends the work, and keeps nobody waiting."""
        running = self.aside(Examine(BIG))
        waiting = self.aside(Examine(MAIL))
        running.addErrback(lambda _: None)
        running.cancel()
        self.assertIsNone((yield waiting))
