"""The operator's commands on a store in memory."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.accounts.passwords import verify
from mailbridge.accounts.pool import PoolFull
from mailbridge.address import NULL
from mailbridge.admin.messages import Kind, OperationError
from mailbridge.admin.operations import Operations
from mailbridge.admin.status import Facts
from mailbridge.content import Content
from mailbridge.envelope import Envelope, Origin
from mailbridge.errors import ConfigError, Fault, StoreError
from mailbridge.routing.directory import Directory
from mailbridge.routing.rules import Rule
from mailbridge.routing.table import Table
from mailbridge.store.changes import Accept, Credentials, LaneState, People, Queued, SetLane
from mailbridge.store.memory import MemoryStore
from tests.admin.test_oceside import Side


class AtOnce:
    """A pool that does its work in the caller."""

    full = False

    def run(self, work: Any, client: str, name: bytes = b"") -> Deferred[Any]:
        """Do it."""
        if self.full:
            return fail(PoolFull("full"))
        return succeed(work())


class FailingStore(MemoryStore):
    """A store whose disk is gone."""

    def commit(self, *changes: object) -> Deferred[tuple[object, ...]]:
        """Fail."""
        raise StoreError("disk gone")


class Running:
    """A bridge as `status` and `reload` see it."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.embedded = True

    def facts(self) -> Facts:
        """Some facts."""
        return Facts("1.0", "bridge.example.org", 42, 0.0, ("smtp[0]",), {"smtp": 1}, min_free=1,
                     embedded=self.embedded)

    def reload(self) -> list[str]:
        """A note, or the fault."""
        if self.fault:
            raise self.fault
        return ["state changes only with a restart"]


