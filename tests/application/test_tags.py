"""@commands at the start of a text."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.keys import Key, RecipeFaults
from mailbridge.application.tags import SMS_TAGS, TagData, TagTable, Taken

SMS = TagTable.make(SMS_TAGS)
SITE: TagData = {
    "priority": {"key": "system|priority", "values": ["low", "Normal", "high"]},
    "time": {"key": "system|time", "pattern": r"[0-2]\d:[0-5]\d"},
    "Urgent": {"key": "system|priority", "bare": "high"},
}


def take(text: str, table: TagTable = SMS, **limits: str) -> Taken:
    """What is read of a text; `limits` are of `[system]`."""
    return table.take(text, {Key("system", name): value for name, value in limits.items()})


def values(text: str, table: TagTable = SMS, **limits: str) -> dict[str, str]:
    """What is written for the commands of a text."""
    return {str(key): value for key, value in take(text, table, **limits).values}


class SMSTests(SynchronousTestCase):
    """The shipped table."""

    def test_each_command(self) -> None:
        """Every command of the manual, with each of its values, writes its key; without one nothing is written."""
        for lines, wanted in (
            ("@dr=1", {"system|dr": "1"}), ("@report", {"system|dr": "1"}), ("@dr=0", {"system|dr": "0"}), ("", {}),
            ("@action=0", {"system|action": "0"}), ("@action=1", {"system|action": "1"}),
            ("@action=2\n@maxlen=3", {"system|action": "2", "system|maxlen": "3"}),
            ("@maxlen=1", {"system|maxlen": "1"}), ("@maxlen=999", {"system|maxlen": "999"}),
            ("@DR=1\n@MaxLen=2", {"system|dr": "1", "system|maxlen": "2"}), (" @dr= 1 \t", {"system|dr": "1"}),
            ("\n\n@dr=1", {"system|dr": "1"}), ("@dr=1\n@dr=0", {"system|dr": "0"}),
        ):
            taken = take(f"{lines}\n\nText\n\nmore")
            self.assertEqual({str(key): value for key, value in taken.values}, wanted, lines)
            self.assertEqual(taken.text.strip(), "Text\n\nmore")
            self.assertEqual(taken.faults, ())

    def test_bad_values(self) -> None:
        """What a command does not allow is a fault that names it; the line is no text all the same."""
        for lines in ("@dr=2", "@dr", "@dr=", "@report=1", "@report=", "@action=3", "@action", "@maxlen=0", "@maxlen=x",
                      "@maxlen=", "@maxlen", "@maxlen=1000", "@maxlen=-1", "@maxlen=1.5", "@maxlen=١", "@maxlen=1_0",
                      "@maxlen=+1", "@action=2"):
            taken = take(f"{lines}\n\nText")
            self.assertEqual((taken.values, taken.text), ((), "Text"), lines)
            self.assertEqual(len(taken.faults), 1, lines)
            self.assertIn(lines.split("=")[0], taken.faults[0])
        self.assertEqual(take("@dr= 7 \n@dr\n").faults, ("@dr=7 is not possible", "@dr is not possible"))

    def test_action_2_needs_its_limit(self) -> None:
        """@action=2 counts only with a good @maxlen on the very next line."""
        for lines, wanted in (
            ("@action=2\n@maxlen=3", {"system|action": "2", "system|maxlen": "3"}),
            ("@maxlen=3\n@action=2", {"system|maxlen": "3"}),
            ("@action=2\n@dr=1\n@maxlen=3", {"system|dr": "1", "system|maxlen": "3"}),
            ("@action=2\n@maxlen=x", {}),
            ("@action=2\n\n@maxlen=3", {}),
        ):
            self.assertEqual(values(lines + "\n\nText"), wanted, lines)
        self.assertIn("@action=2 needs @maxlen=#", take("@action=2\nText").faults[0])

    def test_never_above_the_limit(self) -> None:
        """@maxlen is lowered to the administrator's limit and may be below it."""
        self.assertEqual(values("@maxlen=5", maxlen="3"), {"system|maxlen": "3"})
        self.assertEqual(values("@maxlen=2", maxlen="3"), {"system|maxlen": "2"})
        self.assertEqual(values("@maxlen=10", maxlen="9"), {"system|maxlen": "9"})
        self.assertEqual(values("@maxlen=5", maxlen="many"), {"system|maxlen": "5"})
        self.assertEqual(values("@action=2\n@maxlen=5", maxlen="1"), {"system|action": "2", "system|maxlen": "1"})


