"""Whose turn it is, and who loses a place when there is none left."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.accounts.turns import OPERATOR, Turns


def drain(turns: Turns[str]) -> list[str]:
    """All that waits, in turn."""
    found = []
    while (piece := turns.take()) is not None:
        found.append(piece)
    return found


class TurnsTests(SynchronousTestCase):
    """Pieces are texts here."""

    def test_by_client(self) -> None:
        """One try of the owner comes second, however many a guesser elsewhere has waiting."""
        turns: Turns[str] = Turns()
        for number in range(50):
            self.assertIsNone(turns.put(f"guess {number}", "192.0.2.66", b"%d" % number))
        turns.put("owner", "192.0.2.1", b"bonnie")
        self.assertEqual(drain(turns)[:3], ["guess 0", "owner", "guess 1"])
        self.assertEqual(len(turns), 0)

    def test_by_name(self) -> None:
        """On one address, many tries of one name do not hold up the single try of another."""
        turns: Turns[str] = Turns()
        for number in range(5):
            turns.put(f"clyde {number}", "127.0.0.1", b"clyde")
        turns.put("bonnie", "127.0.0.1", b"bonnie")
        self.assertEqual(drain(turns), ["clyde 0", "bonnie", "clyde 1", "clyde 2", "clyde 3", "clyde 4"])

    def test_full(self) -> None:
        """When all places are taken the client with the most loses its newest, and a newcomer finds one."""
        turns: Turns[str] = Turns(4, 4)
        for piece, client in (("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a")):
            self.assertIsNone(turns.put(piece, client, piece.encode()))
        self.assertEqual(turns.put("a4", "a", b"x"), "a4")
        self.assertEqual(turns.put("c1", "c", b"x"), "a3")
        self.assertEqual(turns.put("d1", "d", b"x"), "a2")
        self.assertEqual(turns.put("e1", "e", b"x"), "e1")  # nobody holds more than one
        self.assertIsNone(turns.put("op", OPERATOR, b""))
        self.assertEqual(drain(turns), ["a1", "b1", "c1", "d1", "op"])

    def test_places_of_one_client(self) -> None:
        """A client has so many places, which its names share as the clients share all of them."""
        turns: Turns[str] = Turns(100, 3)
        for number in range(3):
            self.assertIsNone(turns.put(f"clyde {number}", "a", b"clyde"))
        self.assertEqual(turns.put("clyde 3", "a", b"clyde"), "clyde 3")
        self.assertEqual(turns.put("bonnie 0", "a", b"bonnie"), "clyde 2")
        self.assertEqual(turns.put("bonnie 1", "a", b"bonnie"), "bonnie 1")
        self.assertIsNone(turns.put("other", "b", b"bonnie"))
        self.assertEqual(drain(turns), ["clyde 0", "other", "bonnie 0", "clyde 1"])

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), max_size=80))
    def test_nothing_vanishes(self, steps: list[tuple[int, int, bool]]) -> None:
        """Every piece is either taken or given back, once; the limits hold; a newcomer is refused only by singles."""
        turns: Turns[str] = Turns(6, 4)
        waiting: dict[str, int] = {}
        for number, (client, name, take) in enumerate(steps):
            if take:
                piece = turns.take()
                self.assertEqual(piece is None, not waiting)
                if piece is not None:
                    del waiting[piece]
            else:
                held = [list(waiting.values()).count(each) for each in range(6)]
                waiting[f"{number}"] = client
                lost = turns.put(f"{number}", f"{client}", b"%d" % name)
                if lost is not None:
                    del waiting[lost]
                if lost == f"{number}" and not held[client]:
                    self.assertLessEqual(max(held), 1)
            self.assertEqual(len(turns), len(waiting))
            self.assertLessEqual(len(waiting), 6)
        self.assertEqual(sorted(drain(turns)), sorted(waiting))
