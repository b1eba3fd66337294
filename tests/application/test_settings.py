"""`ctl_settings`: values that an operator adds to every control file."""

from __future__ import annotations

import time

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.items import ITEMS
from mailbridge.application.keys import Key, RecipeFaults, parse_key
from mailbridge.application.settings import CtlSettings

PARSE = "system|user_app_id|parse|subject"


def values(settings: dict[str, str | int], **items: str) -> dict[str, str]:
    """What is written for the items."""
    return {str(key): value for key, value in CtlSettings.make(settings).values(items)}


class ValueTests(SynchronousTestCase):
    """What the settings of the page write."""

    def test_fixed(self) -> None:
        """The page's five fixed settings, as text, number or truth."""
        self.assertEqual(
            values({"system|maxlen": "1", "system|dr": 0, "system|no_send_info": True, "system|nomodify": "1",
                    "system|priority": "normal"}),
            {"system|maxlen": "1", "system|dr": "0", "system|no_send_info": "1", "system|nomodify": "1",
             "system|priority": "normal"},
        )

    def test_parsed(self) -> None:
        """The page's pattern reads the number out of the subject; nothing is written when it is not there."""
        setting: dict[str, str | int] = {PARSE: r".*ID:(\d+).*"}
        self.assertEqual(values(setting, subject="Alarm ID:7781 of pump"), {"system|user_app_id": "7781"})
        self.assertEqual(values(setting, subject="Alarm id:1"), {"system|user_app_id": "1"})
        for subject in ("Alarm", "", "ID:", "ID:x"):
            self.assertEqual(values(setting, subject=subject), {})
        self.assertEqual(values(setting), {})
        self.assertEqual(values({PARSE: r"ID:(\d+)"}, subject="ID:5 and more"), {"system|user_app_id": "5"})
        self.assertEqual(values({PARSE: r"ID:(\d+)"}, subject="The ID:5"), {})
        self.assertEqual(values({PARSE: r"(?:(a)|b)"}, subject="b"), {})

    def test_any_item(self) -> None:
        """Each of the eleven items can be read, and only the one that is named is."""
        for name in ITEMS:
            items = {**dict.fromkeys(ITEMS, "no"), name: "x<7>"}
            self.assertEqual(values({f"a|b|parse|{name}": r".*<(\d)>"}, **items), {"a|b": "7"})

    def test_fixed_and_parsed(self) -> None:
        """A parsed value takes the place of a fixed one before it, which stays when nothing is found."""
        settings: dict[str, str | int] = {"system|id": "0", "SYSTEM|ID|parse|subject": r".*#(\d+)"}
        entries = CtlSettings.make(settings)
        self.assertEqual(dict(entries.values({"subject": "#7"})), {Key("system", "id"): "7"})
        self.assertEqual(dict(entries.values({"subject": ""})), {Key("system", "id"): "0"})
        self.assertEqual(entries.fixed(), {Key("system", "id"): "0"})

    def test_bounded(self) -> None:
        """A pattern sees the first 998 characters only, and no pattern takes long."""
        self.assertEqual(values({"a|b|parse|msg": "(?s).*(x)"}, msg=" " * 997 + "x"), {"a|b": "x"})
        self.assertEqual(values({"a|b|parse|msg": "(?s).*(x)"}, msg=" " * 998 + "x"), {})
        self.assertEqual(values({"a|b|parse|msg": "(.*)"}, msg="one\ntwo"), {"a|b": "one"})
        for pattern, text in (
            (r"(a+)+$", "a" * 900 + "!"), (r".*.*.*.*.*ID:(\d+)$", "a" * 400), (r"(a|aa)*b", "a" * 900),
            (r"(.*)*(.*)*(.*)*x", "a" * 900),
        ):
            entries = CtlSettings.make({PARSE: pattern})
            start = time.thread_time()
            self.assertEqual(list(entries.values({"subject": text})), [], pattern)
            self.assertLess(time.thread_time() - start, 0.1, pattern)


class FaultTests(SynchronousTestCase):
    """What is refused at load."""

    def test_each_is_named(self) -> None:
        """All bad settings are found at once, each with its name and the remedy."""
        bad: dict[str, str | int] = {
            "maxlen": "1", "system|": "1", "|x": "1", "a|b|c": "1", "a|b|parse": "x", "a|b|split|subject": "(x)",
            "a|b|parse|Subject": "(x)", "a|b|parse|subject|x": "(x)", "a|b|parse|subject ": "(x)",
            "system|a b": "1", "sys tem|a": "1", "a|b=c": "1", "a]|b": "1", "a|b\r\n[to]": "1", "é|a": "1",
            "a" * 65 + "|b": "1", PARSE: "no group", "a|p|parse|subject": "(x", "a|q|parse|msg": r"(x)\1",
            "a|v": "x\r\n[to]", "a|w": "x\0", "a|long": "x" * 256,
        }
        error = self.assertRaises(RecipeFaults, CtlSettings.make, bad)
        self.assertEqual([fault.place for fault in error.faults], [f'ctl_settings."{name}"' for name in bad])
        for name, words in (("maxlen", "section|key"), ("a|b|parse|Subject", "there are address, app"),
                            (PARSE, "has no group"), ("a|p|parse|subject", "character"), ("a|long", "255")):
            problem = next(fault.problem for fault in error.faults if f'"{name}"' in fault.place)
            self.assertIn(words, problem)

    def test_keys(self) -> None:
        """Keys are one when they differ in case only, as their readers think."""
        self.assertEqual(parse_key("System|MaxLen"), parse_key("system|maxlen"))
        self.assertEqual(len({parse_key("System|MaxLen"), parse_key("system|maxlen"), parse_key("system|max")}), 2)
        self.assertEqual(str(parse_key("System|MaxLen")), "System|MaxLen")
