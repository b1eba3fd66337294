"""USDS messages, read from both generations and written in the newer one."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce import strictjson, usds
from mailbridge.oce.usds import USDS, Adjunct, Dest, Object, Source, USDSError, read, write

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)
UNKNOWN = st.dictionaries(st.sampled_from(("X-New", "later", "Cipher")), TEXT | st.integers(-9, 9), max_size=2)
KEYED = st.dictionaries(TEXT, st.lists(TEXT, max_size=2), min_size=1, max_size=2) | TEXT
MESSAGES = st.builds(
    USDS,
    msg_type=TEXT.filter(bool),
    source=st.builds(Source, TEXT, TEXT, TEXT, TEXT, TEXT, UNKNOWN),
    dest=st.none() | st.builds(Dest, KEYED, KEYED, TEXT, TEXT, UNKNOWN),
    summary=TEXT,
    detail=TEXT,
    objects=st.lists(st.builds(Object, TEXT.filter(bool), st.binary(max_size=40), TEXT, TEXT, UNKNOWN),
                     max_size=3).map(tuple),
    adjunct=st.none() | st.builds(Adjunct, TEXT, TEXT, TEXT, UNKNOWN),
    msg_key=TEXT,
    visibility=TEXT.filter(bool),
    extra=UNKNOWN,
)
BARE = {"msgType": "qMsg", "Source": {"Member": "bonnie"}}
LONG = "x" * 20_000_000


def changed(**fields: object) -> dict[str, object]:
    """The smallest message with other fields."""
    return {**BARE, **fields}


FAULTS = (
    ([], "the message: must be an object, got an array"),
    ({"msgType": "qMsg"}, "Source: is missing"),
    (changed(Source=7), "Source: must be an object, got 7"),
    (changed(Source={"Member": ["x"]}), "Source.Member: must be text, got an array"),
    (changed(Source={"Member": "x" * 129}), "Source.Member: 129 characters, at most 128"),
    (changed(Summary="x" * 165), "Summary: 165 characters, at most 164"),
    (changed(Summary=1.5), "Summary: must be text, got 1.5"),
    (changed(Detail="\u2603" * 200_000), "Detail: 600000 octets, at most 524288"),
    (changed(Object={}), "Object: must be an array, got an object"),
    (changed(Object=[{"Type": "png", "Data": ""}, 7]), "Object[1]: must be an object, got 7"),
    (changed(Object=[{"Data": ""}]), "Object[0].Type: is missing"),
    (changed(Object=[{"Type": "a"}]), "Object[0].Data: is missing"),
    (changed(Object=[{"Type": "a", "Data": 7}]), "Object[0].Data: must be text, got 7"),
    (changed(Object=[{"Type": "a", "Data": "A"}] * 1001), "Object: 1001 of them, at most 1000"),
    (changed(Object=[{"Type": "a", "Encoding": "hex", "Data": "AA"}]), "Object[0].Encoding: 'hex' is not known; "
                                                                       "base64 is"),
    (changed(Object=[{"Type": "a", "Data": LONG}]), "Object[0].Data: 20000000 characters, at most 10485760"),
    (changed(Func=7, Visibility="1", Private="2"), "Visibility: differs from Private"),
    ({**changed(Detail="a"), "Detail ": "b"}, "Detail: comes twice"),
    ({"Func": "fauRegApp", "Source": {}}, "Func: 'fauRegApp' is no data message, and there is no msgType"),
    (changed(Adjunct=[1]), "Adjunct: must be an object, got an array"),
    (changed(Dest="x"), "Dest: must be an object, got 'x'"),
)
NOT_BASE64 = ("A", "AA=A", "AAA", "A\u2603==", "AA==AA==", "!", "AAAA=", "=AAA", "AA= =A")


class ReadTests(SynchronousTestCase):
    """`read`."""

    def test_faults(self) -> None:
        """Each fault names its path."""
        for value, words in FAULTS:
            self.assertEqual(str(self.assertRaises(USDSError, read, value)), words)

    def test_not_base64(self) -> None:
        """What is no base64 is not guessed at."""
        for data in NOT_BASE64:
            value = changed(Object=[{"Type": "a", "Data": "AAAA"}] * 2 + [{"Type": "a", "Data": data}])
            self.assertEqual(str(self.assertRaises(USDSError, read, value)), "Object[2].Data: not base64", data)

    def test_base64_in_lines(self) -> None:
        """Base64 may come in lines."""
        value = changed(Object=[{"Type": "a", "Data": "aGVs\r\nbG8=\n"}])
        self.assertEqual(read(value).objects[0].octets, b"hello")

    def test_old_form(self) -> None:
        """The older generation of the wiki is read (reference 6.7), numbers as text."""
        key = "41B13D17D51E24A95B13D17D51E24A95B13D17D51E24A95B13D17D51E24A95B1"
        message = read({
            "Func": "qMsg", "Private": 2, "Source": {"Key": key, "Coterie": "1", "Member": "someone@example.org"},
            "Dest": {"Member": 1, "Coterie": 1, "Key": "41246b66383323172736b726d"},
            "Detail ": "A longer text", "Adjunct": "free application data",
            "Object": [{"Type": "png", "Encoding": "base64", "Data": "iVBORw0KGgo="}],
        })
        self.assertEqual((message.msg_type, message.visibility, message.source.app_key), ("qMsg", "2", key))
        assert message.dest is not None and message.adjunct is not None
        self.assertEqual((message.dest.member, message.dest.coteries, message.dest.oces),
                         ("1", ("1",), ("41246b66383323172736b726d",)))
        self.assertEqual((message.detail, message.adjunct.data), ("A longer text", "free application data"))
        self.assertEqual(message.objects, (Object("png", b"\x89PNG\r\n\x1a\n"),))

    def test_forms_of_dest(self) -> None:
        """One key, keys with commas, and an object of keys are all read (reference 3.3)."""
        for form, keys in (("AB", ("AB",)), ("AB, CD,,", ("AB", "CD")), ({"AB": {"Member": "x"}, "CD": []},
                                                                        ("AB", "CD")), ("", ())):
            message = read(changed(Dest={"OCE": form, "Coterie": form}))
            assert message.dest is not None
            self.assertEqual((message.dest.oces, message.dest.coteries), (keys, keys))

    def test_secrets_are_not_shown(self) -> None:
        """An application key is in no repr, nor is what a call carries."""
        message = read({**BARE, "Source": {"AppKey": "hush"}, "Adjunct": {"Data": "hush"}})
        self.assertNotIn("hush", repr(message))

    def test_empty(self) -> None:
        """A message without cargo is seen as such."""
        self.assertTrue(read(BARE).empty)
        self.assertFalse(read(changed(Adjunct="x")).empty)

    @settings(max_examples=300, deadline=None)
    @given(MESSAGES)
    def test_round_trip(self, message: USDS) -> None:
        """What is written is read, and written the same again."""
        octets = strictjson.write(write(message))
        again = read(strictjson.read(octets))
        self.assertEqual(strictjson.write(write(again)), octets)
        self.assertEqual((again.summary, again.detail, again.objects, again.source, again.msg_key),
                         (message.summary, message.detail, message.objects, message.source, message.msg_key))

    @settings(max_examples=300, deadline=None)
    @given(MESSAGES, st.data())
    def test_mutated(self, message: USDS, data: st.DataObject) -> None:
        """A text with a few octets changed gives a message or a typed error, nothing else."""
        octets = bytearray(strictjson.write(write(message)))
        for _ in range(data.draw(st.integers(1, 4))):
            octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
        with contextlib.suppress(strictjson.BadJSON, USDSError):
            usds.read(strictjson.read(bytes(octets)))


class IntegerTests(SynchronousTestCase):
    """`integer`."""

    def test_taken(self) -> None:
        """Whole numbers are taken, also as text."""
        for value, number in ((7, 7), ("7", 7), ("-101", -101), (0, 0)):
            self.assertEqual(usds.integer(value, "MsgNum"), number)

    def test_refused(self) -> None:
        """Nothing else is: no signs of other scripts, no blanks, no underscores, no booleans."""
        for value in ("", "+7", "1_0", "\u0667", " 7", "7.0", 7.0, True, None, [7], "9" * 30):
            error = self.assertRaises(USDSError, usds.integer, value, "MsgNum")
            self.assertTrue(str(error).startswith("MsgNum: must be a whole number"))
