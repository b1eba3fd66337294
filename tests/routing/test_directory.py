"""Who is behind a local address."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import Address, parse_mailbox
from mailbridge.routing.directory import MAX_DEPTH, MAX_LOOKUPS, Directory
from mailbridge.store.changes import Alias, People
from tests.routing.people import directory, user


def resolved(where: Directory, address: str) -> list[str] | None:
    """The names of the users behind an address."""
    users = where.resolve(parse_mailbox(address.encode()))
    return None if users is None else [found.name for found in users]


ALIASES = {
    "sales": "bonnie carl",
    "sales@shop.example": "carl",
    "carl": "bonnie",
    "harold": "harold bonnie",
    "all": "sales harold carl@example.org bonnie nobody",
    "two words": "bonnie",
    "abuse": "postmaster",
    "bonnie+vip": "d+e",
    "@shop.example": "harold",
    "loop1": "loop2",
    "loop2": "loop1",
    "me": "me",
    "dead": "gone gone@example.org x@elsewhere.example",
}
USERS = "bonnie carl harold d+e"


class ResolveTests(SynchronousTestCase):
    """The order of the steps, and aliases."""

    def test_table(self) -> None:
        """Each address leads where an operator expects."""
        where = directory(USERS, ALIASES)
        for address, names in [
            ("bonnie@example.org", ["bonnie"]),
            ("BONNIE@EXAMPLE.ORG", ["bonnie"]),
            ("bonnie@shop.example", ["bonnie"]),
            ('"bonnie"@example.org', ["bonnie"]),
            ("bonnie", ["bonnie"]),
            ("bonnie+shop@example.org", ["bonnie"]),
            ("bonnie+vip@example.org", ["d+e"]),  # an exact match comes before the tag
            ("d+e@example.org", ["d+e"]),
            ("d+e+f@example.org", None),
            ("sales@example.org", ["bonnie"]),  # carl's mail goes to bonnie: one copy
            ("sales+x@example.org", ["bonnie"]),
            ("sales@shop.example", ["bonnie"]),
            ("carl@example.org", ["bonnie"]),  # an alias comes before the user of that name
            ("harold@example.org", ["harold", "bonnie"]),  # an alias may name its own user
            ("all@example.org", ["bonnie", "harold"]),
            ('"two words"@example.org', None),
            ("nobody@example.org", None),
            ("nobody@shop.example", ["harold", "bonnie"]),  # all else of the domain
            ("+x@example.org", None),
            ("bonnie@elsewhere.example", None),
            ("bonnie@sub.example.org", None),
            ("loop1@example.org", None),
            ("me@example.org", None),
            ("me@shop.example", None),  # the name is taken, if by an alias that leads nowhere
            ("dead@example.org", None),
            ("postmaster@example.org", ["bonnie"]),
            ("PostMaster", ["bonnie"]),
            ("abuse@example.org", ["bonnie"]),
            ("bonnie@420@example.org", None),
        ]:
            self.assertEqual(resolved(where, address), names, address)

    def test_null(self) -> None:
        """Nobody is behind `<>`."""
        self.assertIsNone(directory(USERS, {"@": "bonnie"}).resolve(Address("")))

    def test_postmaster(self) -> None:
        """Postmaster's mail goes to the configured one, else to that name, else to the oldest user."""
        for users, aliases, configured, names in [
            ("bonnie harold", {}, None, ["bonnie"]),
            ("bonnie harold", {}, "harold", ["harold"]),
            ("bonnie harold", {}, "harold@example.org", ["harold"]),
            ("bonnie harold", {}, "gone", ["bonnie"]),
            ("bonnie harold", {}, "x@elsewhere.example", ["bonnie"]),
            ("bonnie harold", {"staff": "harold bonnie"}, "staff", ["harold", "bonnie"]),
            ("bonnie postmaster", {}, None, ["postmaster"]),
            ("bonnie postmaster", {}, "bonnie", ["bonnie"]),
            ("bonnie harold", {"postmaster": "harold"}, None, ["harold"]),
            ("bonnie harold", {"postmaster": "harold"}, "bonnie", ["bonnie"]),
            ("bonnie harold", {"postmaster": "gone"}, None, ["bonnie"]),
            ("bonnie harold", {"postmaster": "postmaster"}, None, ["bonnie"]),
            ("bonnie harold", {"staff": "postmaster"}, "staff", ["bonnie"]),
            ("bonnie harold", {}, "postmaster", ["bonnie"]),
            ("bonnie harold", {"postmaster@example.org": "harold"}, "bonnie", ["harold"]),
            ("", {}, None, None),
            ("", {"postmaster": "gone"}, "gone", None),
        ]:
            where = directory(users, aliases, configured)
            self.assertEqual(resolved(where, "postmaster@example.org"), names, (users, aliases, configured))

    def test_alias_seen_twice(self) -> None:
        """An alias reached by two ways is opened once, and not taken for the user or the catch-all behind it."""
        where = directory("z bonnie carl", {
            "z": "bonnie", "x": "z@example.org z", "all": "z@example.org x z", "@example.org": "carl",
        })
        self.assertEqual(resolved(where, "all@example.org"), ["bonnie"])

    def test_tag_switched_off(self) -> None:
        """With an empty separator a plus is a letter."""
        self.assertIsNone(resolved(directory("bonnie", separator=""), "bonnie+x@example.org"))

    def test_other_separator(self) -> None:
        """The separator is configured."""
        self.assertEqual(resolved(directory("bonnie", separator="-"), "bonnie-x-y@example.org"), ["bonnie"])

    def test_utf8(self) -> None:
        """Names and domains in UTF-8 are found in any case, composed or not, and the domain as xn-- too."""
        where = directory("jürgen", domains=("bücher.example",))
        for address in ("JÜRGEN@BÜCHER.example", "ju\u0308rgen@bücher.example", "jürgen@xn--bcher-kva.example"):
            self.assertEqual(resolved(where, address), ["jürgen"], address)

    def test_quoted_alias(self) -> None:
        """An alias with a space is found by its content."""
        where = directory("bonnie", {'"two words"': "bonnie"})
        self.assertEqual(resolved(where, '"Two Words"@example.org'), ["bonnie"])

    def test_deep_and_wide(self) -> None:
        """An alias that is too deep or too wide is refused whole, not delivered in part."""
        deep = {f"a{n}": f"a{n + 1} bonnie" for n in range(MAX_DEPTH + 10)}
        self.assertIsNone(resolved(directory("bonnie", deep), "a0@example.org"))
        self.assertEqual(resolved(directory("bonnie", deep), f"a{MAX_DEPTH}@example.org"), ["bonnie"])
        wide = {"w": " ".join(["bonnie"] * (MAX_LOOKUPS + 1))}
        self.assertIsNone(resolved(directory("bonnie", wide), "w@example.org"))

    def test_fan_out(self) -> None:
        """Aliases that name each other many times over do not multiply the work."""
        aliases = {f"a{n}": " ".join(f"a{m}" for m in range(40)) + " bonnie" for n in range(40)}
        self.assertEqual(resolved(directory("bonnie", aliases), "a0@example.org"), ["bonnie"])

    def test_same_name_twice(self) -> None:
        """Of two users whose names fold to one, the older has the mail."""
        where = Directory(["example.org"])
        where.replace(People((user(1, "ſam", created=9.0), user(2, "sam", created=1.0)), ()))
        self.assertEqual(where.resolve(Address("Sam", "example.org")), (where.by_id(2),))
        self.assertIn('user "ſam"', where.check()[0])

    def test_generation(self) -> None:
        """Whoever remembers answers can see that they are old."""
        where = directory("bonnie")
        before = where.generation
        where.replace(People((), ()))
        self.assertGreater(where.generation, before)
        before = where.generation
        where.reconfigure(["other.example"])
        self.assertGreater(where.generation, before)
        self.assertTrue(where.is_local("OTHER.example"))
        self.assertFalse(where.is_local("example.org"))

    @given(st.dictionaries(st.sampled_from(["a", "b", "c", "@example.org", "postmaster", "b@example.org", ""]),
                           st.lists(st.sampled_from(["a", "b", "c", "u", "@example.org", "postmaster", "b@example.org",
                                                     "a+b", "x@y", "", "a@b@c", "\0"]), max_size=5)),
           st.sampled_from(["", "u", "u a", "u postmaster"]), st.sampled_from([None, "a", "u", "postmaster"]))
    def test_any_aliases(self, aliases: dict[str, list[str]], users: str, postmaster: str | None) -> None:
        """Whatever the aliases are, every question ends with users that exist, each once; postmaster has somebody."""
        where = Directory(["example.org"], postmaster=postmaster)
        known = tuple(user(number, name) for number, name in enumerate(users.split(), 1))
        where.replace(People(known, tuple(Alias(name, tuple(members)) for name, members in aliases.items())))
        for name in ("a", "b", "c+x", "u", "postmaster", "other"):
            found = where.resolve(Address(name, "example.org"))
            if found is not None:
                self.assertTrue(found)
                self.assertTrue(set(found) <= set(known))
                self.assertEqual(len(set(found)), len(found))
        self.assertEqual(where.resolve(Address("postmaster", "example.org")) is None, not known)
        where.check()


