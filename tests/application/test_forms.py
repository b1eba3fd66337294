"""Every documented form of an address, from the envelope and the header to the control file that is written."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import parse_path
from mailbridge.application.claim import Claim, Claimed
from mailbridge.application.recipe import Recipe
from tests.application.mails import NOW, NUMBER, mail, message
from tests.application.readers import strict
from tests.application.test_claim import ANN, FAX, LISTED, PAGE_1, SMS


def written(kind: str, patterns: tuple[str, ...], rcpt: str, to: str = "") -> dict[str, str]:
    """The section [to] for `RCPT TO:<rcpt>` and a header `To: to`."""
    claim = Claim.make(kind, patterns)
    recipient = parse_path(b"<" + rcpt.encode() + b">")[0]
    decision = claim.decide(recipient, ANN, LISTED)
    if not isinstance(decision, Claimed):
        raise AssertionError(f"{rcpt}: {decision}")
    one = mail(message(headers=f"To: {to or rcpt}"), recipient=rcpt, groups=decision.groups)
    octets = Recipe.make(kind, ctl_type=kind).job(one, NUMBER, NOW).control.octets
    return strict(octets)["to"]


def sms(rcpt: str, to: str = "") -> tuple[str, str]:
    """(number, name)."""
    found = written("sms", SMS, rcpt, to)
    return found["number"], found["name"]


def fax(rcpt: str, to: str = "", patterns: tuple[str, ...] = FAX) -> tuple[str, ...]:
    """(number, name, company, department)."""
    found = written("fax", patterns, rcpt, to)
    return tuple(found[name] for name in ("number", "name", "comp", "dept"))


class FormTests(SynchronousTestCase):
    """Reference: smtp-receiver.md 4.1, with its own examples."""

    def test_sms(self) -> None:
        """Numbers, names in front of them or as the display name, two @ signs, a subdomain."""
        for rcpt, to, wanted in (
            ("101@sms", "", ("101", "")),
            ("102@sms", '"user name" <102@sms>', ("102", "user name")),
            ("102@sms", "user name <102@sms>", ("102", "user name")),
            ("user_name@202.sms", "", ("202", "user name")),
            ("name@0604234427@SMS", "", ("0604234427", "name")),
            ("0604234427@SMS", "", ("0604234427", "")),
            ("+420603280030@sms.domain.example", "", ("+420603280030", "")),
        ):
            self.assertEqual(sms(rcpt, to), wanted, rcpt)

    def test_fax(self) -> None:
        """Name, company and department before or after the number, in the address or as the display name."""
        for rcpt, to, wanted in (
            ("Brouzda/Datasys@61388454.fax", "", ("61388454", "Brouzda", "Datasys", "")),
            ("Brouzda@61388454.fax", "", ("61388454", "Brouzda", "", "")),
            ("/Datasys/Development@61388454.fax", "", ("61388454", "", "Datasys", "Development")),
            ("Brouzda/Datasys@61388454@fax", "", ("61388454", "Brouzda", "Datasys", "")),
            ("/Datasys@61388454@fax", "", ("61388454", "", "Datasys", "")),
            ("61388454@fax", "Carl Orff/Music INC/Composers <61388454@fax>",
             ("61388454", "Carl Orff", "Music INC", "Composers")),
            ("61388454@fax.fax", "<61388454@fax.fax>", ("61388454", "", "", "")),
            ("61388454@fax.fax", "/Datasys <61388454@fax.fax>", ("61388454", "", "Datasys", "")),
            ("i123@fax", "", ("i123", "", "", "")),
            ("+420603280030@fax", "", ("+420603280030", "", "", "")),
            ('"Carl Orff/Music INC/Composers/61388454"@fax', "", ("61388454", "Carl Orff", "Music INC", "Composers")),
        ):
            self.assertEqual(fax(rcpt, to), wanted, rcpt)

    def test_pattern_of_the_page(self) -> None:
        """The page's second pattern: [name/[company/[department/]]]number@fax."""
        for rcpt, wanted in (
            ("61388454@fax", ("61388454", "", "", "")),
            ("Brouzda/61388454@fax", ("61388454", "Brouzda", "", "")),
            ("Brouzda/Datasys/61388454@fax", ("61388454", "Brouzda", "Datasys", "")),
            ("Brouzda/Datasys/Development/61388454@fax", ("61388454", "Brouzda", "Datasys", "Development")),
        ):
            self.assertEqual(fax(rcpt, patterns=(PAGE_1,)), wanted, rcpt)

    def test_wrong_display_name(self) -> None:
        """A display name counts for its own address only, and never against the envelope's."""
        self.assertEqual(sms("101@sms", '"user name" <102@sms>'), ("101", ""))
        self.assertEqual(fax("Brouzda@1.fax", "Other/Firm <Brouzda@1.fax>"), ("1", "Brouzda", "", ""))
