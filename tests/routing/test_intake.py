"""The intake: from a transaction to one commit."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from mailbridge import reply
from mailbridge.address import NULL, Address, parse_mailbox
from mailbridge.envelope import NO_PARAMETERS, MailParameters, Origin
from mailbridge.errors import StoreError, StoreFull
from mailbridge.interfaces import IIntake, ITransaction
from mailbridge.received import return_path
from mailbridge.reply import Reply
from mailbridge.routing.intake import SubmissionRules, Transaction
from mailbridge.routing.rules import Rule
from mailbridge.store.changes import Accept, People, Queued
from tests.edge.smtp_world import World

STRANGER = Origin("smtp[0]", "192.0.2.7", "laptop", None, None, 1_763_730_000.0, "ESMTP")
TRUSTED = Origin("smtp[0]", "198.51.100.7", "printer", None, None, 1_763_730_000.0, "SMTP", True)
BONNIE = Origin("smtp[0]", "192.0.2.7", "laptop", "bonnie", "TLSv1.3 X", 1_763_730_000.0, "ESMTPSA", True)
SENDER = parse_mailbox(b"a@elsewhere.example")
RULES = SubmissionRules(add_headers=True)


class IntakeTests(SynchronousTestCase):
    """Messages by hand."""

    def begin(self, world: World, origin: Origin = STRANGER, sender: Address = SENDER,
              declared: MailParameters = NO_PARAMETERS) -> Any:
        return world.intake.begin(sender, origin, declared)

    def send(self, world: World, content: bytes = b"Subject: x\r\n\r\nbody\r\n", origin: Origin = STRANGER,
             sender: Address = SENDER, recipients: tuple[bytes, ...] = (b"bonnie@example.org",)) -> Any:
        transaction = self.begin(world, origin, sender)
        for recipient in recipients:
            answer = transaction.recipient(parse_mailbox(recipient))
            self.assertTrue(answer.is_positive, answer)
        self.assertIsNone(transaction.data())
        transaction.write(content)
        answer = transaction.finish()
        return self.successResultOf(answer) if isinstance(answer, Deferred) else answer

    def accepted(self, world: World) -> list[Accept]:
        """The changes that the world's store will be asked for."""
        asked: list[Accept] = []
        commit = world.store.commit
        world.store.commit = lambda *changes: asked.extend(changes) or commit(*changes)  # type: ignore
        return asked

    def test_interfaces(self) -> None:
        """Intake and transaction keep what the seams promise."""
        world = World()
        verifyObject(IIntake, world.intake)
        verifyObject(ITransaction, self.begin(world))

    def test_one_commit(self) -> None:
        """A message is one Accept: envelope, deposits once each, and the size that POP3 will tell."""
        world = World()
        asked = self.accepted(world)
        answer = self.send(world, recipients=(b"sales@example.org", b"bonnie@example.org"))
        [accept] = asked
        envelope = accept.envelope
        self.assertEqual(answer, Reply(250, "2.0.0", f"Stored as {envelope.queue_id}"))
        self.assertEqual((envelope.sender, envelope.origin), (SENDER, STRANGER))
        self.assertEqual([each.text for each in envelope.recipients], ["sales@example.org", "bonnie@example.org"])
        self.assertEqual((accept.deposits, accept.deliveries), ((1, 2), ()))
        self.assertEqual(accept.maildrop_size, len(return_path(SENDER.text)) + envelope.content.size)

    def test_no_final_newline(self) -> None:
        """A message without CR LF at its end is kept so, and its size in the maildrop counts the one to come."""
        world = World()
        asked = self.accepted(world)
        self.send(world, b"Subject: x\r\n\r\nbody")
        self.assertFalse(asked[0].envelope.content.ends_in_newline)
        self.assertTrue(world.mail("bonnie")[0].endswith(b"\r\n\r\nbody"))
        self.assertEqual(asked[0].maildrop_size, len(return_path(SENDER.text)) + asked[0].envelope.content.size + 2)

    def test_queued(self) -> None:
        """What goes out is queued once for each recipient, due now; what stays is deposited."""
        rule = Rule.make("route[0]", "relay:office", r".*@elsewhere\.example")
        world = World(routes=(rule,), targets=("relay:office",))
        asked = self.accepted(world)
        self.send(world, origin=TRUSTED, recipients=(b"x@elsewhere.example", b"y@elsewhere.example",
                                                     b"x@Elsewhere.Example", b"clyde@example.org"))
        self.assertEqual(asked[0].deposits, (2,))
        now = world.clock.seconds()
        self.assertEqual(asked[0].deliveries, (Queued("x@elsewhere.example", "relay:office", "", now),
                                               Queued("y@elsewhere.example", "relay:office", "", now)))
        transaction = self.begin(world, STRANGER)
        self.assertEqual(transaction.recipient(parse_mailbox(b"x@elsewhere.example")), reply.NO_RELAYING)

    def test_checked_by_the_target(self) -> None:
        """A target may refuse content for the only recipient before the reply; for several each has his own end."""
        refusal = Reply(552, "5.3.4", "Too large for this way out")
        answers: list[Any] = [refusal, succeed(refusal), None, succeed(None), fail(ValueError("broken"))]
        for answer, code in zip(answers, (552, 552, 250, 250, 250), strict=True):
            world = World(routes=(Rule.make("route[0]", "relay:office", ".*"),), targets=("relay:office",))
            asked: list[Any] = []
            check: Any = lambda *what, asked=asked, answer=answer: asked.append(what) or answer  # noqa: E731
            world.intake.checks = {"relay:office": check}
            changes = self.accepted(world)
            self.assertEqual(self.send(world, origin=TRUSTED).code, code)
            ((recipient, content),) = asked
            self.assertEqual((recipient.text, content.octets.endswith(b"body\r\n")), ("bonnie@example.org", True))
            self.assertEqual((len(changes), world.store.aborted), (1, 0) if code == 250 else (0, 1))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        world.intake.checks = {"relay:office": lambda recipient, content: refusal}
        for others in (b"clyde@example.org", b"bonnie@EXAMPLE.org"):
            both = (b"bonnie@example.org", others)
            self.assertEqual(self.send(world, origin=TRUSTED, recipients=both).code, 250)

    def test_declared(self) -> None:
        """8BITMIME and SMTPUTF8 go with the message; a size there is no room for is refused at once."""
        world = World()
        asked = self.accepted(world)
        transaction = self.begin(world, declared=MailParameters(10, True, True))
        transaction.recipient(parse_mailbox(b"bonnie@example.org"))
        transaction.data()
        transaction.finish()
        self.assertTrue(asked[0].envelope.body_8bit and asked[0].envelope.utf8)
        world.store.free = 1000
        self.assertEqual(self.begin(world, declared=MailParameters(1001)), reply.STORE_FULL)
        self.assertIsInstance(self.begin(world, declared=MailParameters(1000)), Transaction)

    def test_queue_ids(self) -> None:
        """Each message has its own id, fit for a header and a file name."""
        world = World()
        ids = {world.intake.queue_id() for _ in range(100)}
        self.assertEqual(len(ids), 100)
        for each in ids:
            self.assertRegex(each, r"\A[0-9A-Za-z]{16,32}\Z")

    def test_who_sends(self) -> None:
        """A logged-in user sends as himself or as <>; a user who was removed as nobody."""
        world = World()
        for sender, answer in [(b"bonnie@example.org", None), (b"Bonnie", None), (b"clyde@example.org", False),
                               (b"sales@example.org", False), (b"bonnie@elsewhere.example", False)]:
            begun = self.begin(world, BONNIE, parse_mailbox(sender))
            self.assertEqual(begun is reply.NOT_YOUR_ADDRESS, answer is False, sender)
        self.assertIsInstance(self.begin(world, BONNIE, NULL), Transaction)
        world.directory.replace(People((), ()))
        self.assertEqual(self.begin(world, BONNIE, parse_mailbox(b"bonnie@example.org")), reply.NOT_YOUR_ADDRESS)

    def test_added_fields(self) -> None:
        """For trusted clients what is missing is added, under the trace line; strangers' mail stays as it is."""
        world = World(rules=RULES)
        self.send(world, origin=TRUSTED)
        head, _, body = world.mail("bonnie")[0].partition(b"\r\n\r\n")
        self.assertRegex(
            head, rb"\AReceived: [^;]+;\r\n\t.*\r\nDate: .*\r\nMessage-ID: <\w+@bridge\.example\.org>\r\n"
                  rb"From: <a@elsewhere\.example>\r\nSubject: x\Z")
        self.assertEqual(body, b"body\r\n")
        self.send(world)
        self.assertNotIn(b"Message-ID", world.mail("bonnie")[1])

    def test_text_without_header(self) -> None:
        """Bare text from a device becomes the body; it can neither be lost in a header nor fold itself onto ours."""
        world = World(rules=RULES)
        for text in (b"hello world\r\n", b"hello\r\n\r\nworld\r\n", b" , mallory@elsewhere.example\r\n\r\nx\r\n"):
            self.send(world, text, origin=TRUSTED)
            head, _, body = world.mail("bonnie")[-1].partition(b"\r\n\r\n")
            self.assertTrue(head.endswith(b"\r\nFrom: <a@elsewhere.example>"), head)
            self.assertEqual(body, text)
        self.send(world, b"", origin=TRUSTED)
        self.assertTrue(world.mail("bonnie")[-1].endswith(b"\r\nFrom: <a@elsewhere.example>\r\n"))
        self.send(world, b" folded\r\n\r\nx\r\n")
        self.assertTrue(world.mail("bonnie")[-1].endswith(b"\r\n folded\r\n\r\nx\r\n"))

    def test_rewritten_sender(self) -> None:
        """A listener that rewrites: envelope and From are the bridge's, the old From is kept; <> stays <>."""
        world = World(rules=SubmissionRules(sender=parse_mailbox(b"scanner@example.org")))
        asked = self.accepted(world)
        self.send(world, b"From: root\r\n\r\n", TRUSTED, parse_mailbox(b"root"))
        self.assertEqual(asked[0].envelope.sender.text, "scanner@example.org")
        rewritten = b"\r\nFrom: <scanner@example.org>\r\nX-Original-From: root\r\n\r\n"
        self.assertTrue(world.mail("bonnie")[0].endswith(rewritten))
        self.send(world, b"From: root\r\n\r\n", TRUSTED, NULL)
        self.assertTrue(asked[1].envelope.sender.is_null)
        self.assertIn(b"From: <MAILER-DAEMON@bridge.example.org>\r\n", world.mail("bonnie")[1])

    def test_refused_content_is_not_kept(self) -> None:
        """Once a message is refused nothing more is written, and the store is told to forget it."""
        world = World()
        transaction = self.begin(world)
        transaction.recipient(parse_mailbox(b"bonnie@example.org"))
        transaction.data()
        transaction.write(b"Received: x\r\n" * 100 + b"\r\n")
        self.assertEqual(world.store.aborted, 1)
        self.assertIsNone(transaction.write(b"more"))
        self.assertIs(transaction.finish(), reply.TOO_MANY_HOPS)

    def test_failures(self) -> None:
        """Whatever the store does wrong, and wherever, is a transient reply; only a full one has its own."""
        for error, answer in [(StoreFull("full"), reply.STORE_FULL), (StoreError("I/O"), reply.NOT_NOW),
                              (OSError(5, "I/O"), reply.NOT_NOW), (RuntimeError("?"), reply.NOT_NOW)]:
            for place in ("commit", "raising commit", "finish", "later finish", "write", "content"):
                world = World()
                result = self._send_to_failing(world, place, error)
                self.assertIs(result, answer, (place, error))
                self.assertEqual(world.mail("bonnie"), [])
                self.flushLoggedErrors(StoreError, OSError, RuntimeError)

    def _send_to_failing(self, world: World, place: str, error: Exception) -> Any:
        store: Any = world.store

        def raises(*arguments: object) -> Any:
            raise error

        def fails(*arguments: object) -> Any:
            failed: Deferred[Any] = Deferred()
            failed.errback(error)
            return failed

        transaction = self.begin(world)
        transaction.recipient(parse_mailbox(b"bonnie@example.org"))
        if place == "content":
            store.content = raises
            return transaction.data()
        writer = store.content()
        store.content = lambda: writer
        if place == "commit":
            store.commit = fails
        elif place == "raising commit":
            store.commit = raises
        elif place == "write":
            store.write_error = error
        else:
            writer.finish = fails if place == "later finish" else raises
        self.assertIsNone(transaction.data())
        transaction.write(b"Subject: x\r\n\r\nbody\r\n")
        answer = transaction.finish()
        if isinstance(answer, Deferred):
            answer = self.successResultOf(answer)
        self.assertGreaterEqual(store.aborted, 1)
        return answer

    def test_abort(self) -> None:
        """A transaction can be given up at any time and more than once."""
        world = World()
        transaction = self.begin(world)
        transaction.abort()
        transaction.data()
        transaction.abort()
        transaction.abort()
        self.assertEqual(world.store.aborted, 1)
