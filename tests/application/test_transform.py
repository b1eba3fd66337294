"""Transforms: the operator's templates."""

from __future__ import annotations

import os
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.items import ITEMS
from mailbridge.application.transform import DIRECTIVES, TARGETS, Transform, is_gateway
from tests.application.hostile import expressions

NOW = 1_795_262_400.0  # Sat, 21 Nov 2026 12:00:00 UTC
VALUES = {name: f"[{name}]" for name in ITEMS}


def rendered(template: str, values: dict[str, str] | None = None, **changed: str) -> str:
    """What the template makes of the items."""
    return Transform("txt", template).render({**(VALUES if values is None else values), **changed}, NOW, 100_000)


class AcceptedTests(SynchronousTestCase):
    """What the grammar has."""

    def test_each_item(self) -> None:
        """Every one of the eleven items is replaced by its value."""
        for name in ITEMS:
            self.assertEqual(rendered(f"a<%{name}%>b"), f"a[{name}]b")
            self.assertEqual(rendered(f"a<% {name}\t%>b"), f"a[{name}]b")
            self.assertEqual(rendered(f"a<%{name}%>b", **{name: "other"}), "aotherb")
        self.assertEqual(len(ITEMS), 11)

    def test_first_example_of_the_page(self) -> None:
        """The reply address if there is one, else the sender's, else a fixed one; the page's own list."""
        template = "<%messageReplyToAddress| messageFromAddress |'lamp_room@petrol.org'%>"
        both = {"messageReplyToAddress": "reply@x", "messageFromAddress": "from@x"}
        self.assertEqual(rendered(template, both), "reply@x")
        self.assertEqual(rendered(template, {**both, "messageReplyToAddress": " \t"}), "from@x")
        self.assertEqual(rendered(template, {"messageReplyToAddress": "", "messageFromAddress": ""}),
                         "lamp_room@petrol.org")
        self.assertEqual(rendered(template, {}), "lamp_room@petrol.org")

    def test_second_example_of_the_page(self) -> None:
        """The time by strftime with localtime."""
        local = rendered('<%time.strftime("%x %X",time.localtime())%>')
        self.assertEqual(local, rendered('<%time.strftime("%x %X")%>'))
        self.assertRegex(local, r"^\d\d/\d\d/\d\d \d\d:\d\d:\d\d$")

    def test_third_example_of_the_page(self) -> None:
        """The whole template for the text, as it is printed."""
        template = (
            r'Now is <%time.strftime("%x %X")%>\n Message from:<%messageFromName%> <%messageFromAddress%>\n<%subject%>'
            r"\n Send reply to: <%messageReplyToAddress|'lamp_room@petrol.org'%> \n<%msg%>"
        )
        values = {"messageFromName": "Lamp Room", "messageFromAddress": "lamp@plant.example", "subject": "Alarm",
                  "msg": "Line 1\nLine 2"}
        first, *rest = rendered(template, values).split("\n")
        self.assertRegex(first, r"^Now is \d\d/\d\d/\d\d \d\d:\d\d:\d\d$")
        self.assertEqual(rest, [" Message from:Lamp Room lamp@plant.example", "Alarm",
                                " Send reply to: lamp_room@petrol.org ", "Line 1", "Line 2"])

    def test_utc(self) -> None:
        """gmtime gives the time in UTC."""
        self.assertEqual(rendered("<%time.strftime( '%Y-%m-%d %H:%M:%S %Z' , time.gmtime ( ) )%>"),
                         "2026-11-21 12:00:00 UTC")
        self.assertEqual(rendered("<%time.strftime('%d.%m. 100%%, ž',time.gmtime())%>"), "21.11. 100%, ž")

    def test_local_time(self) -> None:
        """Without a second argument, and with localtime, it is the time of the place where the bridge stands."""
        here = os.environ.get("TZ")
        self.addCleanup(time.tzset)
        self.addCleanup(os.environ.pop if here is None else os.environ.__setitem__, "TZ", here)
        os.environ["TZ"] = "XYZ-5"
        time.tzset()
        for call, wanted in (("", "17 XYZ"), (",time.localtime()", "17 XYZ"), (",time.gmtime()", "12 UTC")):
            self.assertEqual(rendered(f"<%time.strftime('%H %Z'{call})%>"), wanted)

    def test_time_is_that_of_the_message(self) -> None:
        """Another time gives another text."""
        transform = Transform("subject", "<%time.strftime('%Y',time.gmtime())%>")
        self.assertEqual(transform.render({}, 0.0, 10), "1970")
        self.assertEqual(transform.render({}, NOW, 10), "2026")

    def test_each_directive(self) -> None:
        """All directives of the list, with local and universal time."""
        for letter in DIRECTIVES:
            for zone in ("time.localtime()", "time.gmtime()"):
                self.assertNotEqual(rendered(f"<%time.strftime('%{letter}',{zone})%>"), "", letter)

    def test_strings(self) -> None:
        """Text in either quotes, with its escapes; what looks like the end or a bar in it is text."""
        self.assertEqual(rendered(r"""<%'it\'s "so" | %> <% \\ \n\t.'%>"""), "it's \"so\" | %> <% \\ \n\t.")
        self.assertEqual(rendered(r'''<%"it's \"so\" "%>'''), "it's \"so\" ")
        self.assertEqual(rendered("<%''%>"), "")
        self.assertEqual(rendered("<%''|'x'%>"), "x")

    def test_literal_text(self) -> None:
        r"""Literal text is as written, but \n is a new line."""
        self.assertEqual(rendered(r"100 %> {0} %s $x \t \\ a\nb %d"), "100 %> {0} %s $x \\t \\\\ a\nb %d")
        self.assertEqual(rendered(""), "")

    def test_values_are_data(self) -> None:
        """A value that looks like an expression, an escape or a directive stays as it is."""
        for value in ("<%subject%>", r"a\nb", "%d", "{0}", "'", "%>"):
            self.assertEqual(rendered("<%msg%>", msg=value), value)

    def test_cut(self) -> None:
        """However often a long text is inserted, the result has its limit."""
        transform = Transform("txt", "ab" + "<%msg%>" * 1000)
        self.assertEqual(transform.render({"msg": "x" * 60_000}, NOW, 64_000), "ab" + "x" * 63_998)


