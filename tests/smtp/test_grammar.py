"""The arguments of MAIL, RCPT, BDAT and HELO."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.envelope import MailParameters
from mailbridge.smtp.grammar import CommandError, parse_bdat, parse_helo, parse_mail, parse_rcpt
from mailbridge.store.changes import NO_WISHES, Wishes

WORDS = [b"FROM:", b"TO:", b"<", b">", b"@", b"a", b"b.c", b'"', b"\\", b" ", b"SIZE=", b"12", b"BODY=", b"7BIT", b"=",
         b"AUTH=", b"RET=", b"ENVID=", b"NOTIFY=", b"NEVER", b"DELAY",
         b"ORCPT=", b"rfc822;", b"+0A", b"+41",
         b"SMTPUTF8", b"LAST", b"[IPv6:", b"::1]", b",", b":", b"\xc3\xbc", b"\xff", b"\r", b"\0"]
ARGUMENT = st.one_of(st.binary(max_size=40), st.lists(st.sampled_from(WORDS), max_size=14).map(b"".join))


class TableTests(SynchronousTestCase):
    """What is taken, and with which reply the rest is refused."""

    def refuses(self, parse: Callable[[bytes], object], argument: bytes, code: int) -> None:
        error = self.assertRaises(CommandError, parse, argument)
        self.assertEqual(error.reply.code, code, argument)

    def test_mail(self) -> None:
        """Sender and parameters, in any case and with the blanks devices add."""
        nothing = MailParameters()
        for argument, sender, parameters in [
            (b"FROM:<a@b>", "a@b", nothing),
            (b"from: <a@b> ", "a@b", nothing),
            (b"FROM:a@b SIZE=0", "a@b", MailParameters(0)),
            (b"FROM:<> BODY=8BITMIME", "", MailParameters(body_8bit=True)),
            (b"FROM:<a@b>  SIZE=12  BODY=7bit  SMTPUTF8", "a@b", MailParameters(12, False, True)),
            (b"FROM:<a@b> AUTH=<>", "a@b", nothing),
            (b'FROM:<"a> SIZE=1"@b> SIZE=2', '"a> SIZE=1"@b', MailParameters(2)),
            (b"FROM:<@x,@y:a@b>", "a@b", nothing),
            (b"FROM:<a@b> RET=full", "a@b", MailParameters(ret="FULL")),
            (b"FROM:<a@b> ENVID=a+2Bb+20c RET=HDRS", "a@b", MailParameters(ret="HDRS", envid="a+b c")),
            (b"FROM:<a@b> ENVID=" + b"+20" * 100, "a@b", MailParameters(envid=" " * 100)),
            (b"FROM:<a@[192.0.2.1]>", "a@[192.0.2.1]", nothing),
        ]:
            found = parse_mail(argument)
            self.assertEqual((found[0].text, found[1]), (sender, parameters), argument)

    def test_mail_refused(self) -> None:
        """Each kind of fault has its reply."""
        for argument, code in [
            (b"", 501), (b"TO:<a@b>", 501), (b"FROM:", 501), (b"FROM:<a@b", 501), (b"FROM:<a b@c>", 501),
            (b"FROM:<a@b> SIZE", 501), (b"FROM:<a@b> SIZE=", 501), (b"FROM:<a@b> SIZE=-1", 501),
            (b"FROM:<a@b> SIZE=1_0", 501), (b"FROM:<a@b> SIZE=" + "٣".encode(), 501), (b"FROM:<a@b> SIZE=1e3", 501),
            (b"FROM:<a@b> SIZE=" + b"9" * 21, 501), (b"FROM:<a@b> BODY", 501), (b"FROM:<a@b> BODY=BINARYMIME", 501),
            (b"FROM:<a@b> SIZE=1 size=1", 501), (b"FROM:<a@b> AUTH", 501), (b"FROM:<a@b> AUTH=+0a", 501),
            (b"FROM:<a@b> RET", 501), (b"FROM:<a@b> RET=ALL", 501), (b"FROM:<a@b> RET=FULL RET=FULL", 501),
            (b"FROM:<a@b> ENVID", 501), (b"FROM:<a@b> ENVID=a+0D", 501), (b"FROM:<a@b> ENVID=a+7F", 501),
            (b"FROM:<a@b> ENVID=a+2", 501), (b"FROM:<a@b> ENVID=a+2b", 501), (b"FROM:<a@b> ENVID=" + b"x" * 101, 501),
            (b"FROM:<a@b> ENVID=\xc3\xbc", 501), (b"FROM:<a@b> FOO=1", 555),
            (b"FROM:<a@b> SMTPUTF8=1", 555), (b"FROM:<a@b>SIZE=1", 501),
            (b"FROM:<a@b> =1", 501), (b"FROM:<a@b> SIZE=1\0", 501),
        ]:
            self.refuses(parse_mail, argument, code)

    def test_rcpt(self) -> None:
        """One address, and what its sender wants to hear."""
        for argument, wishes in [
            (b"TO: <a@b>", NO_WISHES),
            (b"TO:<a@b> NOTIFY=NEVER", Wishes(("NEVER",))),
            (b"to:<a@b> notify=delay,success,failure", Wishes(("DELAY", "SUCCESS", "FAILURE"))),
            (b"TO:<a@b> ORCPT=rfc822;A+2Bb@c NOTIFY=FAILURE", Wishes(("FAILURE",), "rfc822;A+b@c")),
            (b"TO:<a@b> ORCPT=utf-8;\xc3\xbc@c", Wishes((), "utf-8;\xfc@c")),
            (b"TO:<a@b> ORCPT=rfc822;" + b"x" * 493, Wishes((), "rfc822;" + "x" * 493)),
        ]:
            self.assertEqual((parse_rcpt(argument)[0].text, parse_rcpt(argument)[1]), ("a@b", wishes), argument)

    def test_rcpt_without_wishes(self) -> None:
        """Mail that wants to hear nothing in particular shares one value: the usual case costs nothing."""
        self.assertIs(parse_rcpt(b"TO:<a@b>")[1], NO_WISHES)

    def test_rcpt_refused(self) -> None:
        """Each kind of fault has its reply."""
        for argument, code in [
            (b"TO:<>", 501), (b"TO:", 501), (b"FROM:<a@b>", 501), (b"TO:<a@b> <", 501), (b"TO:<a@b> SIZE=1", 555),
            (b"TO:<a@b> NOTIFY", 501), (b"TO:<a@b> NOTIFY=", 501), (b"TO:<a@b> NOTIFY=NEVER,DELAY", 501),
            (b"TO:<a@b> NOTIFY=DELAY,DELAY", 501), (b"TO:<a@b> NOTIFY=DELAY,", 501), (b"TO:<a@b> NOTIFY=X", 501),
            (b"TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY", 501), (b"TO:<a@b> ORCPT", 501), (b"TO:<a@b> ORCPT=x", 501),
            (b"TO:<a@b> ORCPT=rfc822;", 501), (b"TO:<a@b> ORCPT=;x", 501), (b"TO:<a@b> ORCPT=a+2Bb;x", 501),
            (b"TO:<a@b> ORCPT=rfc822;a+0A", 501), (b"TO:<a@b> ORCPT=rfc822;a+0D+0A", 501),
            (b"TO:<a@b> ORCPT=rfc822;a+00", 501), (b"TO:<a@b> ORCPT=rfc822;a+", 501),
            (b"TO:<a@b> ORCPT=rfc822;+C2+85", 501), (b"TO:<a@b> ORCPT=rfc822;+E2+80+A8", 501),
            (b"TO:<a@b> ORCPT=rfc822;\xff", 501), (b"TO:<a@b> ORCPT=rfc822;" + b"x" * 494, 501),
        ]:
            self.refuses(parse_rcpt, argument, code)

    def test_bdat(self) -> None:
        """A number of ASCII digits, and LAST in any case."""
        for argument, chunk in [(b"0", (0, False)), (b"12 LAST", (12, True)), (b" 7  last ", (7, True)),
                                (b"999999999999999", (999_999_999_999_999, False))]:
            self.assertEqual(parse_bdat(argument), chunk)
        for argument in (b"", b"LAST", b"1LAST", b"+1", b"-1", b"1_0", b"0x1", b"1 2", b"1 LAST LAST", b"1\t",
                         "١".encode(), b"9" * 16, b"1\n"):
            self.refuses(parse_bdat, argument, 501)

    def test_helo(self) -> None:
        """Any name without control characters, of at most 255 characters."""
        self.assertEqual(parse_helo(b" printer 4 "), "printer 4")
        self.assertEqual(parse_helo(b"M\xfcller"), "M\ufffdller")
        for argument in (b"", b"  ", b"a\x01", b"a\x7f", b"a\n", b"x" * 256):
            self.refuses(parse_helo, argument, 501)

    def test_no_reply_carries_octets_of_the_peer_raw(self) -> None:
        """What a reply quotes of a command is printable: no second line comes of it."""
        for argument in (b"FROM:<\x1b[31m@b>", b"FROM:<a@\x85>", b"FROM:\0", b"FROM:<" + b"x" * 400):
            wire = self.assertRaises(CommandError, parse_mail, argument).reply.wire
            self.assertRegex(wire, rb"\A[ -~]{1,510}\r\n\Z")


class PropertyTests(SynchronousTestCase):
    """Nothing but CommandError, for any octets."""

    @settings(max_examples=400, deadline=None)
    @given(ARGUMENT)
    def test_only_command_errors(self, argument: bytes) -> None:
        """Whatever stands behind the verb, the answer is a value or a CommandError with a 5yz reply."""
        for parse, prefix in [(parse_mail, b"FROM:"), (parse_rcpt, b"TO:"), (parse_bdat, b""), (parse_helo, b"")]:
            for text in (argument, prefix + argument, prefix + b"<a@b> " + argument):
                try:
                    parse(text)
                except CommandError as error:
                    self.assertTrue(error.reply.is_permanent)
                    self.assertRegex(error.reply.wire, rb"\A5[0-9]{2} [ -~]*\r\n\Z")
