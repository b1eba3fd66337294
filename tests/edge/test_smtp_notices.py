"""Delivery status notices as a client of the SMTP edge sees them (RFC 3461)."""

from __future__ import annotations

import itertools
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.errors import StoreError, StoreFull
from mailbridge.queue.bounce import Bounce, BounceSettings
from mailbridge.routing.route import Lanes, WayOut
from mailbridge.routing.table import Table
from mailbridge.store.changes import NO_WISHES, Accept, Queued, Wishes
from tests.edge.smtp_world import TRUSTED, Client, World

CONTENT = b"Subject: hello\r\n\r\nbody\r\n.\r\n"


class NoticeTests(SynchronousTestCase):
    """A bridge with users bonnie and clyde and a default relay."""

    def setUp(self) -> None:
        self.world = world = World()
        world.intake.router = table = Table(
            (), world.directory, (), [WayOut("relay:office", Lanes.RECIPIENT, default=True)]
        )
        numbers = itertools.count(1)
        world.intake.bounce = Bounce(
            world.store, table, BounceSettings("bridge.example.org"), world.clock,
            lambda size: (next(numbers) << 32).to_bytes(size, "big"),
        )
        self.commits: list[tuple[Any, ...]] = []
        commit = world.store.commit

        def counted(*changes: object) -> Deferred[tuple[object, ...]]:
            self.commits.append(changes)
            return commit(*changes)

        world.store.commit = counted  # type: ignore[method-assign]

    def send(self, *recipients: bytes, sender: bytes = b"<bonnie@example.org>", peer: str = TRUSTED) -> bytes:
        client: Client = self.world.connect(peer)
        opening = b"EHLO x\r\nMAIL FROM:" + sender + b"\r\n"
        answers = client.codes(opening + b"".join(b"RCPT TO:" + each + b"\r\n" for each in recipients) + b"DATA\r\n")
        self.assertEqual(answers, [250] * (2 + len(recipients)) + [354])
        return client.say(CONTENT)

    def test_success_for_a_maildrop(self) -> None:
        """Mail with NOTIFY=SUCCESS for a user is told of in the very commit that accepts it."""
        answer = self.send(b"<clyde@example.org> NOTIFY=SUCCESS ORCPT=rfc822;c@old.example",
                           sender=b"<bonnie@example.org> ENVID=QQ1")
        self.assertTrue(answer.startswith(b"250"), answer)
        [(mail, notice)] = self.commits
        self.assertEqual((mail.deposits, notice.deposits), ((2,), (1,)))
        [octets] = self.world.mail("bonnie")
        for line in (b"Original-Envelope-Id: QQ1", b"Original-Recipient: rfc822;c@old.example", b"Action: delivered",
                     b"Final-Recipient: rfc822; clyde@example.org", b"Subject: Your message was delivered"):
            self.assertIn(b"\r\n" + line + b"\r\n", octets)

    def test_success_for_an_alias(self) -> None:
        """An alias of several users is told of as a list; each of them gets one copy."""
        self.send(b"<sales@example.org> NOTIFY=SUCCESS", b"<clyde@example.org>", sender=b"<bonnie@example.org>")
        [(_, notice)] = self.commits
        self.assertIn(b"\r\nAction: expanded\r\n", notice.envelope.content.octets)
        self.assertEqual(notice.envelope.content.octets.count(b"Final-Recipient"), 1)

    def test_nothing_asked_for(self) -> None:
        """Mail without wishes, with other wishes, and from nobody makes no notice: one change, one commit."""
        for sender, recipient in ((b"<bonnie@example.org>", b"<clyde@example.org>"),
                                  (b"<bonnie@example.org>", b"<clyde@example.org> NOTIFY=FAILURE,DELAY"),
                                  (b"<bonnie@example.org>", b"<clyde@example.org> NOTIFY=NEVER"),
                                  (b"<>", b"<clyde@example.org> NOTIFY=SUCCESS")):
            self.commits.clear()
            self.send(recipient, sender=sender)
            self.assertEqual([len(changes) for changes in self.commits], [1], recipient)

    def test_wishes_travel_to_the_queue(self) -> None:
        """What the sender wants to hear of a recipient elsewhere waits with the delivery; no success is told yet."""
        self.send(b"<a@x.invalid> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a@old", b"<b@x.invalid>",
                  b"<a@x.invalid> NOTIFY=NEVER", sender=b"<bonnie@example.org> RET=HDRS ENVID=e+2B1")
        [(accept,)] = self.commits
        now = self.world.clock.seconds()
        self.assertEqual(accept.deliveries, (
            Queued("a@x.invalid", "relay:office", "x.invalid", now, Wishes(("SUCCESS", "DELAY"), "rfc822;a@old")),
            Queued("b@x.invalid", "relay:office", "x.invalid", now, NO_WISHES),
        ))
        self.assertEqual((accept.envelope.ret, accept.envelope.envid), ("HDRS", "e+1"))
        [message] = self.world.store.messages([1]).values()
        self.assertEqual((message.declared.ret, message.declared.envid), ("HDRS", "e+1"))

    def test_notice_that_cannot_be_made(self) -> None:
        """When the notice cannot be written the message is not accepted either: the client tries both again."""
        def full(envelope: Any, recipients: Any) -> Deferred[Accept | None]:
            return fail(StoreFull("no room"))

        assert self.world.intake.bounce is not None
        self.world.intake.bounce.arrived = full  # type: ignore[method-assign,assignment]
        self.assertTrue(self.send(b"<clyde@example.org> NOTIFY=SUCCESS").startswith(b"452 4.3.1"))
        self.assertEqual((self.commits, self.world.mail("clyde"), self.world.store.aborted), ([], [], 1))
        self.assertEqual(self.flushLoggedErrors(StoreError), [])
