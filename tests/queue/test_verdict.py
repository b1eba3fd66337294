"""The verdict on every failure, walked row by row."""

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.outcome import Delivered, PermanentFailure, RouteFailure, TransientFailure
from mailbridge.queue.verdict import (
    ANSWERS,
    MAY_REPEAT,
    TROUBLES,
    Judgement,
    Trouble,
    Way,
    judge,
    judge_answer,
    row_of_answer,
)
from mailbridge.smtp.answer import Answer
from mailbridge.smtp.steps import Phase

HOST, MX = Way.SMART_HOST, Way.MX
T, P, PAUSE = TransientFailure, PermanentFailure, RouteFailure
KINDS = {Judgement.TRANSIENT: T, Judgement.PERMANENT: P, Judgement.PAUSE: PAUSE}


class TroubleTests(SynchronousTestCase):
    """Failures that are no answers."""

    def test_every_trouble_has_a_row(self):
        """No failure is without a verdict, and each verdict is what its row says."""
        self.assertEqual(set(TROUBLES), set(Trouble))
        for trouble, row in TROUBLES.items():
            for way in Way:
                outcome = judge(trouble, "why", way, "mx.example")
                self.assertIs(type(outcome), KINDS[row.judgement(way)], (trouble, way))
                if isinstance(outcome, RouteFailure):
                    self.assertIn(trouble.value, outcome.reason)
                    continue
                self.assertEqual(str(outcome.reply.code)[0], outcome.reply.enhanced[0], trouble)
                self.assertIn("why", outcome.reply.text)

    def test_our_own_faults_pause(self):
        """A refused login or failed certificate at our own smart host bounces nothing; a stranger's is waited out."""
        for trouble in (Trouble.LOGIN_FAILED, Trouble.TLS_FAILED, Trouble.TLS_REFUSED):
            self.assertIsInstance(judge(trouble, "x", HOST), RouteFailure)
            self.assertIsInstance(judge(trouble, "x", MX), TransientFailure)

    def test_unknown_is_transient(self):
        """A fault in mailbridge itself never bounces mail."""
        for trouble in (Trouble.OWN_FAULT, Trouble.STORE, Trouble.SYSTEM, Trouble.TIME, Trouble.STOPPED):
            for way in Way:
                self.assertIsInstance(judge(trouble, "x", way), TransientFailure)

    def test_after_the_content(self):
        """A connection lost after the dot is tried again, with the word that the message may come twice."""
        outcome = judge(Trouble.AFTER_CONTENT, "gone", MX)
        self.assertIsInstance(outcome, TransientFailure)
        self.assertIn(MAY_REPEAT, outcome.detail)
        self.assertFalse(TROUBLES[Trouble.AFTER_CONTENT].next_server)

    def test_unreachable_is_of_the_lane(self):
        """A destination without a connection lets its whole lane wait; a dropped connection only the delivery."""
        self.assertTrue(judge(Trouble.UNREACHABLE, "refused", MX).unreachable)
        self.assertFalse(judge(Trouble.DROPPED, "reset", MX).unreachable)