class LoginTests(SynchronousTestCase):
    """Names to log in with."""

    def test_login(self) -> None:
        """A user logs in by name or by name and local domain, in any case."""
        where = directory("bonnie ken@example.org", {"sales": "bonnie"})
        for name, number in [
            ("bonnie", 1), ("Bonnie", 1), ("bonnie@example.org", 1), ("BONNIE@Shop.Example", 1), ("ken@example.org", 2),
            ("bonnie@elsewhere.example", None), ("sales", None), ("bonnie+x", None), ("", None), ("@example.org", None),
            ("bonnie@", None), ("b" * 100_000, None), ("\0", None), ("\udc80", None),
        ]:
            found = where.login(name)
            self.assertEqual(None if found is None else found.id, number, name[:40])

    def test_by_id(self) -> None:
        """A user is found by number."""
        where = directory("bonnie")
        self.assertEqual(where.by_id(1), where.user("BONNIE"))
        self.assertIsNone(where.by_id(2))


class OwnsTests(SynchronousTestCase):
    """Who may send as whom."""

    def test_table(self) -> None:
        """A user sends as himself, as aliases that are his alone, and as he was allowed."""
        where = Directory(["example.org", "shop.example"])
        where.replace(People(
            (user(1, "bonnie", "info@partner.example", "*@club.example", "fax@1@x"), user(2, "carl"),
             user(3, "harold"), user(4, "dora")),
            (Alias("sales", ("bonnie", "dora")), Alias("info", ("bonnie",)), Alias("harold", ("harold", "bonnie")),
             Alias("bonnie@shop.example", ("dora",)), Alias("carl", ("bonnie",)), Alias("bonnie+vip", ("harold",))),
        ))
        for number, address, owns in [
            (1, "bonnie@example.org", True), (1, "BONNIE@example.org", True), (1, "bonnie", True),
            (1, "bonnie+news@example.org", True), (1, "bonnie+vip@example.org", False),
            (2, "bonnie+vip@example.org", False),
            (1, "info@example.org", True), (1, "sales@example.org", False), (2, "sales@example.org", False),
            (1, "bonnie@shop.example", False), (4, "bonnie@shop.example", True),
            (1, "carl@example.org", True),
            (2, "carl@example.org", True), (2, "carl+x@example.org", True),
            (3, "harold@example.org", True), (1, "harold@example.org", False), (3, "harold@shop.example", True),
            (2, "bonnie@example.org", False), (1, "bonnie@elsewhere.example", False), (1, "nobody@example.org", False),
            (1, "info@partner.example", True), (1, "Info@Partner.Example", True), (1, "other@partner.example", False),
            (1, "anything@club.example", True), (1, "a@sub.club.example", False), (2, "a@club.example", False),
            (1, "a@b@club.example", False), (1, "fax@1@x", True), (1, "fax@2@x", False), (1, '"fax@1"@x', False),
        ]:
            sender = where.by_id(number)
            assert sender is not None
            self.assertEqual(where.owns(sender, parse_mailbox(address.encode())), owns, (number, address))

    def test_null_sender(self) -> None:
        """Anybody may send a receipt with the null sender."""
        where = directory("bonnie")
        bonnie = where.by_id(1)
        assert bonnie is not None
        self.assertTrue(where.owns(bonnie, Address("")))


class CheckTests(SynchronousTestCase):
    """What an operator is told."""

    def test_findings(self) -> None:
        """Members that do not exist, aliases that lead to nobody and foreign domains are named; good ones are not."""
        findings = "\n".join(directory(USERS, {
            **ALIASES, "far@elsewhere.example": "bonnie", "w": "bonnie " * (MAX_LOOKUPS + 1),
        }, postmaster="gone").check())
        for part in (
            'alias "dead": there is no user or alias "gone"',
            'alias "dead": there is no user or alias "x@elsewhere.example"',
            'alias "dead": leads to nobody', 'alias "loop1": leads to nobody', 'alias "me": leads to nobody',
            'alias "all": there is no user or alias "nobody"', 'alias "far@elsewhere.example"',
            'alias "w": is too wide',
            'users.postmaster: there is no user or alias "gone"',
        ):
            self.assertIn(part, findings)
        for name in ("sales", "harold", "carl", "abuse", "@shop.example"):
            self.assertNotIn(f'alias "{name}"', findings)

    def test_nothing_to_say(self) -> None:
        """A clean directory has no findings."""
        self.assertEqual(directory("bonnie carl", {"sales": "bonnie carl"}, postmaster="carl").check(), [])
