"""Names that a user, an alias or a sender may have, for any text somebody types."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import parse_mailbox
from mailbridge.admin.messages import Kind, OperationError
from mailbridge.admin.names import alias_name, alias_target, password, sender_pattern, user_name
from mailbridge.routing.directory import Directory

TYPED = st.text(max_size=20) | st.text(alphabet="aB.@+\"* <>\\-\u00e9", max_size=12)
NOBODY = Directory(["example.org"])


class NamesTests(SynchronousTestCase):
    """Whatever is typed is taken in one form, or refused with a usage error."""

    @settings(max_examples=300, deadline=None)
    @given(TYPED)
    def test_user_names(self, typed: str) -> None:
        """A user name that is taken is an address without quotes, and taking it again changes nothing."""
        try:
            name = user_name(typed)
        except OperationError as error:
            self.assertEqual(Kind.USAGE, error.kind)
            return
        self.assertEqual(name, user_name(name))
        self.assertEqual((name, ""), (parse_mailbox(name.encode()).local, parse_mailbox(name.encode()).domain))

    @settings(max_examples=300, deadline=None)
    @given(TYPED, st.sampled_from([lambda text: alias_name(text, NOBODY), lambda text: alias_target(text, NOBODY),
                                   sender_pattern, password]))
    def test_nothing_else_is_raised(self, typed: str, check: Callable[[str], object]) -> None:
        """Alias names, targets, senders and passwords are taken or refused as usage errors, in one line."""
        try:
            check(typed)
        except OperationError as error:
            self.assertEqual(Kind.USAGE, error.kind)
            self.assertEqual(1, len(str(error).splitlines()), str(error))
