"""What the tribe answers to each message, check by check, and where messages go."""

from __future__ import annotations

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce import usds
from mailbridge.oce.calls import Answer
from mailbridge.oce.embedded.deeds import APPLICATION_LANE, TRIBE_LANE, Refused, Send
from mailbridge.oce.embedded.settings import Coterie, OCESettings
from mailbridge.oce.embedded.tribe import NOTICE, understand
from mailbridge.oce.usds import OCE_OP, USDS, Adjunct, Dest, Source
from tests.oce.embedded.values import (
    APP_ID,
    APP_KEY,
    FRIENDS,
    HAROLD,
    KEY,
    MSG_KEY,
    SETTINGS,
    application,
    message,
    octets,
    tribe,
)


class UnderstandTests(SynchronousTestCase):
    """From octets to a message, or to the answer."""

    def test_what_is_no_message(self) -> None:
        """Octets that are no message get the code that says what is wrong with them."""
        for given_octets, number in (
            (b"", -101), (b" \r\n", -101), (b"[]", -102), (b"7", -102), (b"{", -102), (b"\xff", -102),
            (b"[" * 100_000, -102), (b'{"a":1,"a":2}', -102), (b'{"a":NaN}', -102),
            (b"{}", -7), (b'{"msgType":"other","Source":{}}', -7), (b'{"msgType":7,"Source":{}}', -7),
            (b'{"Func":"fauRegApp","Source":{}}', -7), (b'{"msgType":["qMsg"],"Source":{}}', -7),
            (b'{"msgType":"qMsg"}', -6), (b'{"msgType":"qMsg","Source":"harold"}', -6),
            (b'{"msgType":"qMsg","Source":{},"Summary":"' + b"x" * 165 + b'"}', -6),
            (b'{"msgType":"qMsg","Source":{},"Object":[{"Type":"a/b","Data":"?"}]}', -6),
        ):
            answer = understand(given_octets)
            self.assertIsInstance(answer, Answer, given_octets[:40])
            self.assertEqual(answer.num, number, given_octets[:40])  # type: ignore[union-attr]

    def test_largest(self) -> None:
        """What is longer than allowed is not read."""
        self.assertEqual(understand(b"{}" + b" " * 100, 50).num, -102)  # type: ignore[union-attr]
        many = understand(b'{"msgType":"qMsg","x":[' + b"[]," * 600_001 + b"1]}")
        self.assertIn("too many values", str(many.mesg))  # type: ignore[union-attr]
        commas = message(detail="," * usds.DETAIL, adjunct=Adjunct("," * usds.DETAIL))
        self.assertEqual(understand(octets(commas)), commas)

    def test_both_generations(self) -> None:
        """A message of the older form is a message."""
        self.assertEqual(understand(octets(message())), message())
        old = understand(b'{"Func":"qMsg","Source":{"Key":"K","Member":"a@b.c"},"Dest":{"Member":1},"Detail":"x"}')
        self.assertIsInstance(old, USDS)

    @settings(max_examples=150, deadline=None)
    @given(st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["qMsg", "oceOp", APP_KEY]),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
            st.sampled_from(["msgType", "Func", "Source", "Dest", "Member", "Group", "Coterie", "OCE", "AppKey",
                             "Adjunct", "Data", "Type", "Object", "Summary", KEY, FRIENDS.key]), inner, max_size=6),
        max_leaves=20))
    def test_anything(self, value: object) -> None:
        """Whatever comes, there is an answer or a deed."""
        from mailbridge.oce import strictjson

        try:
            written = strictjson.write({"msgType": "qMsg", "Source": usds.write(message())["Source"], "Summary": "x",
                                        **(value if isinstance(value, dict) else {"Dest": value})})
        except ValueError:
            return
        understood = understand(written)
        if isinstance(understood, USDS):
            for sender in (None, FRIENDS):
                self.assertNotIsInstance(tribe().judge(understood, sender), type(None))


