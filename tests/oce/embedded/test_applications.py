"""Calls of applications: registration, values, waiting messages, new members."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce.calls import Answer
from mailbridge.oce.embedded.deeds import Acknowledge, AskForMember, Pull, Register
from mailbridge.oce.embedded.registry import DEFAULT, Registry, new_key, parse
from mailbridge.oce.usds import OCE_OP, USDS, Adjunct, Source
from tests.oce.embedded.values import APP_ID, APP_KEY, HAROLD, SETTINGS, application, asked, tribe

NEW = Source("harold", "1", APP_ID)
SAID = {"UserName": "Harold", "UserPass": "secret", "AppName": "mailbridge", "AppId": APP_ID}


class RegistrationTests(SynchronousTestCase):
    """osaAppReg and its older form."""

    def test_register(self) -> None:
        """Registration needs no key; who it is is checked with the password, which is shown nowhere."""
        values = [{"TechName": "catalog", "DispName": "Catalog", "DataType": "Str", "Length": 42, "Value": "Spring"},
                  {"TechName": "n", "Value": 7}]
        deed = tribe().judge(asked("osaAppReg", NEW, **SAID, Multiuser=0, AppVals=values))
        self.assertEqual(deed, Register("harold", "secret", APP_ID, "mailbridge", False,
                                        {"catalog": "Spring", "n": "7"}))
        self.assertNotIn("secret", repr(deed))

    def test_older_form(self) -> None:
        """fauRegApp registers too; without an AppId it is the one of the source, or one of the name."""
        said = {"AppName": "fau Email", "UserName": "harold", "UserPass": "x"}
        for source, app_id in ((NEW, APP_ID), (Source(), ":fau Email")):
            deed = tribe().judge(asked("fauRegApp", source, **said))
            assert isinstance(deed, Register)
            self.assertEqual((deed.app_id, deed.multiuser), (app_id, True))

    def test_refused(self) -> None:
        """What cannot be registered is answered with its code."""
        registrars = tribe(settings=evolve(SETTINGS, registrars=("Bonnie",)))
        for here, changes, number in (
            (tribe(), {"UserName": "nobody"}, -3), (tribe(), {"UserName": None}, -3), (tribe(), {"UserName": 7}, -6),
            (tribe(), {"AppId": "mailbridge"}, -2), (tribe(), {"AppId": "a:" + "b" * 200}, -2),
            (tribe(), {"AppId": "a:b/harold"}, -2),
            (tribe(), {"AppVals": 7}, -6), (tribe(), {"AppVals": [{}] * 101}, -6), (tribe(), {"AppVals": [{}]}, -6),
            (tribe(), {"UserPass": "x" * 2000}, -6), (registrars, {}, -9),
        ):
            answer = here.judge(asked("osaAppReg", NEW, **{**SAID, **changes}))
            self.assertIsInstance(answer, Answer, changes)
            self.assertEqual(answer.num, number, changes)  # type: ignore[union-attr]
        self.assertIsInstance(registrars.judge(asked("osaAppReg", NEW, **{**SAID, "UserName": "bonnie"})), Register)


class CallTests(SynchronousTestCase):
    """The calls of an application that has its key."""

    def answer(self, func: str, source: Source = HAROLD, **arguments: Any) -> Answer:
        """The answer to a call."""
        found = tribe().judge(asked(func, source, **arguments))
        assert isinstance(found, Answer), found
        return found

    def test_refused(self) -> None:
        """The key comes before the call, the call before its arguments."""
        for words, found, number in (
            ("no key", self.answer("osaAppPullMsg", NEW), -5),
            ("no key, unknown function", self.answer("nonsense", NEW), -5),
            ("unknown function", self.answer("nonsense"), -100),
            ("invitation", self.answer("osaInvite"), -100),
            ("nobody's", self.answer("osaAppPullMsg", evolve(HAROLD, member="nobody")), -3),
            ("none", self.answer("osaAppPullMsg", Max=0), -6),
            ("half a message", self.answer("osaAppPullMsg", Max=1.5), -6),
            ("yes", self.answer("osaAppPullMsg", Max=True), -6),
            ("no keys", self.answer("osaAppAckMsg"), -6),
            ("keys that are none", self.answer("osaAppAckMsg", MsgKeys=[7]), -6),
            ("too many", self.answer("osaAppAckMsg", MsgKeys=["a"] * 5001), -6),
            ("no name", self.answer("osaMemberReg"), -6),
            ("a member already", self.answer("osaMemberReg", ReqLogin="Bonnie"), -9),
        ):
            self.assertEqual(found.num, number, words)
        for adjunct in (None, Adjunct("{}", "oce/other"), Adjunct("no JSON", "oce/func"), Adjunct("[]", "oce/func"),
                        Adjunct('{"Func":7}', "oce/func")):
            found = tribe().judge(USDS(OCE_OP, HAROLD, adjunct=adjunct))
            self.assertEqual(found.num, -6)  # type: ignore[union-attr]

    def test_pull(self) -> None:
        """A pull asks for so many, fifty without a number, a thousand at most; the number may be text."""
        for said, most in (({}, 50), ({"Max": 7}, 7), ({"Max": "7"}, 7), ({"Max": 10**9}, 1000)):
            deed = tribe().judge(asked("osaAppPullMsg", **said))
            self.assertEqual(deed, Pull(application(), most))

    def test_acknowledge(self) -> None:
        """Keys are acknowledged, each once."""
        deed = tribe().judge(asked("osaAppAckMsg", MsgKeys=["A", "B", "A"]))
        self.assertEqual(deed, Acknowledge(application(), ("A", "B")))

    def test_values(self) -> None:
        """A member has his own values, or those of Default; an application without values has none."""
        self.assertEqual(self.answer("osaAppPullCfg").num, 5)
        here = tribe(application(values={DEFAULT: {"Catalog": "Spring"}, "bonnie": {"Catalog": "Fall"}}))
        for func in ("osaAppPullCfg", "fauGetAppData"):
            for member, whose, value in (("harold", DEFAULT, "Spring"), ("Bonnie", "bonnie", "Fall")):
                found = here.judge(asked(func, evolve(HAROLD, member=member)))
                self.assertEqual((found.num, found.mesg), (7, [  # type: ignore[union-attr]
                    {"Field": "Catalog", "Value": value, "Member": whose, "AppKey": APP_KEY}]))

    def test_new_member(self) -> None:
        """A wish to become a member is kept for the operator, without the password."""
        deed = tribe().judge(asked("osaMemberReg", ReqLogin="Clyde", ReqPass="SomePass", FirstName="Clyde"))
        assert isinstance(deed, AskForMember)
        self.assertEqual(deed.login, "clyde")
        self.assertIn('"FirstName":"Clyde"', deed.request)
        self.assertNotIn("SomePass", deed.request)


class RegistryTests(SynchronousTestCase):
    """Applications by key and by name."""

    def test_found(self) -> None:
        """An application is known by its key and its names; after a new key the old one is void."""
        registry = Registry([application()])
        self.assertEqual(registry.by_key(APP_KEY), application())
        self.assertIsNone(registry.by_key("other"))
        self.assertEqual(registry.find("harold", APP_ID), application())
        self.assertIsNone(registry.find("bonnie", APP_ID))
        for name in ("1", APP_ID, f"{APP_ID}/harold"):
            self.assertEqual(registry.named(name), (application(),))
        self.assertEqual(registry.named("other"), ())
        registry.put(application(digest="new"))
        self.assertIsNone(registry.by_key(APP_KEY))
        self.assertEqual(len(registry), 1)

    def test_text(self) -> None:
        """What the store keeps is the application, and not its key."""
        kept = application(values={DEFAULT: {"a": "b"}})
        self.assertEqual(parse(kept.text()), kept)
        self.assertNotIn(APP_KEY, kept.text())
        self.assertNotIn(kept.digest, repr(kept))

    def test_new_key(self) -> None:
        """A key has 36 characters, as the wiki's has."""
        self.assertRegex(new_key(bytes(range(36))), r"^[A-Z0-9+?!:.*=-]{36}$")