class AnswerTests(SynchronousTestCase):
    """Answers by phase and code."""

    def test_table(self):
        """What the RFCs and our own sense say of each answer."""
        cases = (
            (Phase.GREETING, 250, T, T), (Phase.HELLO, 220, T, T), (Phase.DATA, 250, T, T), (Phase.RESET, 250, T, T),
            (Phase.GREETING, 554, PAUSE, T), (Phase.GREETING, 421, T, T), (Phase.GREETING, 450, T, T),
            (Phase.HELLO, 550, PAUSE, T), (Phase.HELLO, 451, T, T), (Phase.HELLO, 421, T, T),
            (Phase.TLS, 454, T, T), (Phase.TLS, 501, PAUSE, T),
            (Phase.AUTH, 454, T, T), (Phase.AUTH, 535, PAUSE, T), (Phase.AUTH, 534, PAUSE, T), (Phase.AUTH, 421, T, T),
            (Phase.MAIL, 530, PAUSE, P), (Phase.MAIL, 550, P, P), (Phase.MAIL, 451, T, T), (Phase.MAIL, 552, P, P),
            (Phase.MAIL, 421, T, T),
            (Phase.RCPT, 550, P, P), (Phase.RCPT, 450, T, T), (Phase.RCPT, 452, T, T), (Phase.RCPT, 552, T, T),
            (Phase.RCPT, 421, T, T), (Phase.RCPT, 553, P, P), (Phase.RCPT, 530, PAUSE, P), (Phase.DATA, 530, PAUSE, P),
            (Phase.DATA, 554, P, P), (Phase.DATA, 451, T, T), (Phase.DATA, 421, T, T),
            (Phase.END, 552, P, P), (Phase.END, 554, P, P), (Phase.END, 452, T, T), (Phase.END, 421, T, T),
            (Phase.END, 354, T, T), (Phase.RESET, 500, T, T),
        )
        for phase, code, at_host, at_mx in cases:
            for way, expected in ((HOST, at_host), (MX, at_mx)):
                outcome = judge_answer(phase, Answer(code, "", ("said",)), way, "mx.example")
                self.assertIs(type(outcome), expected, (phase, code, way))

    def test_every_answer(self):
        """Whatever the phase and code: a verdict, whose code and enhanced code agree; 4yz is never permanent.

        Nothing but 2yz after all of the message is a delivery.
        """
        for phase in Phase:
            for code in range(300 if phase is Phase.END else 200, 600):
                for way in Way:
                    for enhanced in ("", "5.1.1", "4.2.2"):
                        outcome = judge_answer(phase, Answer(code, enhanced, ("x",)), way)
                        if isinstance(outcome, RouteFailure):
                            self.assertIs(way, HOST)
                            continue
                        self.assertNotIsInstance(outcome, Delivered)
                        digit = "5" if isinstance(outcome, PermanentFailure) else "4"
                        self.assertEqual((str(outcome.reply.code)[0], outcome.reply.enhanced[0]), (digit, digit))
                        self.assertFalse(isinstance(outcome, PermanentFailure) and code < 500, (phase, code))

    def test_positive(self):
        """A positive answer is a delivery, with the server's own word."""
        self.assertEqual(judge_answer(Phase.END, Answer(250, "2.0.0", ("queued as 7",)), MX),
                         Delivered("250 2.0.0 queued as 7"))

    def test_words_are_kept(self):
        """The sender reads the code and text of the server; 552 at RCPT becomes 452."""
        outcome = judge_answer(Phase.RCPT, Answer(550, "5.1.1", ("no such user",)), MX, "mx.example")
        self.assertEqual(str(outcome.reply), "550 5.1.1 no such user")
        self.assertIn("mx.example", outcome.detail)
        outcome = judge_answer(Phase.RCPT, Answer(552, "5.5.3", ("too many",)), MX)
        self.assertEqual(str(outcome.reply), "452 4.5.3 too many")

    def test_next_server(self):
        """At the start another server is tried; from MAIL on the answer stands."""
        for phase in (Phase.GREETING, Phase.HELLO):
            for code in (421, 450, 554):
                self.assertTrue(row_of_answer(phase, code).next_server, (phase, code))
        for phase in (Phase.AUTH, Phase.MAIL, Phase.RCPT, Phase.DATA, Phase.END):
            for code in (421, 450, 554):
                self.assertFalse(row_of_answer(phase, code).next_server, (phase, code))

    def test_rows_are_reached(self):
        """No row of the table is hidden behind an earlier one."""
        found = {id(row_of_answer(phase, code)) for phase in Phase for code in range(200, 600)}
        self.assertEqual({id(each.row) for each in ANSWERS} - found, set())