class CheckTests(SynchronousTestCase):
    """The order of the checks, one row for each code."""

    def test_codes(self) -> None:
        """Each message that may not be is answered with its code."""
        here = tribe()
        for words, given_message, number in (
            ("no key", message(source=evolve(HAROLD, app_key="")), -5),
            ("another key", message(source=evolve(HAROLD, app_key="x")), -10),
            ("another application's key", message(source=evolve(HAROLD, app_id="SMTP:other")), -2),
            ("sender unknown", message(source=evolve(HAROLD, member="nobody")), -3),
            ("sender unknown, as mail has it", message(source=evolve(HAROLD, member="nobody@oce")), -3),
            ("sender missing", message(source=evolve(HAROLD, member="")), -3),
            ("coterie of the sender unknown", message(source=evolve(HAROLD, coterie="9")), -4),
            ("nothing in it", message(summary="", detail=""), -101),
            ("a key that is no text to print", message(msg_key="a\nb"), -6),
            ("no destination", message(None), -15),
            ("an empty destination", message(Dest()), -15),
            ("an OCE that nobody knows", message(Dest(oce="FFFF", member="edgar")), -1),
            ("several, one of them unknown", message(Dest(oce=f"{FRIENDS.key},FFFF")), -1),
            ("no name in the object", message(Dest(oce={" ": {}})), -1),
            ("a member that nobody knows", message(Dest(member="nobody")), -3),
            ("a coterie that nobody knows", message(Dest(coterie="9")), -4),
            ("a coterie beside a member", message(Dest(coterie="9", member="bonnie")), -4),
            ("a group that nobody knows", message(Dest(coterie="Friends", group="Enemies")), -16),
            ("a group without a coterie", message(Dest(group="InnerCircle")), -16),
            ("a group elsewhere", message(Dest(oce=FRIENDS.key, coterie="1", group="a")), -16),
            ("groups elsewhere", message(Dest(oce=FRIENDS.key, coterie={"1": ["a"]})), -16),
            ("groups that are none", message(Dest(coterie={"Friends": 7})), -6),
            ("our own OCE and nobody in it", message(Dest(oce=KEY)), -15),
            ("an inside that is none", message(Dest(oce={KEY: 7})), -6),
            ("an inside with numbers", message(Dest(oce={KEY: {"Member": 7}})), -6),
            ("far too many tribes", message(Dest(oce=",".join(map(str, range(21))))), -9),
        ):
            answer = here.judge(given_message)
            self.assertIsInstance(answer, Answer, words)
            self.assertEqual((answer.num, answer.succeeded), (number, False), words)  # type: ignore[union-attr]

    def test_order(self) -> None:
        """The key is looked at before the member, the approval before the member, the sender before the content."""
        nobody = evolve(HAROLD, member="nobody")
        for wrong, here, number in (
            (message(None, evolve(nobody, app_key="x"), summary="", detail=""), tribe(), -10),
            (message(None, nobody, summary="", detail=""), tribe(application(approved=False)), -8),
            (message(None, nobody, summary="", detail=""), tribe(), -3),
            (message(source=evolve(HAROLD, member="edgar@friends.oce")), tribe(), -3),
            (message(None, summary="", detail=""), tribe(), -101),
        ):
            self.assertEqual(here.judge(wrong).num, number)  # type: ignore[union-attr]

    def test_approval(self) -> None:
        """Nobody can use an application before it is approved, and what is for it waits with the sender."""
        here = tribe(application(approved=False))
        self.assertEqual(here.judge(message()).num, -8)  # type: ignore[union-attr]
        self.assertEqual(here.judge(message(), FRIENDS).num, -8)  # type: ignore[union-attr]

    def test_one_member(self) -> None:
        """An application for one member neither sends for others nor gets what is theirs."""
        here = tribe(application(multiuser=False))
        self.assertEqual(here.judge(message(source=evolve(HAROLD, member="bonnie"))).num, -9)  # type: ignore[union-attr]
        self.assertEqual(here.judge(message()).num, -15)  # type: ignore[union-attr]
        self.assertIsInstance(here.judge(message(Dest(member="harold"))), Send)

    def test_claimed(self) -> None:
        """A message says which tribe it comes from, in the newer or the older form; that must be proven."""
        here = tribe()
        self.assertIsNone(here.claimed(HAROLD))
        self.assertIsNone(here.claimed(evolve(HAROLD, oce=KEY.lower())))
        self.assertEqual(here.claimed(Source("edgar", oce=FRIENDS.key.lower())), FRIENDS)
        self.assertEqual(here.claimed(Source("edgar", app_key=FRIENDS.key)), FRIENDS)
        with self.assertRaises(Refused) as caught:
            here.claimed(Source("edgar", oce="FFFF"))
        self.assertEqual(caught.exception.answer.num, -1)