class OperationsTests(SynchronousTestCase):
    """Commands, their results and their errors."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.build(MemoryStore(self.clock))

    def build(self, store: MemoryStore) -> None:
        self.store = store
        self.pool = AtOnce()
        self.running = Running()
        self.directory = Directory(["example.org"])
        rules = [Rule.make("route[0]", "refuse", recipient="blocked@.*", sender=None, user=None, clients=(),
                           listener=None, reply=None, anyone=False)]
        table = Table(rules, self.directory)
        self.operations = Operations(store, self.directory, table, self.pool, self.clock.seconds,
                                     lambda listener, client: client == "10.0.0.1", lambda: 43, self.running)

    def ask(self, command: str, **arguments: Any) -> Any:
        return self.successResultOf(Deferred.fromCoroutine(self.operations.run(command, arguments)))

    def refused(self, kind: Kind, command: str, **arguments: Any) -> str:
        """The text of the error, whose kind must be `kind`."""
        failure = self.failureResultOf(Deferred.fromCoroutine(self.operations.run(command, arguments)), OperationError)
        self.assertEqual(kind, failure.value.kind, failure.value)
        return str(failure.value)

    def kept(self) -> Credentials:
        (user,) = self.successResultOf(self.store.people()).users
        credentials: Credentials = user.credentials
        return credentials

    # --- the OCE ------------------------------------------------------------------------------------------------------

    def test_release_of_the_oce(self) -> None:
        """`queue release` for the OCE ends a KILL too, and says whether there was one; for others it does not."""
        side = Side(killed=True)
        operations = Operations(self.store, self.directory, Table((), self.directory), self.pool, self.clock.seconds,
                                lambda listener, client: False, lambda: 1, oce=lambda: side)
        for target, expected in (("relay:x", {"count": 0}), ("oce", {"count": 0, "oce": True}),
                                 ("oce", {"count": 0, "oce": False})):
            running = Deferred.fromCoroutine(operations.run("queue release", {"target": target}))
            self.assertEqual(self.successResultOf(running), expected)

    # --- users --------------------------------------------------------------------------------------------------------

    def test_add_user(self) -> None:
        """A new user is in the store and can log in at once, under the name in lower case."""
        self.clock.advance(5)
        told = self.ask("user add", name="Bonnie", password="long enough", send_as=["*@shop.example"])
        self.assertEqual(("bonnie", []), (told["name"], told["warnings"]))
        user = self.directory.login("BONNIE@example.org")
        assert user is not None
        self.assertEqual((told["id"], ("*@shop.example",), 5.0), (user.id, user.send_as, user.created))
        self.assertTrue(verify(b"long enough", self.kept()))
        self.assertIsNone(self.kept().secret)

    def test_user_names(self) -> None:
        """A name that is no plain local part is refused with what to do instead."""
        for name, remedy in (("", "empty"), ("a@example.org", "no @: use 'a'"), ("a b", "no spaces"), ('"a"', "quotes"),
                             ("a+b", "no +"), ("a\nb", "control"), ("x" * 65, "64 octets"), (".a", "dot"),
                             ("a..b", "dot"),
                             ("a,b", "commas"), ("<a>", "brackets"),
                             ("\u00e9" * 33, "64 octets"), ("\ud800", "control")):
            self.assertIn(remedy, self.refused(Kind.USAGE, "user add", name=name, password="long enough"), repr(name))
        for name in ("bonnie.parker", "b-2", "zo\u00eb", "x" * 64):
            self.assertEqual(name, self.ask("user add", name=name, password="long enough")["name"])

    def test_passwords(self) -> None:
        """An empty password is refused, a short one taken with a warning, and no error repeats it."""
        for password in ("", "secret\n", "secret\0", "secret" * 200):
            self.assertNotIn("secret", self.refused(Kind.USAGE, "user add", name="bonnie", password=password))
        self.assertIn("fewer than 8", self.ask("user add", name="bonnie", password="short")["warnings"][0])

    def test_name_taken(self) -> None:
        """A second user of the same name, in any spelling, is a conflict that names the remedy."""
        self.ask("user add", name="zo\u00eb", password="long enough")
        for name in ("zo\u00eb", "ZO\u00cb", "zoe\u0308"):
            self.assertIn("user passwd", self.refused(Kind.CONFLICT, "user add", name=name, password="long enough"))

    def test_passwd(self) -> None:
        """A new password replaces the old one; a kept secret stays kept until that is changed."""
        self.ask("user add", name="bonnie", password="old password", keep_secret=True)
        self.assertEqual("old password", self.kept().secret)
        self.ask("user passwd", name="Bonnie", password="new password")
        self.assertEqual("new password", self.kept().secret)
        self.ask("user passwd", name="bonnie", password="newer password", keep_secret=False)
        self.assertIsNone(self.kept().secret)
        self.assertTrue(verify(b"newer password", self.kept()))
        user = self.directory.user("bonnie")
        assert user is not None
        self.assertEqual(self.kept(), user.credentials, "logins follow at once")

    def test_list_and_show(self) -> None:
        """Users are listed by name, without anything secret."""
        for name in ("harold", "bonnie"):
            self.ask("user add", name=name, password="long enough", keep_secret=True)
        told = self.ask("user list")
        self.assertEqual(["bonnie", "harold"], [user["name"] for user in told["users"]])
        self.ask("alias set", name="sales", targets=["bonnie@example.org"])
        shown = self.ask("user show", name="bonnie")
        self.assertEqual((0, 0, ["sales"]), (shown["messages"], shown["octets"], shown["aliases"]))
        for text in (repr(told), repr(shown)):
            self.assertNotIn("long enough", text)
            self.assertNotIn("scrypt", text)

    def test_set_senders(self) -> None:
        """The further senders of a user are replaced; what is no address is refused."""
        self.ask("user add", name="bonnie", password="long enough", send_as=["old@x.org"])
        self.assertEqual(["info@x.org", "*@y.org"],
                         self.ask("user set", name="bonnie", send_as=["info@x.org", "*@y.org"])["send_as"])
        user = self.directory.user("bonnie")
        assert user is not None
        self.assertEqual(("info@x.org", "*@y.org"), user.send_as)
        for pattern in ("info", "*@", "*@a b", "", "a@b c", "*"):
            self.refused(Kind.USAGE, "user set", name="bonnie", send_as=[pattern])

    def test_remove(self) -> None:
        """A removed user cannot log in any more; aliases that still name the user are told."""
        self.ask("user add", name="bonnie", password="long enough")
        self.ask("alias set", name="sales", targets=["bonnie"])
        told = self.ask("user remove", name="bonnie")
        self.assertEqual({"name": "bonnie", "messages": 0, "aliases": ["sales"]}, told)
        self.assertIsNone(self.directory.login("bonnie"))
        for command in ("user remove", "user show", "user passwd"):
            self.assertIn("user list", self.refused(Kind.CONFLICT, command, name="bonnie", password="long enough"))

    # --- aliases ------------------------------------------------------------------------------------------------------

    def test_aliases(self) -> None:
        """Aliases are made, replaced, listed and removed; each target counts once."""
        for name in ("bonnie", "harold"):
            self.ask("user add", name=name, password="long enough")
        told = self.ask("alias set", name="Sales@EXAMPLE.org", targets=["bonnie", "harold", "bonnie"])
        self.assertEqual({"name": "sales@example.org", "targets": ["bonnie", "harold"], "replaced": False}, told)
        self.assertTrue(self.ask("alias set", name="sales@example.org", targets=["harold"])["replaced"])
        self.ask("alias set", name="@example.org", targets=["sales@example.org"])
        self.assertEqual(["@example.org", "sales@example.org"], [a["name"] for a in self.ask("alias list")["aliases"]])
        self.ask("alias remove", name="@EXAMPLE.ORG")
        self.assertIn("alias list", self.refused(Kind.CONFLICT, "alias remove", name="@example.org"))

    def test_bad_aliases(self) -> None:
        """An alias that could get no mail, or leads to nobody, is refused with the reason."""
        self.ask("user add", name="bonnie", password="long enough")
        for name, targets, reason in (
            ("a b", ["bonnie"], "not an address"), ("sales@else.org", ["bonnie"], "not a local domain"),
            ("@", ["bonnie"], "not a local domain"), ("x@y@z", ["bonnie"], "two @"),
            ("sales", ["ghost"], "no user or alias"),
            ("sales", ["b@else.org"], "not a local domain"), ("sales", [], "needs a target"),
            ("sales", [""], "not an address"),
            ("sales", ["sales"], "no user or alias"), ("sales", ["\ud800"], "half a character"),
        ):
            self.assertIn(reason, self.refused(Kind.USAGE, "alias set", name=name, targets=targets), (name, targets))

    def test_alias_hides_user(self) -> None:
        """A user whose name is an alias already is made, with a warning that the alias gets the mail."""
        self.ask("user add", name="bonnie", password="long enough")
        self.ask("alias set", name="harold", targets=["bonnie"])
        self.assertIn("alias harold", self.ask("user add", name="harold", password="long enough")["warnings"][0])

    # --- the rest -----------------------------------------------------------------------------------------------------

    def test_route(self) -> None:
        """The steps of the router are told, for a stranger, a listed client or a user."""
        self.ask("user add", name="bonnie", password="long enough")
        told = self.ask("route", **{"from": "a@b.org", "to": "bonnie@example.org"})
        self.assertTrue(told["accepted"])
        self.assertIn("maildrop", told["lines"][-1])
        self.assertEqual((told["targets"], told["job"]), (["maildrop"], 43))
        stranger = self.ask("route", **{"from": "<>", "to": "x@else.org"})
        listed = self.ask("route", **{"from": "", "to": "x@else.org", "client": "10.0.0.1"})
        self.assertFalse(stranger["accepted"])
        self.assertNotEqual(stranger["answer"], listed["answer"], "a trusted client gets another refusal")
        blocked = self.ask("route", **{"from": "a@b.org", "to": "blocked@example.org"})
        self.assertEqual((blocked["accepted"], blocked["targets"]), (False, []))

    def test_route_of_a_user(self) -> None:
        """A user's message is refused when the sender is not the user's own, as SMTP would."""
        self.ask("user add", name="bonnie", password="long enough")
        own = self.ask("route", **{"from": "bonnie@example.org", "to": "bonnie", "user": "BONNIE"})
        other = self.ask("route", **{"from": "boss@b.org", "to": "bonnie", "user": "bonnie"})
        self.assertEqual((True, False), (own["accepted"], other["accepted"]))
        self.assertIn("553", other["answer"])
        self.refused(Kind.CONFLICT, "route", **{"from": "a@b.org", "to": "bonnie", "user": "ghost"})

    def test_route_of_nonsense(self) -> None:
        """What is no address is named."""
        self.assertIn("from", self.refused(Kind.USAGE, "route", **{"from": "a b", "to": "x"}))
        self.assertIn("to", self.refused(Kind.USAGE, "route", **{"from": "", "to": ""}))
        self.refused(Kind.USAGE, "route", **{"from": "", "to": "\ud800"})

    def test_status(self) -> None:
        """The status has the bridge's facts, and the store's."""
        told = self.ask("status")
        self.assertEqual(("warning", 0, 1 << 40), (told["level"], told["users"], told["free_octets"]))
        self.ask("user add", name="bonnie", password="long enough")
        told = self.ask("status")
        self.assertEqual(("ok", 1, 0), (told["level"], told["users"], told["queue"]))

    def test_status_of_a_paused_route(self) -> None:
        """A route that paused itself is a warning with its remedy, critical when it has held mail up for an hour."""
        self.ask("user add", name="bonnie", password="long enough")
        origin = Origin("smtp[0]", "10.0.0.1", "pc", None, None, 0.0, "ESMTP")
        envelope = Envelope("aaaa", NULL, (), origin, Content.of(b"\r\n"))
        self.successResultOf(self.store.commit(Accept(envelope, (), (Queued("a@b", "relay:office", "", 0.0),))))
        self.assertEqual(("ok", 1, 0.0), tuple(self.ask("status")[key] for key in ("level", "queue", "oldest")))
        (lane,) = self.successResultOf(self.store.lanes())
        self.successResultOf(self.store.commit(SetLane(lane.id, LaneState.PAUSED, "535 5.7.8 no")))
        for seconds, level in ((3600.0, "warning"), (1.0, "critical")):
            self.clock.advance(seconds)
            told = self.ask("status")
            self.assertEqual((level, 1), (told["level"], len(told["problems"])))
            self.assertIn("mailbridge queue retry --target relay:office", told["problems"][0]["text"])
        self.ask("queue retry", target="relay:office")
        self.assertEqual("ok", self.ask("status")["level"])

    def test_status_of_an_oce_that_is_off(self) -> None:
        """What waits in an embedded OCE that was switched off is an alarm; while it runs it is not."""
        self.ask("user add", name="bonnie", password="long enough")
        origin = Origin("oce", "", "", None, None, 0.0, "OCE")
        for number, target in enumerate(("usds:application", "usds:tribe", "usds:tribe")):
            envelope = Envelope(f"{number}" * 4, NULL, (), origin, Content.of(b"{}"))
            self.successResultOf(self.store.commit(Accept(envelope, (), (Queued("a@b", target, "x", 0.0),))))
        self.assertEqual("ok", self.ask("status")["level"])
        self.running.embedded = False
        told = [each["text"] for each in self.ask("status")["problems"]]
        self.assertEqual([text[:10] for text in told], ["1 messages", "2 messages"])
        self.assertIn("--target 'usds:tribe'", told[1])

    def test_reload(self) -> None:
        """A reload tells its notes; a configuration with faults changes nothing, and each fault is told."""
        self.assertEqual({"notes": ["state changes only with a restart"]}, self.ask("reload"))
        self.running.fault = ConfigError("mailbridge.toml", (Fault("smtp[0].listen", "is missing"),))
        self.assertIn("smtp[0].listen: is missing", self.refused(Kind.FAILED, "reload"))

    def test_nothing_runs(self) -> None:
        """Without a running bridge there is no status and nothing to reload."""
        self.operations = Operations(self.store, self.directory, Table([], self.directory), self.pool,
                                     self.clock.seconds, lambda listener, client: False, lambda: 1)
        for command in ("status", "reload"):
            self.assertIn("not running", self.refused(Kind.FAILED, command))

    def test_wrong_arguments(self) -> None:
        """Unknown commands, missing, unknown and mistyped arguments are usage errors that name them."""
        for command, arguments, named in (
            ("user frob", {}, "user frob"), ("user add", {}, "name"), ("user add", {"name": "a"}, "password"),
            ("user add", {"name": 1, "password": "x"}, "name"), ("user list", {"all": True}, "all"),
            ("user add", {"name": "a", "password": "x", "keep_secret": "yes"}, "keep_secret"),
            ("user add", {"name": "a", "password": "x", "send_as": "b@c"}, "send_as"),
            ("user add", {"name": "a", "password": "x", "send_as": [1]}, "send_as"),
            ("user add", {"name": "a" * 5000, "password": "x"}, "name"),
        ):
            self.assertIn(named, self.refused(Kind.USAGE, command, **arguments))

    def test_store_fails(self) -> None:
        """A failing store is a failure to try again, and nothing was changed."""
        self.build(FailingStore(self.clock))
        self.assertIn("disk gone", self.refused(Kind.FAILED, "user add", name="bonnie", password="long enough"))
        self.assertEqual(People((), ()), self.successResultOf(self.store.people()))

    def test_busy(self) -> None:
        """While too many logins are being checked a password is not set, and the operator is told to try again."""
        self.pool.full = True
        self.assertIn("try again", self.refused(Kind.FAILED, "user add", name="bonnie", password="long enough"))
