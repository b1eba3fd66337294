"""What each message of a listing is due for."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.fetch.ledger import DAY, Entry
from mailbridge.fetch.plan import Action, plan
from tests.fetch.upstream import account

SIZES = {1: 10, 2: 20, 3: 30}
UIDS = {1: "a", 2: "b", 3: "c"}
KNOWN = {"ua": Entry(10, 0.0, False, "d")}


def actions(sizes: dict[int, int] = SIZES, uids: dict[int, str] | None = UIDS, now: float = 0.0, poison: str = "",
            **changes: Any) -> list[tuple[int, Action]]:
    """Number and action of each."""
    made = plan(sizes, uids, KNOWN.get, account(**changes), now, lambda name: name == poison)
    return [(item.number, action) for item, action in made]


class PlanTests(SynchronousTestCase):
    """By hand."""

    def test_actions(self) -> None:
        """New mail is fetched, delivered mail deleted or left, too large and poisoned mail passed over."""
        fetch, delete = Action.FETCH, Action.DELETE
        self.assertEqual(actions(), [(1, delete), (2, fetch), (3, fetch)])
        self.assertEqual(actions(keep=True)[0], (1, Action.LEAVE))
        self.assertEqual(actions(keep=True, delete_after=DAY, now=DAY - 1)[0], (1, Action.LEAVE))
        self.assertEqual(actions(keep=True, delete_after=DAY, now=DAY)[0], (1, delete))
        self.assertEqual(actions(size_limit=29), [(1, delete), (2, fetch), (3, Action.TOO_LARGE)])
        self.assertEqual(actions(poison="ub"), [(1, delete), (2, Action.POISON), (3, fetch)])

    def test_sizes(self) -> None:
        """Another size is another message, to be looked at."""
        self.assertEqual(actions({1: 11}, {1: "a"}), [(1, Action.FETCH)])

    def test_odd_lists(self) -> None:
        """A message in one of the lists only is there; without UIDs all are fetched."""
        self.assertEqual(actions({2: 1}, {9: "z", 2: "b"}), [(2, Action.FETCH), (9, Action.FETCH)])
        self.assertEqual(actions(uids=None), [(1, Action.FETCH), (2, Action.FETCH), (3, Action.FETCH)])
        self.assertEqual(actions(uids=None, poison="2 20")[1], (2, Action.POISON))
