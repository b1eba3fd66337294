"""Numbers: what is one, its international form, which are allowed."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.numbers import Numbers


class NumbersTests(SynchronousTestCase):
    """Numbers of one application."""

    def test_read(self) -> None:
        """A number is up to 20 ASCII digits, after + or i; it is written as the address said."""
        numbers = Numbers.make()
        for text, number in [
            ("101", "101"), ("+420603280030", "+420603280030"), ("00420603280030", "00420603280030"),
            ("i123", "i123"), ("I123", "i123"), ("1" * 20, "1" * 20), ("1" * 21, None), ("", None), ("+", None),
            ("++1", None), ("1+", None), ("1 2", None), ("1\n", None), ("\n1", None), ("1\x00", None),
            ("\u0661", None), ("\uff11", None), ("1_0", None), ("-1", None), ("x", None), ("\u0130123", None),
        ]:
            self.assertEqual(numbers.read(text), number, repr(text))

    def test_normalize(self) -> None:
        """With `normalize` a number gets its + and country code; short codes and extensions stay as they are."""
        numbers = Numbers.make(normalize=True)
        for text, number in [
            ("603899285", "+420603899285"), ("0604234427", "+420604234427"), ("+420603280030", "+420603280030"),
            ("00420603280030", "+420603280030"), ("0049301234567", "+49301234567"),
            ("420603899285", "+420603899285"), ("4206038992", "+4204206038992"), ("61388454", "+42061388454"),
            ("101", "101"), ("112", "112"), ("0011", "0011"), ("i6038992855", "i6038992855"), ("1" * 20, None),
        ]:
            self.assertEqual(numbers.read(text), number, text)
        for state, national, text, number in [
            ("49", "0", "0301234567", "+49301234567"), ("1", "1", "12125551234", "+12125551234"),
            ("1", "1", "2125551234", "+12125551234"), ("420", "", "0604234427", "+4200604234427"),
        ]:
            self.assertEqual(Numbers.make(True, state, national).read(text), number, (state, text))

    def test_allowed(self) -> None:
        """`allowed_numbers` must match the whole number as it will be written."""
        for pattern, normalize, text, allowed in [
            (r"\+420\d{9}", True, "603899285", True), (r"\+420\d{9}", False, "603899285", False),
            (r"\+420", True, "603899285", False), (r"\d{3}", True, "112", True), (r"[67]\d{8}|112", False, "112", True),
            (r"", False, "112", False),
        ]:
            numbers = Numbers.make(normalize, allowed=pattern)
            self.assertEqual(numbers.allows(numbers.read(text) or ""), allowed, (pattern, text))
        self.assertTrue(Numbers.make().allows("112"))

    def test_errors(self) -> None:
        """A prefix that is no prefix and a bad pattern are told with their key."""
        for key, settings in [
            ("state_prefix: ", {"state_prefix": "+420"}), ("state_prefix: ", {"state_prefix": ""}),
            ("state_prefix: ", {"state_prefix": "00420"}), ("state_prefix: ", {"state_prefix": "\u0664"}),
            ("national_prefix: ", {"national_prefix": "+"}), ("national_prefix: ", {"national_prefix": "0000"}),
            ("allowed_numbers: bad pattern", {"allowed": "("}),
        ]:
            error = str(self.assertRaises(ValueError, lambda given=settings: Numbers.make(**given)))
            self.assertTrue(error.startswith(key), error)

    @given(st.text(alphabet="0123456789+iI \n\r\x00[]=;\u0661", max_size=24), st.booleans())
    def test_nothing_else_comes_out(self, text: str, normalize: bool) -> None:
        """Whatever is read is a number that cannot end a line or a key; reading it again changes nothing."""
        numbers = Numbers.make(normalize)
        number = numbers.read(text)
        if number is None:
            return
        self.assertTrue(re.fullmatch(r"[+i]?[0-9]{1,20}", number), number)
        self.assertEqual(numbers.read(number), number)
        self.assertTrue(number.isascii() and number.isprintable())
