"""Exit codes of what was sent or not."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.cli import sysexits
from mailbridge.sendmail import Kind, Refusal, SendFailure


class ExitCodeTests(SynchronousTestCase):
    """Answers and failures as sysexits.h has them."""

    def test_answers(self) -> None:
        """The enhanced code decides, then the code; every 4yz is temporary."""
        for code, text, expected in (
            (550, "550 5.1.1 No such user here", 67), (550, "550 5.1.2 No such host", 68), (550, "550 No", 69),
            (550, "550 5.7.1 No relaying", 77), (530, "530 Log in", 77), (552, "552 5.3.4 Too large", 65),
            (553, "553 5.1.3 Bad", 65), (554, "554 5.6.0 Bare newline", 65), (450, "450 4.2.1 Busy", 75),
            (451, "451 5.1.1 confused", 75), (550, "550 5.9.9 new", 69),
            (550, "550 it says " + "x" * 80 + " 5.1.1", 69),
        ):
            self.assertEqual(expected, sysexits.of_answer(code, text), text)

    def test_recipients(self) -> None:
        """A recipient that is refused for good outweighs one to try again; none refused is success."""
        later, never = Refusal("a@b", 450, "450 4.2.0 later"), Refusal("c@d", 550, "550 5.1.1 never")
        for refused, expected in (((), 0), ((later,), 75), ((never,), 67), ((later, never), 67)):
            self.assertEqual(expected, sysexits.of_refused(refused))

    def test_failures(self) -> None:
        """Each kind of failure has a code; what may work later is temporary."""
        for failure, expected in (
            (SendFailure(Kind.CONFIGURATION, "x"), 64), (SendFailure(Kind.MESSAGE, "x"), 65),
            (SendFailure(Kind.CONNECTION, "refused"), 75), (SendFailure(Kind.TIMEOUT, "x"), 75),
            (SendFailure(Kind.TLS, "x"), 69), (SendFailure(Kind.LOGIN, "x", code=535), 77),
            (SendFailure(Kind.LOGIN, "x", code=454), 75), (SendFailure(Kind.SERVER, "no SMTP"), 69),
            (SendFailure(Kind.SERVER, "mx:25: 554 5.7.1 blocked", code=554), 77),
            (SendFailure(Kind.SERVER, "mx:25: 421 4.3.2 restarting", code=421), 75),
            (SendFailure(Kind.SERVER, "x", code=550, refused=(Refusal("a@b", 550, "550 5.1.1 x"),)), 67),
            (SendFailure(Kind.TLS, "lost", maybe_sent=True), 75),
        ):
            self.assertEqual(expected, sysexits.of_failure(failure), failure)

    def test_every_kind(self) -> None:
        """No kind of failure is forgotten."""
        for kind in Kind:
            self.assertIn(sysexits.of_failure(SendFailure(kind, "x")), range(64, 79))