class TextTests(SynchronousTestCase):
    """What is text, and what is left of it."""

    def test_text_stays(self) -> None:
        """A text without commands at its start is not touched, whatever looks like one later."""
        for text in ("", "Text", "@John, see you", "@john", "@john=1\n@dr=1", "Text\n@dr=1", "\n\n Text", "@ dr=1",
                     "@@dr", "dr=1", "@dr:1", "#dr=1", "@1=1", "e@dr=1", "@dr-1", "@žluť=1"):
            self.assertEqual(take(text), Taken(text))

    def test_one_blank_line_goes(self) -> None:
        """The blank line after the commands goes with them, a second one is text; without one nothing is lost."""
        for text, rest in (("@dr=1\n\nText", "Text"), ("@dr=1\n\n\nText", "\nText"), ("@dr=1\nText", "Text"),
                           ("@dr=1\n \t\nText", "Text"), ("@dr=1", ""), ("@dr=1\n", ""), ("@dr=1\n\n", ""),
                           ("@dr=1\n\n@dr=0", "@dr=0"), ("@dr=1\n@John", "@John")):
            self.assertEqual(take(text).text, rest, repr(text))

    def test_bounded(self) -> None:
        """A text of nothing but commands is read to its hundredth."""
        taken = take("@dr=1\n" * 20_000)
        self.assertEqual(len(taken.values), 100)
        self.assertEqual(len(taken.text), 6 * 19_900)

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.sampled_from(["@dr=1", "@action=2", "@maxlen=3", "@report", "@x", "=", "\n", "Text", " ",
                                     "@", "é"]), max_size=12))
    def test_only_what_is_allowed(self, words: list[str]) -> None:
        """Whatever stands there: values are those of the table, and the text is an end of what came."""
        text = "".join(words)
        taken = take(text)
        self.assertTrue(text.endswith(taken.text))
        for key, value in taken.values:
            self.assertIn((str(key), value), [("system|dr", "1"), ("system|action", "2"), ("system|maxlen", "3")])


class TableTests(SynchronousTestCase):
    """Tables of a site."""

    def test_site(self) -> None:
        """A site's commands have their own keys, values and patterns; the shipped ones are text then."""
        table = TagTable.make(SITE)
        self.assertEqual(values("@priority=HIGH\n@time=08:30\n\nx", table),
                         {"system|priority": "high", "system|time": "08:30"})
        self.assertEqual(values("@urgent\nx", table), {"system|priority": "high"})
        self.assertEqual(values("@priority=normal\nx", table), {"system|priority": "Normal"})
        self.assertEqual(values("@dr=1\nx", table), {})
        self.assertEqual(len(take("@time=8\n@priority=urgent\n@urgent=1", table).faults), 3)

    def test_faults(self) -> None:
        """Every bad command of a table is found, with what to write."""
        bad: dict[str, dict[str, object]] = {
            "a b": {"key": "s|k", "bare": "1"}, "1a": {"key": "s|k", "bare": "1"}, "none": {}, "nokey": {"bare": "1"},
            "nothing": {"key": "s|k"}, "key": {"key": "system", "bare": "1"}, "keytype": {"key": 1, "bare": "1"},
            "option": {"key": "s|k", "bare": "1", "valeus": []}, "values": {"key": "s|k", "values": "01"},
            "numbers": {"key": "s|k", "values": [0, 1]}, "pattern": {"key": "s|k", "pattern": "("},
            "back": {"key": "s|k", "pattern": r"(.)\1"}, "most": {"key": "s|k", "pattern": ".", "at_most": "yes"},
            "next": {"key": "s|k", "values": ["1"], "followed_by": {"1": "nobody"}},
            "other": {"key": "s|k", "values": ["1"], "followed_by": {"2": "none"}},
            "list": {"key": "s|k", "values": ["1"], "followed_by": ["1"]},
        }
        error = self.assertRaises(RecipeFaults, TagTable.make, bad)
        self.assertEqual([fault.place for fault in error.faults], list(bad))
