"""From the page's example to accounts and times."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.edge.upstream import Upstream
from mailbridge.fetch.dmailaccounts import accounts, times
from mailbridge.fetch.fetcher import Settings
from mailbridge.pop3.upstream import UpstreamLogin
from tests.fetch.test_dmailconf import EXAMPLE, LEAST, parsed


class DmailAccountsTests(SynchronousTestCase):
    """What the file asks for."""

    def test_example(self) -> None:
        """Two accounts in clear on port 110, all mail to pf_domain, the caretaker as written."""
        conf = parsed(EXAMPLE)
        made = accounts(conf, ["example.org"])
        self.assertEqual([(account.name, login) for account, login in made],
                         [("fred@1.2.3.4", UpstreamLogin("fred", "passwd", in_clear=True)),
                          ("fred2@4.3.2.1", UpstreamLogin("fred2", "passwd", in_clear=True))])
        account = made[0][0]
        self.assertEqual(account.upstream, Upstream("1.2.3.4", 110, "off"))
        self.assertEqual((account.addressing.domain, str(account.addressing.caretaker), account.keep),
                         ("local.domain", "fallback@local.domain", False))
        self.assertEqual(times(conf), Settings(period=300.0, retry_delay=60.0, max_duds=15))

    def test_domains(self) -> None:
        """The file's own domains are local, else the bridge's; a port is part of the name."""
        line = b"pf_user a b pop.example:1100 tls=stls\n"
        [_, (account, login)] = accounts(parsed(LEAST + line + b"host_domain one.example\n"), ["example.org"])
        self.assertEqual((account.name, account.upstream.tls, login.in_clear), ("a@pop.example:1100", "require", False))
        self.assertEqual((account.addressing.local, account.addressing.main), ({"one.example"}, "one.example"))
        [_, (account, _)] = accounts(parsed(LEAST + line), ["example.org"])
        self.assertEqual((account.addressing.local, account.addressing.main), ({"example.org"}, "example.org"))

    def test_no_timer(self) -> None:
        """Without ras_timer there are no times."""
        self.assertRaises(ValueError, times, parsed(b""))
