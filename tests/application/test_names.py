"""Names that an operator may give."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.application.names import is_application_name, is_suffix


class NameTests(SynchronousTestCase):
    """What can stand in the name of a file, and nothing else."""

    def test_table(self) -> None:
        """No dot, blank, separator or line end, nothing empty, nothing too long, no letters but ASCII."""
        for check, good, bad in [
            (is_application_name, ("sms", "SMS_2-a", "x" * 64),
             ("", "a.b", "a b", "a/b", "a\n", "x" * 65, "h\u00e1\u010dek", "\u0663")),
            (is_suffix, (".CTL", ".c", ".json", "." + "x" * 16),
             ("", "CTL", ".", ".a.b", ".a/b", ".a\n", "." + "x" * 17)),
        ]:
            for name in good:
                self.assertTrue(check(name), name)
            for name in bad:
                self.assertFalse(check(name), name)