class DestinationTests(SynchronousTestCase):
    """Where a message goes."""

    def copies(self, given_message: USDS, sender: object = None, **changes: object) -> list[tuple[str, str, str]]:
        """(lane, destination, recipient) of each copy."""
        deed = tribe(**changes).judge(given_message, sender)  # type: ignore[arg-type]
        assert isinstance(deed, Send), deed
        return [(copy.target, copy.destination, copy.recipient) for copy in deed.copies]

    def test_member(self) -> None:
        """A message for a member waits for the application that brings it; no secret travels with it."""
        for name in ("bonnie", "Bonnie", "bonnie@oce", "bonnie@example.org"):
            deed = tribe().judge(message(Dest(member=name), extra={"Cipher": "none"}))
            assert isinstance(deed, Send)
            (copy,) = deed.copies
            self.assertEqual((copy.target, copy.destination, copy.recipient, copy.sender),
                             (APPLICATION_LANE, "SMTP:mailbridge/harold", "bonnie@oce", "harold@oce"))
            self.assertEqual((copy.message.dest, copy.message.msg_key), (Dest(member="bonnie"), MSG_KEY))
            self.assertEqual(copy.message.source, Source("harold", "1", APP_ID))
            self.assertEqual(copy.message.extra, {"Cipher": "none"})
            self.assertNotIn(APP_KEY.encode(), octets(copy.message))

    def test_mail_from_outside(self) -> None:
        """An application may bring mail of somebody who is no member."""
        deed = tribe().judge(message(source=evolve(HAROLD, member="someone@example.com")))
        assert isinstance(deed, Send)
        self.assertEqual(deed.copies[0].sender, "someone@example.com")

    def test_our_own_key(self) -> None:
        """Our own key as destination is here, in both of its forms."""
        expected = [(APPLICATION_LANE, "SMTP:mailbridge/harold", "bonnie@oce")]
        self.assertEqual(self.copies(message(Dest(oce=KEY.lower(), member="bonnie"))), expected)
        self.assertEqual(self.copies(message(Dest(oce={KEY: {"Member": "bonnie"}}))), expected)

    def test_another_tribe(self) -> None:
        """A message for another tribe waits to be sent on, under our key."""
        deed = tribe().judge(message(Dest(oce=FRIENDS.key.lower(), member="edgar")))
        assert isinstance(deed, Send)
        (copy,) = deed.copies
        self.assertEqual((copy.target, copy.destination, copy.recipient), (TRIBE_LANE, "friends", "edgar@friends.oce"))
        self.assertEqual(copy.message.source, Source("harold", "1", APP_ID, oce=KEY))
        self.assertEqual(copy.message.dest, Dest(oce=FRIENDS.key, member="edgar"))

    def test_several_tribes(self) -> None:
        """Several OCEs are several copies; in the object each has its own members."""
        several = message(Dest(oce={FRIENDS.key: {"Member": "edgar"}, KEY: {"Member": "bonnie"}}))
        self.assertEqual([recipient for _, _, recipient in self.copies(several)], ["edgar@friends.oce", "bonnie@oce"])
        both = message(Dest(oce=f"{FRIENDS.key}, {SETTINGS.tribes[1].key}", member="ignored"))
        self.assertEqual([tribe for _, tribe, _ in self.copies(both)], ["friends", "strangers"])

    def test_coteries(self) -> None:
        """A coterie is all of its members but the sender; a group is a part of it; each has a key of his own."""
        for dest, expected in (
            (Dest(coterie="1"), ["bonnie", "edgar"]),
            (Dest(coterie="Friends"), ["bonnie", "edgar"]),
            (Dest(coterie="Friends", group="innercircle"), ["bonnie"]),
            (Dest(coterie="Friends,1", group="ignored"), ["bonnie", "edgar"]),
            (Dest(coterie={"Friends": ["Outer", "InnerCircle"]}), ["edgar", "bonnie"]),
            (Dest(coterie={"1": []}), ["bonnie", "edgar"]),
        ):
            deed = tribe().judge(message(dest))
            assert isinstance(deed, Send), deed
            self.assertEqual([copy.recipient.removesuffix("@oce") for copy in deed.copies], expected, dest)
            keys = {copy.message.msg_key for copy in deed.copies}
            self.assertEqual((len(keys), len({copy.seen for copy in deed.copies})), (len(expected), len(expected)))
            self.assertNotIn(MSG_KEY, keys)

    def test_nobody_left(self) -> None:
        """A group of nobody but the sender is nobody."""
        lonely = evolve(SETTINGS, coteries={"a": Coterie({"b": ("harold",)})})
        answer = tribe(settings=lonely).judge(message(Dest(coterie="a")))
        self.assertEqual(answer.num, -15)  # type: ignore[union-attr]

    def test_default_application(self) -> None:
        """What an application sends comes to the same one, else to one of its group, and to his own before others."""
        bridge = application()
        hers = application(number=2, member="bonnie", digest="2")
        group = application(number=3, app_id="SMTP:other", digest="3")
        blog = application(number=4, app_id="Blog:x", digest="4")
        for others, expected in (
            ((hers,), "SMTP:mailbridge/bonnie"), ((group, blog), "SMTP:mailbridge/harold"),
            ((evolve(hers, approved=False),), "SMTP:mailbridge/harold"),
        ):
            deed = tribe(bridge, *others).judge(message())
            assert isinstance(deed, Send)
            self.assertEqual(deed.copies[0].destination, expected)
        from_abroad = message(source=Source("edgar", app_id="SMTP:fauSMTP", oce=FRIENDS.key))
        deed = tribe(blog, group).judge(from_abroad, FRIENDS)
        assert isinstance(deed, Send)
        self.assertEqual(deed.copies[0].destination, "SMTP:other/harold")

    def test_without_a_key(self) -> None:
        """A message without a key gets one, and cannot be told from a repeat."""
        deed = tribe().judge(message(msg_key=""))
        assert isinstance(deed, Send)
        self.assertEqual((deed.copies[0].message.msg_key, deed.copies[0].seen), ("07" * 32, None))

    def test_too_many_members(self) -> None:
        """A message to thousands is refused, not half delivered."""
        from mailbridge.oce.embedded.registry import Registry
        from mailbridge.oce.embedded.tribe import Tribe
        from mailbridge.routing.directory import Directory
        from tests.oce.embedded.values import people

        directory = Directory(["example.org"])
        directory.replace(people("harold", *(f"m{number}" for number in range(1001))))
        here = Tribe(KEY, OCESettings(), directory, Registry([application()]), bytes)
        self.assertEqual(here.judge(message(Dest(coterie="1"))).num, -9)  # type: ignore[union-attr]