class RefusedTests(SynchronousTestCase):
    """What the grammar has not."""

    def test_hostile_expressions(self) -> None:
        """More than 300 hostile or mistaken expressions are refused at load, each with a column and what is allowed."""
        hostile = expressions()
        self.assertGreater(len(hostile), 300)
        accepted = []
        for template in hostile:
            for target in ("txt", "subject"):
                try:
                    Transform(target, template)
                    accepted.append(template)
                except ValueError as error:
                    self.assertIn(f'transform "{target}": ', str(error))
                    if len(template) <= 8192:
                        self.assertRegex(str(error), r'column \d+: .*allowed are the items address, app.*strftime')
        self.assertEqual(accepted, [])

    def test_says_where(self) -> None:
        """The message shows the column and the token."""
        for template, place in (
            ("ab<%msg.upper()%>", 'column 5: "msg.upper" '),
            ("<%subject+'x'%>", 'column 10: "+" '),
            ("<%subject|%>", 'column 11: "%>" stands where an item is missing'),
            ("<%|msg%>", 'column 3: "|" stands where an item is missing'),
            ("<%time.sleep(9)%>", 'column 3: "time.sleep" '),
            ("<%'abc", "column 3: \"'abc\" is a quote"),
            ("x<%subject", 'column 2: "<%subject" is not closed'),
            (r"<%'\x41'%>", r'column 4: "\x" is no escape'),
            ("<%time.strftime('%1000000d')%>", 'column 17: "%1" is no directive'),
            ("<%\x00%>", r"column 3: '\x00' "),
        ):
            error = self.assertRaises(ValueError, Transform, "txt", template)
            self.assertIn(place, str(error))

    def test_unknown_target(self) -> None:
        """A transform of something else is refused with the list of names."""
        for name in ("", "Subject", "to/number", "from", "from/Smtp", "system/subject", "text"):
            error = self.assertRaises(ValueError, Transform, name, "x")
            self.assertIn("there are subject, txt, from/name", str(error))
        for name in TARGETS:
            Transform(name, "x")

    def test_gateway_is_one_letter(self) -> None:
        """A fixed gateway of more or less than a letter is refused at load."""
        for bad in ("", "smtp", "1", "é", "<", " "):
            self.assertRaises(ValueError, Transform, "from/gateway", bad)
        Transform("from/gateway", "e")
        Transform("from/gateway", "<%app%>")
        self.assertTrue(is_gateway("s"))
        self.assertFalse(is_gateway("ss"))


class PropertyTests(SynchronousTestCase):
    """Whatever is written as a template, or stands in a message."""

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.sampled_from(["<%", "%>", "|", "'", '"', "\\", "subject", "msg", "time.strftime", "(", ")", ",",
                                     "time.gmtime", "'%d'", "'%q'", " ", "\n", "x", ".", "é"]), max_size=14))
    def test_compiles_or_says_why(self, words: list[str]) -> None:
        """A template compiles and renders, or ValueError says why; nothing else happens."""
        try:
            transform = Transform("txt", "".join(words))
        except ValueError:
            return
        transform.render(VALUES, NOW, 1000)

    @settings(max_examples=100, deadline=None)
    @given(st.text(), st.text())
    def test_inserts_as_it_is(self, subject: str, msg: Any) -> None:
        """What is inserted is the value, whatever it is."""
        text = rendered("<%subject|'-'%>\\n<%msg|'-'%>", subject=subject, msg=msg)
        self.assertEqual(text, f"{subject if subject.strip() else '-'}\n{msg if msg.strip() else '-'}")
