"""The operator's rules: how they are read and when they apply."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL, parse_mailbox
from mailbridge.reply import REFUSED, Reply
from mailbridge.routing.rules import Rule, check_target, parse_refusal
from tests.routing.people import origin

BONNIE = parse_mailbox(b"bonnie@example.org")
STRANGER = parse_mailbox(b"x@elsewhere.example")


class RefusalTests(SynchronousTestCase):
    """The reply of a refusal."""

    def test_taken(self) -> None:
        """A refusal is sent as it is written."""
        self.assertEqual(parse_refusal("550 5.7.1 No mail today"), Reply(550, "5.7.1", "No mail today"))
        self.assertEqual(parse_refusal("451 4.7.1 Later").wire, b"451 4.7.1 Later\r\n")

    def test_errors(self) -> None:
        """A reply that no client would understand is refused with the right form."""
        for text, expected in [
            ("", "must look like"), ("550", "must look like"), ("550 No", "must look like"), ("no", "must look like"),
            ("250 2.0.0 OK", "must look like"), ("550 5.7.1", "must look like"), ("550 5.7.1 ", "must look like"),
            ("550 5.7.1 a\r\nb", "must look like"), ("550 5.7.1 ü", "must look like"), ("550 5.7 x", "must look like"),
            ("550  5.7.1 x", "must look like"), ("550 5.7.1 " + "x" * 500, "must look like"),
            ("٥50 5.7.1 x", "must look like"),
            ("550 4.7.1 x", "disagree"), ("450 5.7.1 x", "disagree"), ("421 4.7.0 x", "end the session"),
        ]:
            self.assertIn(expected, str(self.assertRaises(ValueError, parse_refusal, text)), text)

    @given(st.text(max_size=30) | st.from_regex(r"[245][0-9]{2} [245]\.[0-9]\.[0-9] .*", fullmatch=True))
    def test_any_text(self, text: str) -> None:
        """A text that is taken gives one line, of the class it says."""
        try:
            reply = parse_refusal(text)
        except ValueError:
            return
        self.assertEqual(reply.wire.count(b"\r\n"), 1)
        self.assertFalse(reply.is_positive)
        self.assertEqual(str(reply), text)


class TargetTests(SynchronousTestCase):
    """Names of targets."""

    def test_known(self) -> None:
        """Maildrops, refuse and the targets that exist are taken; the others are named with those that are."""
        for to in ("maildrop", "maildrop:bonnie", "refuse", "relay:office"):
            check_target(to, ["relay:office"])
        for to in ("", "maildrop:", "relay", "relay:home", "Maildrop", "oce", "refuse:x"):
            error = str(self.assertRaises(ValueError, check_target, to, ["relay:office"]))
            for part in (f'"{to}"', "maildrop, maildrop:USER, relay:office and refuse"):
                self.assertIn(part, error)


class RuleTests(SynchronousTestCase):
    """One rule."""

    def test_conditions(self) -> None:
        """Every condition must match; a condition that is not there matches all."""
        session = origin(user="carl", peer="10.0.0.5", listener="smtp[1]")
        for conditions, applies in [
            ({}, True),
            ({"recipient": r".*@example\.org"}, True),
            ({"recipient": r".*@EXAMPLE\.org"}, True),
            ({"recipient": r"example\.org"}, False),
            ({"sender": r".*@elsewhere\.example"}, True),
            ({"sender": r""}, False),
            ({"user": "carl"}, True),
            ({"user": "Carl"}, True),
            ({"user": "bonnie"}, False),
            ({"clients": ["10.0.0.0/8"]}, True),
            ({"clients": ["192.0.2.0/24"]}, False),
            ({"listener": "smtp[1]"}, True),
            ({"listener": "smtp[0]"}, False),
            ({"recipient": r".*@example\.org", "user": "carl", "clients": ["10.0.0.5"], "listener": "smtp[1]"}, True),
            ({"recipient": r".*@example\.org", "user": "bonnie", "clients": ["10.0.0.5"]}, False),
        ]:
            rule = Rule.make("route[0]", "maildrop", **conditions)  # type: ignore[arg-type]
            reason = rule.mismatch(BONNIE, STRANGER, session, "carl")
            self.assertEqual(reason is None, applies, conditions)

    def test_null_sender(self) -> None:
        """A pattern for the sender can name bounces: they have an empty one."""
        rule = Rule.make("route[0]", "refuse", sender="")
        self.assertIsNone(rule.mismatch(BONNIE, NULL, origin(), None))
        self.assertIsNotNone(rule.mismatch(BONNIE, STRANGER, origin(), None))

    def test_nobody_logged_in(self) -> None:
        """A rule for a user does not match strangers."""
        rule = Rule.make("route[0]", "maildrop", user="carl")
        self.assertIsNotNone(rule.mismatch(BONNIE, STRANGER, origin(), None))

    def test_double_at(self) -> None:
        """An address with two @ is taken only by a pattern that matches it whole."""
        fax = parse_mailbox(b"name@420@fax")
        for pattern, applies in [(None, False), (".*@fax", True), (".*@[0-9]+@fax", True), ("420@fax", False)]:
            rule = Rule.make("route[0]", "maildrop", recipient=pattern)
            self.assertEqual(rule.mismatch(fax, STRANGER, origin(), None) is None, applies, pattern)

    def test_refusal(self) -> None:
        """A refusal has a reply of its own or the usual one."""
        self.assertEqual(Rule.make("route[0]", "refuse").refusal, REFUSED)
        self.assertEqual(str(Rule.make("route[0]", "refuse", reply="451 4.7.1 Later").refusal), "451 4.7.1 Later")

    def test_anyone_needs_literal_domains(self) -> None:
        """`anyone` without written-out domains is an error: it would be an open relay."""
        for pattern in (None, ".*", ".*@.*", r".*@[a-z]+\.org", ".*@example.org", r".*@a\.org|.*"):
            self.assertIn("open relay", str(self.assertRaises(
                ValueError, Rule.make, "route[0]", "relay:office", recipient=pattern, anyone=True)), pattern)

    def test_anyone_opens_its_domains_only(self) -> None:
        """A pattern that matches more than its domains does not open more than these (`.*|x@a.org`)."""
        rule = Rule.make("route[0]", "relay:office", recipient=r".*|x@a\.org", anyone=True)
        self.assertIsNone(rule.mismatch(BONNIE, STRANGER, origin(), None))
        self.assertFalse(rule.opens_to_anyone(BONNIE))
        self.assertTrue(rule.opens_to_anyone(parse_mailbox(b"y@A.org")))