class AbroadTests(SynchronousTestCase):
    """Messages of another tribe, which has proven itself."""

    def from_friends(self, **fields: object) -> USDS:
        """A message as their OCE sends it."""
        return message(source=Source("edgar", "1", APP_ID, oce=FRIENDS.key), **fields)  # type: ignore[arg-type]

    def test_taken(self) -> None:
        """It waits for our member, under the key of its tribe; keys of one tribe are not those of another."""
        deed = tribe().judge(self.from_friends(), FRIENDS)
        assert isinstance(deed, Send)
        (copy,) = deed.copies
        self.assertEqual(copy.message.source, Source("edgar", "1", APP_ID, oce=FRIENDS.key))
        self.assertEqual((copy.sender, copy.recipient), ("edgar@friends.oce", "bonnie@oce"))
        local = tribe().judge(message())
        assert isinstance(local, Send)
        self.assertNotEqual(copy.seen, local.copies[0].seen)

    def test_refused(self) -> None:
        """It is for members here, by name or coterie, and for nothing else."""
        for words, sent, number in (
            ("passing on", self.from_friends(dest=Dest(oce=SETTINGS.tribes[1].key, member="x")), -1),
            ("back again", self.from_friends(dest=Dest(oce=FRIENDS.key, member="x")), -1),
            ("a group", self.from_friends(dest=Dest(coterie="Friends", group="Outer")), -16),
            ("groups", self.from_friends(dest=Dest(coterie={"Friends": ["Outer"]})), -16),
            ("nobody", self.from_friends(dest=Dest(member="nobody")), -3),
            ("no sender", message(source=Source(oce=FRIENDS.key)), -3),
            ("a call", evolve(self.from_friends(), msg_type=OCE_OP, adjunct=Adjunct('{"Func":"osaInvite"}')), -100),
            ("nothing", self.from_friends(summary="", detail=""), -101),
            ("no key, so that a copy of the request would be a message again", self.from_friends(msg_key=""), -6),
        ):
            self.assertEqual(tribe().judge(sent, FRIENDS).num, number, words)  # type: ignore[union-attr]
        self.assertIsInstance(tribe().judge(self.from_friends(dest=Dest(coterie="Friends")), FRIENDS), Send)


class NoticeTests(SynchronousTestCase):
    """What a sender is told of a message that could not be delivered."""

    def test_told(self) -> None:
        """The sender hears to whom and why, once; of what was no member's, and of notices, nobody hears."""
        here = tribe()
        sent = message(source=Source("harold", "1", APP_ID, oce=KEY))
        copy = here.notice(sent, "edgar@friends.oce", "-3 INVMBR: there is no such member")
        assert copy is not None
        self.assertEqual((copy.recipient, copy.destination), ("harold@oce", "SMTP:mailbridge/harold"))
        self.assertIn("edgar@friends.oce", copy.message.detail)
        self.assertIn("no such member", copy.message.detail)
        self.assertEqual(usds.read(usds.write(copy.message)).summary, "Not delivered: Hi")
        self.assertIsNone(here.notice(evolve(sent, adjunct=Adjunct("", NOTICE)), "x", "y"))
        self.assertIsNone(here.notice(evolve(sent, source=Source("a@example.com")), "x", "y"))
        self.assertIsNone(tribe(application(approved=False)).notice(sent, "x", "y"))
