"""The explanation of a routing decision."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import parse_mailbox
from mailbridge.errors import AddressError
from mailbridge.routing.route import Lanes, WayOut
from mailbridge.routing.rules import Rule
from mailbridge.routing.table import Table
from tests.routing.people import directory, origin

SENDER = parse_mailbox(b"x@elsewhere.example")


def table() -> Table:
    """Two rules, two users, an alias."""
    return Table(
        [Rule.make("route[0]", "refuse", sender=r".*@spam\.example"),
         Rule.make("route[1]", "relay:office", recipient=r".*@office\.example")],
        directory("bonnie carl", {"all": "bonnie carl"}), ["relay:office"],
    )


class ExplanationTests(SynchronousTestCase):
    """What `mailbridge route` shows."""

    def test_local_user(self) -> None:
        """Every rule is shown with why it does not apply, then the user."""
        explained = table().explain(parse_mailbox(b"all@example.org"), SENDER, origin())
        self.assertEqual(explained.lines(), [
            r"1. route[0]: x@elsewhere.example to all@example.org: does not apply: sender is not .*@spam\.example",
            r"2. route[1]: x@elsewhere.example to all@example.org: does not apply: recipient is not .*@office\.example",
            "3. local: all@example.org: alias: maildrop of bonnie, carl",
            "answer: maildrop of user 1, maildrop of user 2",
        ])

    def test_relay(self) -> None:
        """A stranger sees what he would need; a trusted client is shown the way out."""
        address = parse_mailbox(b"a@office.example")
        self.assertIn("needs a login or a listed client", table().explain(address, SENDER, origin()).lines()[1])
        self.assertEqual(table().explain(address, SENDER, origin(trusted=True)).lines()[-1], "answer: relay:office")

    def test_default_relay(self) -> None:
        """The default relay is named, with its lane; a stranger sees what he would need."""
        direct = Table((), directory("bonnie"), (), [WayOut("relay:mx", Lanes.RECIPIENT, True)])
        address = parse_mailbox(b"a@B.example")
        self.assertEqual(direct.explain(address, SENDER, origin(trusted=True)).lines()[1:], [
            "2. default: a@B.example: goes to the default relay, relay:mx for b.example",
            "answer: relay:mx for b.example",
        ])
        self.assertIn("2. default: a@B.example: the default relay, relay:mx, needs a login or a listed client: 550",
                      direct.explain(address, SENDER, origin()).lines()[1])

    def test_bare_name(self) -> None:
        """A completed name is shown as it was taken."""
        explained = table().explain(parse_mailbox(b"bonnie"), SENDER, origin(trusted=True))
        self.assertEqual(explained.lines()[0], "1. address: bonnie: taken as bonnie@example.org")

    def test_refusal(self) -> None:
        """A refusal is shown with the reply the client gets."""
        explained = table().explain(parse_mailbox(b"a@b.example"), SENDER, origin())
        self.assertEqual(explained.lines()[-1][:23], "answer: 550 5.7.1 This ")

    def test_record(self) -> None:
        """The same for programs, as JSON."""
        record = table().explain(parse_mailbox(b"bonnie@example.org"), SENDER, origin()).record()
        self.assertEqual(json.loads(json.dumps(record))["answer"], "maildrop of user 1")
        self.assertEqual(record["accepted"], True)
        self.assertEqual([step["step"] for step in record["steps"]], ["route[0]", "route[1]", "local"])  # type: ignore[attr-defined]

    @given(st.text(alphabet='bonie@xamplrg.[]"+', min_size=1, max_size=20), st.booleans())
    def test_one_answer(self, recipient: str, trusted: bool) -> None:
        """Every decision has one answer, in its last step, and it is what the router says."""
        try:
            address = parse_mailbox(recipient.encode())
        except AddressError:
            return
        where, session = table(), origin(trusted)
        steps = where.explain(address, SENDER, session).steps
        self.assertEqual([step.answer is not None for step in steps], [False] * (len(steps) - 1) + [True])
        self.assertEqual(where.route(address, SENDER, session), steps[-1].answer)
