"""An OCE in a process of its own, over a real socket and its control socket."""

from __future__ import annotations

import shutil
from typing import Any

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from mailbridge.accounts.passwords import make_credentials
from mailbridge.errors import StartError
from mailbridge.oce import strictjson, usds
from mailbridge.oce.calls import Answer, items, read_answer
from mailbridge.oce.embedded.house import OCEPlan, TribePlan
from mailbridge.oce.embedded.settings import OCESettings, RemoteTribe
from mailbridge.oce.exchange import Exchange, Place
from mailbridge.oce.usds import USDS, Dest, Source
from mailbridge.ocealone import AlonePlan, OCEAlone
from mailbridge.store.changes import AddUser
from tests.oce.embedded.values import APP_ID, asked, message, octets
from tests.running import short_folder


class OCEAloneTests(TestCase):
    """`OCEAlone`."""

    def make(self, **changes: Any) -> OCEAlone:
        """One in a new folder."""
        folder = short_folder()
        self.addCleanup(shutil.rmtree, folder)
        plan = OCEPlan("tcp:0:interface=127.0.0.1", OCESettings(), **changes)
        return OCEAlone(AlonePlan(plan, folder / "state", "oce.example.org", min_free=0), reactor, self.fail)

    async def test_whole_way(self) -> None:
        """Members of its store register an application, which the operator approves; then messages go through it."""
        alone = self.make()
        alone.startService()
        line: Any = None
        try:
            await alone.store.commit(*(AddUser(name, make_credentials("secret")) for name in ("harold", "bonnie")))
            (listener,) = alone.listeners.all
            assert listener.port is not None
            address: Any = listener.port.getHost()
            line = Exchange(reactor, Place(f"http://127.0.0.1:{address.port}/"))

            async def ask(said: USDS) -> Answer:
                return read_answer(strictjson.read(await line.exchange(octets(said))))

            said = {"UserName": "harold", "UserPass": "secret", "AppId": APP_ID, "AppName": "mailbridge"}
            wrong = asked("osaAppReg", Source(), **{**said, "UserPass": "wrong"})
            answer = await ask(wrong)
            for _ in range(1000):
                if answer.num not in (0, -3):  # it has begun, and has heard of its members
                    break
                answer = await ask(wrong)
            self.assertEqual(answer.num, -11)
            (registered,) = items(await ask(asked("osaAppReg", Source(), **said)))
            source = Source("harold", "1", APP_ID, registered["AppKey"])
            self.assertEqual((await ask(message(source=source))).num, -8)
            operations = alone.operations
            (told,) = await operations.run("oce applications", {})
            self.assertEqual((told["app_id"], told["approved"]), (APP_ID, False))
            self.assertNotIn(registered["AppKey"], str(told))
            (told,) = await operations.run("oce approve", {"application": APP_ID})
            self.assertTrue(told["approved"])
            self.assertEqual((await ask(message(source=source))).num, 1)
            (got,) = items(await ask(asked("osaAppPullMsg", source)))
            self.assertEqual(usds.read(got).dest, Dest(member="bonnie"))
            (value,) = await operations.run("oce enrol", {"application": "1", "member": "Bonnie", "values": ["a=b"]})
            self.assertEqual(value["values"], {"bonnie": {"a": "b"}})
            await ask(asked("osaMemberReg", source, ReqLogin="clyde"))
            self.assertEqual([each["Login"] for each in await operations.run("oce requests", {})], ["clyde"])
            await operations.run("oce forget", {"login": "clyde"})
            self.assertEqual(await operations.run("oce requests", {}), [])
            self.assertEqual((await operations.run("status", {}))["hostname"], "oce.example.org")
        finally:
            if line is not None:
                await line.close()
            await alone.stopService()

    def test_wrong_url(self) -> None:
        """A tribe that would be reached in clear text is no start, and the store is given back."""
        alone = self.make(tribes=(TribePlan(RemoteTribe("friends", "BB", b"s"), Place("http://192.0.2.1/")),))
        with self.assertRaises(StartError) as caught:
            alone.startService()
        self.assertIn("oce.tribes.friends.url", str(caught.exception))
