"""What differs from one OCE to another."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.oce.calls import Answer
from mailbridge.oce.dialect import DIALECTS, Registration, find_app_key

HAROLD = Registration("Harold", "MyVisiblePassword", "SMTP:mailbridge", "127.0.0.1", 20001, 300)


class DialectTests(SynchronousTestCase):
    """`DIALECTS`, `find_app_key`."""

    def test_app_key(self) -> None:
        """The key is found where answers are known to have it; an answer without one gives none."""
        for mesg, key in (([{"AppKey": "K+1"}], "K+1"), ({"AppKey": "K+1"}, "K+1"), ([], ""), ("text", ""), (None, ""),
                          ([{"AppKey": 7}], ""), ([7], "")):
            self.assertEqual(find_app_key(Answer(7, mesg=mesg)), key)

    def test_registration(self) -> None:
        """Both generations of the call name the member and the application (reference 4.4)."""
        for name, func in (("osa", "osaAppReg"), ("fautore", "fauRegApp")):
            dialect = DIALECTS[name]
            said = dialect.arguments(HAROLD)
            self.assertEqual((dialect.register, said["AppName"], said["UserName"], said["UserPass"]),
                             (func, "mailbridge", "Harold", "MyVisiblePassword"))
        self.assertEqual(DIALECTS["osa"].arguments(HAROLD)["AppId"], "SMTP:mailbridge")
