"""Calls inside messages, and answers in both spellings."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce import strictjson, usds
from mailbridge.oce.calls import Answer, call, items, read_answer, read_call, write_answer
from mailbridge.oce.usds import USDS, Adjunct, Source, USDSError

ARGUMENTS = st.dictionaries(st.text(st.characters(exclude_categories=("Cs", "Zs", "Cc")), min_size=1).filter(
    lambda name: name not in ("Func",) and name == name.strip()), st.text(st.characters(exclude_categories=("Cs",))))


class CallTests(SynchronousTestCase):
    """`call` and `read_call`."""

    def test_example(self) -> None:
        """The pull of the configuration is written as in the reference (6.2)."""
        message = call("osaAppPullCfg", {}, Source("Bonnie", "1", "SMTP:mailbridge", "41T3007T8+-OI?!"))
        self.assertEqual(usds.write(message), {
            "msgType": "oceOp", "Visibility": "2",
            "Source": {"Member": "Bonnie", "Coterie": "1", "AppId": "SMTP:mailbridge", "AppKey": "41T3007T8+-OI?!"},
            "Adjunct": {"Type": "oce/func", "Desc": "osaAppPullCfg call", "Data": '{"Func":"osaAppPullCfg"}'},
        })

    @settings(max_examples=200, deadline=None)
    @given(ARGUMENTS)
    def test_round_trip(self, arguments: dict[str, str]) -> None:
        """Arguments survive the double encoding: quotes, line ends, other letters."""
        octets = strictjson.write(usds.write(call("f", arguments, Source("x"))))
        found = read_call(usds.read(strictjson.read(octets)))
        self.assertEqual((found.func, found.arguments), ("f", arguments))

    def test_faults(self) -> None:
        """A call that cannot be read says where it breaks."""
        for adjunct, words in (
            (None, "Adjunct: is missing"), (Adjunct("{}"), "Adjunct.Data.Func: is missing"),
            (Adjunct("{"), "Adjunct.Data: no JSON"), (Adjunct("[]"), "Adjunct.Data: must be an object"),
            (Adjunct('{"Func": 7}'), "Adjunct.Data.Func"), (Adjunct("{}", "oce/data"), "Adjunct.Type: must be"),
        ):
            error = self.assertRaises(USDSError, read_call, USDS(adjunct=adjunct))
            self.assertTrue(str(error).startswith(words), error)

    def test_no_password_shown(self) -> None:
        """What a call carries is in no repr."""
        message = call("osaAppReg", {"UserPass": "hush"}, Source("x"))
        self.assertNotIn("hush", repr(message) + repr(read_call(message)))


class AnswerTests(SynchronousTestCase):
    """`read_answer`, `write_answer`, `items`."""

    def test_spellings(self) -> None:
        """Both spellings are read and written (reference 6.2)."""
        mesg = [{"Field": "Catalog", "Value": "Spring"}]
        wiki = {"respCount": 1, "MsgNum": "7", "MsgId": "REQPROC", "Mesg": mesg}
        standard = {"RespCount": 1, "MsgNum": 7, "MsgId": "REQPROC", "Mesg": mesg}
        for values in (wiki, standard):
            answer = read_answer(values)
            self.assertEqual((answer.num, answer.id, answer.count, items(answer)), (7, "REQPROC", 1, mesg))
            self.assertEqual((write_answer(answer, True), write_answer(answer)), (wiki, standard))

    def test_words(self) -> None:
        """What an OCE says is shown on one line, after what the code means."""
        answer = read_answer({"MsgNum": -3, "MsgId": "INVMBR\r\n", "Mesg": "Invalid\r\nMember"})
        self.assertEqual(str(answer), "-3 INVMBR: there is no such member (Invalid  Member)")
        self.assertEqual(write_answer(Answer(-3))["Mesg"], "there is no such member")
        self.assertFalse(answer.succeeded)

    def test_faults(self) -> None:
        """What is no answer is a typed error."""
        for value in ([], None, "x", {}, {"MsgNum": "seven"}, {"MsgNum": None}, {"MsgNum": 7, "MsgId": 7},
                      {"MsgNum": 7, "RespCount": "many"}, {"MsgNum": True}, {"MsgNum": 7.0}):
            self.assertRaises(USDSError, read_answer, value)

    def test_items(self) -> None:
        """Items are objects, or there are none."""
        for mesg, found in ((None, []), ("text", []), ({"a": 1}, [{"a": 1}]), ([], [])):
            self.assertEqual(items(Answer(7, mesg=mesg)), found)
        self.assertEqual(items(Answer(5, mesg=[{"a": 1}])), [])
        self.assertRaises(USDSError, items, Answer(7, mesg=[1]))
        self.assertRaises(USDSError, items, Answer(7, mesg=7))
