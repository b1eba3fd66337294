"""The command line of sendmail, as programs write it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.admin.messages import OperationError
from mailbridge.cli.sendmailoptions import SendmailOptions, parse

TAKEN: tuple[tuple[str, SendmailOptions], ...] = (
    ("harold", SendmailOptions(["harold"])),
    ("-t", SendmailOptions(from_header=True)),
    ("-t -i", SendmailOptions(from_header=True, ignore_dots=True)),  # PHP
    ("-ti", SendmailOptions(from_header=True, ignore_dots=True)),
    ("-oi -t", SendmailOptions(from_header=True, ignore_dots=True)),
    ("-i -FCronDaemon -odi -oem -oi -t -f root", SendmailOptions([], True, True, "root", "CronDaemon")),  # vixie-cron
    ("-FCronDaemon -i -odi -oem root", SendmailOptions(["root"], False, True, None, "CronDaemon")),
    ("-i -f bonnie@b.example -- -x@y harold", SendmailOptions(["-x@y", "harold"], False, True, "bonnie@b.example")),
    ("-oem -oi -f a@b -- c@d e@f", SendmailOptions(["c@d", "e@f"], False, True, "a@b")),  # mutt
    ("-fbonnie harold", SendmailOptions(["harold"], sender="bonnie")),
    ("-r bonnie harold", SendmailOptions(["harold"], sender="bonnie")),  # mailx
    ("-f <> harold", SendmailOptions(["harold"], sender="")),
    ("-bm -v -n -m -G -U -A m -h 3 -L tag -p smtp harold", SendmailOptions(["harold"])),
    ("-Am -B8BITMIME -B 7bit harold", SendmailOptions(["harold"])),
    ("-ee -em -eq harold", SendmailOptions(["harold"])),
    ("-om -oo -odb -odq -oep -oee -oeq -ov -o7 harold", SendmailOptions(["harold"])),
    ("-O DeliveryMode=b -O ErrorMode=m -OIgnoreDots=true harold", SendmailOptions(["harold"], ignore_dots=True)),
    ("-OIgnoreDots=false harold", SendmailOptions(["harold"])),
    ("-N never harold", SendmailOptions(["harold"], notify=["NEVER"])),
    ("-Nsuccess,Delay -R hdrs -V id42 harold",
     SendmailOptions(["harold"], notify=["SUCCESS", "DELAY"], ret="HDRS", envid="id42")),
    ("-C /etc/x.toml harold", SendmailOptions(["harold"], config="/etc/x.toml")),
    ("harold -t", SendmailOptions(["harold", "-t"])),
    ("", SendmailOptions()),
)
REFUSED = (
    ("-bs", "SMTP listener"), ("-bp", "queue list"), ("-bi", "alias"), ("-bd", "twist mailbridge"), ("-bv x", "route"),
    ("-bx", "no such mode"), ("-q", "-q"), ("-q30m", "queue retry"), ("-X /tmp/log x", "-X"), ("-z", "-z"),
    ("-f", "-f"), ("-N sometimes x", "-N"), ("-N never,delay x", "-N"), ("-R all x", "-R"), ("-B 9bit x", "-B"),
    ("-ex x", "-ex"), ("-oQ/tmp/elsewhere x", "-oQ"), ("-oz x", "-oz"), ("-O Frob=1 x", "Frob"), ("--help", "help"),
)


class SendmailOptionTests(SynchronousTestCase):
    """`parse`."""

    def test_taken(self) -> None:
        """What cron, PHP, mutt, mailx and others write is understood; what changes nothing says nothing."""
        for line, expected in TAKEN:
            self.assertEqual(expected, parse(line.split()), line)

    def test_refused(self) -> None:
        """What would be something else than asked for is refused, with what to do instead."""
        for line, words in REFUSED:
            error = self.assertRaises(OperationError, parse, line.split())
            self.assertIn(words, str(error), line)

    @given(st.lists(st.text(max_size=12), max_size=5))
    def test_any_line(self, argv: list[str]) -> None:
        """Any command line is understood or refused."""
        try:
            parse(argv)
        except OperationError as error:
            self.assertTrue(str(error))
