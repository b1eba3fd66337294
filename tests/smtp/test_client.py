"""The client's side of SMTP, word for word, without a connection."""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailbridge.address import NULL, Address
from mailbridge.sasl.client import CramMD5, Login, Plain, Scram, XOAuth2
from mailbridge.smtp import client
from mailbridge.smtp.answer import Answer, AnswerError, AnswerReader
from mailbridge.smtp.capabilities import Capabilities
from mailbridge.smtp.outgoing import Outgoing, Recipient, xtext
from tests.smtp.client_play import play

A, B, C = Address("a", "x.example"), Address("b", "x.example"), Address("c", "x.example")
PLAIN = b64encode(b"\0bonnie\0right").decode()


def capable(*keywords: str) -> Capabilities:
    """The capabilities of an EHLO answer."""
    return Capabilities.parse(Answer(250, "", ("server", *keywords)))


def mail(*recipients: Address, sender: Address = A, size: int = 100, **more: object) -> Outgoing:
    """An envelope to B, or to `recipients`."""
    return Outgoing(sender, tuple(Recipient(each) for each in recipients or (B,)), size, **more)  # type: ignore[arg-type]


class HelloTests(SynchronousTestCase):
    """Greeting, EHLO, STARTTLS."""

    def test_greeting(self) -> None:
        """Only 220 is a greeting."""
        self.assertEqual(play(client.greet(), "S: 220 hello").code, 220)
        for line in ("554 no", "250 ok", "354 go", "421 busy"):
            self.assertRaises(client.Refused, play, client.greet(), f"S: {line}")

    def test_ehlo(self) -> None:
        """Names of capabilities come in any case and in old spellings."""
        found = play(client.hello("us"), """
            C: EHLO us
            S: 250-server
            S: 250-size 1000
            S: 250-Pipelining
            S: 250-AUTH=login
            S: 250-auth plain Cram-MD5
            S: 250 8BitMIME
        """)
        self.assertEqual(found.size, 1000)
        self.assertEqual(found.mechanisms, ("LOGIN", "PLAIN", "CRAM-MD5"))
        self.assertIn("PIPELINING", found)
        self.assertNotIn("SMTPUTF8", found)

    def test_helo(self) -> None:
        """A server of 1982 is greeted with HELO; one that is busy is not asked again."""
        found = play(client.hello("us"), "C: EHLO us\nS: 502 what\nC: HELO us\nS: 250 server")
        self.assertEqual(found.keywords, {})
        self.assertRaises(client.Refused, play, client.hello("us"), "C: EHLO us\nS: 502 what\nC: HELO us\nS: 502 what")
        self.assertRaises(client.Refused, play, client.hello("us"), "C: EHLO us\nS: 421 busy")
        self.assertRaises(client.Refused, play, client.hello("us", lmtp=True), "C: LHLO us\nS: 500 what")

    def test_starttls(self) -> None:
        """STARTTLS, then the handshake; anything but 220 leaves the session in clear."""
        play(client.start_tls(), "C: STARTTLS\nS: 220 go\nC: (tls)")
        for line in ("454 no", "250 fine"):
            self.assertRaises(client.Refused, play, client.start_tls(), f"C: STARTTLS\nS: {line}")

    def test_sizes(self) -> None:
        """A SIZE that is no number, or 0, is no limit."""
        for words, limit in ((("SIZE",), None), (("SIZE 0",), None), (("SIZE -1",), None), (("SIZE ١",), None),
                             (("SIZE 99999999999999999999",), None), (("SIZE 5",), 5)):
            self.assertEqual(capable(*words).size, limit, words)


class LoginTests(SynchronousTestCase):
    """AUTH: the order, falling through, giving up."""

    def test_falls_through(self) -> None:
        """A mechanism that fails is followed by the next; the first that works ends it."""
        name = play(client.login([CramMD5("bonnie", "x"), Plain("bonnie", "right")], ("PLAIN", "CRAM-MD5")), f"""
            C: AUTH CRAM-MD5
            S: 334 {b64encode(b'<1@server>').decode()}
            C: {self._cram()}
            S: 535 5.7.8 no
            C: AUTH PLAIN {PLAIN}
            S: 235 2.7.0 welcome
        """)
        self.assertEqual(name, "PLAIN")

    @staticmethod
    def _cram() -> str:
        return b64encode(CramMD5("bonnie", "x").step(b"<1@server>")).decode()

    def test_one_guess(self) -> None:
        """A refused password is not shown a second time; a mechanism the server does not know is no guess."""
        both = [Plain("bonnie", "right"), Login("bonnie", "right")]
        steps = client.login(both, ("PLAIN", "LOGIN"))
        failure = self.assertRaises(client.LoginFailed, play, steps, f"C: AUTH PLAIN {PLAIN}\nS: 535 5.7.8 no")
        self.assertEqual(failure.answer.code, 535)
        both = [Plain("bonnie", "right"), Login("bonnie", "right")]
        self.assertEqual(play(client.login(both, ("PLAIN", "LOGIN")), f"""
            C: AUTH PLAIN {PLAIN}
            S: 504 5.5.4 what
            C: AUTH LOGIN
            S: 334 VXNlcm5hbWU6
            C: {b64encode(b'bonnie').decode()}
            S: 334 UGFzc3dvcmQ6
            C: {b64encode(b'right').decode()}
            S: 235 2.7.0 welcome
        """), "LOGIN")

    def test_other_success(self) -> None:
        """A login that is taken with 250, as smtp-sink does, is taken; one without the server's proof is not."""
        for code in (235, 250):
            taken = client.login([Plain("bonnie", "right")], ("PLAIN",))
            self.assertEqual(play(taken, f"C: AUTH PLAIN {PLAIN}\nS: {code} 2.0.0 Ok"), "PLAIN")
            unproven = client.login([Scram("bonnie", "right", b"nonce")], ("SCRAM-SHA-256",))
            first = b64encode(b"n,,n=bonnie,r=nonce").decode()
            self.assertRaises(AnswerError, play, unproven, f"C: AUTH SCRAM-SHA-256 {first}\nS: {code} 2.0.0 Ok")

    def test_nothing_to_try(self) -> None:
        """Without a mechanism that both know nothing is said."""
        failure = self.assertRaises(client.LoginFailed, play, client.login([Plain("b", "r")], ("GSSAPI",)), "")
        self.assertIn("GSSAPI", str(failure))

    def test_goodbye_ends_it(self) -> None:
        """421 ends the login, whatever could still be tried."""
        steps = client.login([XOAuth2("b", "t"), Plain("bonnie", "right")], ("PLAIN", "XOAUTH2"))
        token = b64encode(b"user=b\x01auth=Bearer t\x01\x01").decode()
        self.assertRaises(client.LoginFailed, play, steps, f"C: AUTH XOAUTH2 {token}\nS: 421 bye")

    def test_xoauth2_error(self) -> None:
        """The challenge that carries the error is answered, so that the refusal comes; the two-step form waits."""
        token = b64encode(b"user=b\x01auth=Bearer t\x01\x01").decode()
        error = b64encode(b'{"status":"401"}').decode()
        steps = client.login([XOAuth2("b", "t")], ("XOAUTH2",))
        refusal = f"C: AUTH XOAUTH2 {token}\nS: 334 {error}\nC: (empty)\nS: 535 5.7.8 no"
        self.assertRaises(client.LoginFailed, play, steps, refusal)
        steps = client.login([XOAuth2("b", "t", two_step=True)], ("XOAUTH2",))
        self.assertEqual(play(steps, f"C: AUTH XOAUTH2\nS: 334\nC: {token}\nS: 235 welcome"), "XOAUTH2")

    def test_bad_challenge(self) -> None:
        """A challenge that is no base64 is answered with `*`, and nothing more is told after it."""
        play_it = "C: AUTH LOGIN\nS: 334 ???\nC: *\nS: "
        for end in ("501 5.7.0 given up", "535 no"):
            self.assertRaises(
                client.LoginFailed, play, client.login([Login("b", "r")], ("LOGIN",)), play_it + end
            )
        for end in ("334 VXNlcm5hbWU6", "235 welcome"):
            self.assertRaises(AnswerError, play, client.login([Login("b", "r")], ("LOGIN",)), play_it + end)


class SendTests(SynchronousTestCase):
    """Transactions."""

    def test_plain(self) -> None:
        """Without extensions: one command at a time."""
        sent = play(client.send(mail(B, C), capable()), """
            C: MAIL FROM:<a@x.example>
            S: 250 ok
            C: RCPT TO:<b@x.example>
            S: 250 ok
            C: RCPT TO:<c@x.example>
            S: 550 5.1.1 who
            C: DATA
            S: 354 go
            C: (content)
            S: 250 2.0.0 taken
        """)
        self.assertEqual({str(each): answer.code for each, answer in sent.refused.items()}, {"c@x.example": 550})
        self.assertEqual([str(each) for each in sent.final], ["b@x.example"])

    def test_pipelined(self) -> None:
        """With PIPELINING everything up to DATA is said at once."""
        play(client.send(mail(B, C), capable("PIPELINING", "SIZE 5000", "8BITMIME")), """
            C: MAIL FROM:<a@x.example> SIZE=100
            C: RCPT TO:<b@x.example>
            C: RCPT TO:<c@x.example>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 250 ok
            S: 354 go
            C: (content)
            S: 250 taken
        """)

    def test_all_or_nobody(self) -> None:
        """Without `at_least_one` nothing is sent when one is refused, pipelined or not."""
        refused = play(client.send(mail(B, C), capable(), at_least_one=False), """
            C: MAIL FROM:<a@x.example>
            S: 250 ok
            C: RCPT TO:<b@x.example>
            S: 250 ok
            C: RCPT TO:<c@x.example>
            S: 450 later
        """)
        self.assertEqual((list(refused.refused), refused.final), ([C], {}))
        refused = play(client.send(mail(B, C), capable("PIPELINING"), at_least_one=False), """
            C: MAIL FROM:<a@x.example>
            C: RCPT TO:<b@x.example>
            C: RCPT TO:<c@x.example>
            S: 250 ok
            S: 550 who
            S: 250 ok
        """)
        self.assertEqual((list(refused.refused), refused.final), ([B], {}))

    def test_all_refused_pipelined(self) -> None:
        """DATA has been said already: 354 is answered with a lone dot (RFC 2920 3.1); each recipient has its answer."""
        begin = """
            C: MAIL FROM:<a@x.example>
            C: RCPT TO:<b@x.example>
            C: RCPT TO:<c@x.example>
            C: DATA
            S: 250 ok
            S: 550 5.1.1 b
            S: 450 4.2.1 c
        """
        for end in ("S: 554 nobody", "S: 354 go\nC: .\nS: 554 nobody", "S: 354 go\nC: .\nS: 250 well"):
            sent = play(client.send(mail(B, C), capable("PIPELINING")), begin + end)
            self.assertEqual([answer.code for answer in sent.refused.values()], [550, 450])
            self.assertEqual(sent.final, {})

    def test_mail_refused(self) -> None:
        """A refused MAIL ends it with that answer, also when the rest was said with it."""
        end = "S: 550 5.7.1 you\nS: 503 rcpt\nS: 503 data"
        begin = "C: MAIL FROM:<a@x.example>\n"
        pipelined = begin + "C: RCPT TO:<b@x.example>\nC: DATA\n" + end
        for capabilities, dialogue in ((capable("PIPELINING"), pipelined), (capable(), begin + "S: 550 5.7.1 you")):
            failure = self.assertRaises(client.Refused, play, client.send(mail(), capabilities), dialogue)
            self.assertEqual((failure.phase.value, failure.answer.enhanced), ("MAIL", "5.7.1"))

    def test_goodbye(self) -> None:
        """421 ends it at once: no reply is waited for that will not come."""
        begin = "C: MAIL FROM:<a@x.example>\nC: RCPT TO:<b@x.example>\nC: DATA\n"
        for answers in ("S: 421 bye", "S: 250 ok\nS: 421 bye", "S: 250 ok\nS: 250 ok\nS: 421 bye"):
            failure = self.assertRaises(
                client.Refused, play, client.send(mail(), capable("PIPELINING")), begin + answers
            )
            self.assertEqual(failure.answer.code, 421)

    def test_data_refused(self) -> None:
        """DATA is refused with 4yz or 5yz; anything else but 354 is no SMTP."""
        begin = "C: MAIL FROM:<a@x.example>\nS: 250 ok\nC: RCPT TO:<b@x.example>\nS: 250 ok\nC: DATA\nS: "
        self.assertRaises(client.Refused, play, client.send(mail(), capable()), begin + "451 later")
        self.assertRaises(AnswerError, play, client.send(mail(), capable()), begin + "250 ok")

    def test_parameters(self) -> None:
        """SIZE, BODY, SMTPUTF8 and DSN are said where they are offered, and only there."""
        wishes = Outgoing(
            Address("á", "x.example"), (Recipient(B, ("SUCCESS", "DELAY"), "rfc822;o+p@x"),), 7, True, ret="HDRS",
            envid="id =+\r\nRSET",
        )
        play(client.send(wishes, capable("SIZE", "8BITMIME", "SMTPUTF8", "DSN")), """
            C: MAIL FROM:<á@x.example> SIZE=7 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+20+3D+2B+0D+0ARSET
            S: 250 ok
            C: RCPT TO:<b@x.example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;o+2Bp@x
            S: 550 no
        """)
        dsn_only = Outgoing(NULL, (Recipient(B, ("NEVER",)),), 7, ret="FULL")
        play(client.send(dsn_only, capable()), """
            C: MAIL FROM:<>
            S: 250 ok
            C: RCPT TO:<b@x.example>
            S: 550 no
        """)

    def test_unable(self) -> None:
        """What the server cannot take is not offered to it: nothing is said, the session stays as it was."""
        for outgoing, capabilities, enhanced in (
            (mail(size=2000), capable("SIZE 1999"), "5.3.4"),
            (mail(sender=Address("á", "x")), capable("8BITMIME"), "5.6.7"),
            (mail(Address("b", "ž.example")), capable("8BITMIME"), "5.6.7"),
            (mail(eight_bit=True), capable("SMTPUTF8"), "5.6.3"),
        ):
            failure = self.assertRaises(client.Unable, play, client.send(outgoing, capabilities), "")
            self.assertEqual(failure.enhanced, enhanced)

    def test_chunking(self) -> None:
        """BDAT keeps a missing last CR LF; DATA is used for everything else."""
        play(client.send(mail(ends_in_newline=False), capable("CHUNKING", "PIPELINING")), """
            C: MAIL FROM:<a@x.example>
            C: RCPT TO:<b@x.example>
            S: 250 ok
            S: 250 ok
            C: (chunk)
            S: 250 taken
        """)

    def test_lmtp(self) -> None:
        """LMTP has an answer for each recipient that was taken."""
        sent = play(client.send(mail(A, B, C), capable("PIPELINING"), lmtp=True), """
            C: MAIL FROM:<a@x.example>
            C: RCPT TO:<a@x.example>
            C: RCPT TO:<b@x.example>
            C: RCPT TO:<c@x.example>
            C: DATA
            S: 250 ok
            S: 250 ok
            S: 550 no
            S: 250 ok
            S: 354 go
            C: (content)
            S: 250 for a
            S: 452 4.2.2 full
        """)
        self.assertEqual([sent.final[each].code for each in (A, C)], [250, 452])

    def test_lmtp_breaks_off(self) -> None:
        """Those who have their message in LMTP keep it when the connection ends before the other answers."""
        steps = client.send(mail(A, B), capable("PIPELINING"), lmtp=True)
        value: object = None
        answers = [Answer(250, "", ("ok",))] * 3 + [Answer(354, "", ("go",)), Answer(250, "", ("for a",))]
        try:
            while True:
                step = steps.send(value)
                hears = type(step).__name__ == "Hear"
                if hears and not answers:
                    steps.throw(AnswerError("gone"))
                value = answers.pop(0) if hears else None
        except StopIteration as stop:
            final = stop.value.final
        self.assertEqual([final[each].code for each in (A, B)], [250, 451])

    @given(st.text())
    def test_xtext(self, text: str) -> None:
        """No text ends a parameter, a line or a command."""
        if any("\ud800" <= c <= "\udfff" for c in text):
            return
        octets = xtext(text)
        self.assertRegex(octets, rb"\A[!-~]*\Z")
        self.assertNotIn(b"=", octets)


class AnswerTests(SynchronousTestCase):
    """Replies out of octets."""

    def test_split_anywhere(self) -> None:
        """However the octets are cut, the replies are the same."""
        octets = b"250-2.1.0 one\r\n250 2.1.0 two\r\n354 go\n250\r\n421 4.3.2 \xc3\xa1\x1b\r\n"
        whole = list(AnswerReader().feed(octets))
        self.assertEqual([(each.code, each.enhanced, each.text) for each in whole], [
            (250, "2.1.0", "one two"), (354, "", "go"), (250, "", ""), (421, "4.3.2", "á?"),
        ])
        for cut in range(len(octets)):
            reader = AnswerReader()
            self.assertEqual([*reader.feed(octets[:cut]), *reader.feed(octets[cut:])], whole, cut)
            self.assertFalse(reader.surplus)

    def test_no_smtp(self) -> None:
        """1yz, other numbers, mixed codes, endless lines and endless replies are errors."""
        for octets in (b"150 wait\r\n", b"600 what\r\n", b"25\r\n", b"\r\n", b"250_x\r\n", b"SSH-2.0\r\n",
                       b"250-a\r\n251 b\r\n", b"250 " + b"x" * 5000, b"250-x\r\n" * 300,
                       b"\xd9\xa1\xd9\xa1\xd9\xa1 x\r\n"):
            self.assertRaises(AnswerError, list, AnswerReader().feed(octets))

    def test_secrets(self) -> None:
        """A reply that repeats a password, or a part of its base64 form, shows stars."""
        secret = b64encode(b"\0bonnie\0opensesame")
        reader = AnswerReader()
        reader.hide(secret, b"opensesame")
        for line in (b"500 what is AUTH PLAIN " + secret, b"500 what is AUTH PLAIN " + secret[:12] + b"...",
                     b"535 opensesame is wrong", b"535-xopensesamex\r\n535 " + secret[5:]):
            text = str(list(reader.feed(line + b"\r\n"))[0])
            self.assertNotIn("opensesame", text)
            self.assertNotIn(secret.decode()[5:12], text)
            self.assertIn("***", text)

    def test_short_secrets(self) -> None:
        """A password of one letter or digit harms neither codes nor challenges; a challenge is never shown."""
        for secret in (b"2", b"3", b"w", b"-", b" ", b"250"):
            reader = AnswerReader()
            reader.hide(secret)
            last = b64encode(b"w 250 23")
            answers = list(reader.feed(b"334 UGFzc3dvcmQ6\r\n250-a\r\n250 w2\r\n334 " + last + b"\r\n"))
            self.assertEqual([answer.code for answer in answers], [334, 250, 334])
            self.assertEqual(answers[0].text, "UGFzc3dvcmQ6")
            self.assertEqual(str(answers[2]), "334 (a challenge)")

    @settings(max_examples=300, deadline=None)
    @given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(
        [b"250 ok\r\n", b"250-", b"\r\n", b"\n", b"5", b"354 go\r\n", b"\0", b"2.1.0 ", b"x" * 500])), max_size=40))
    def test_any_octets(self, pieces: list[bytes]) -> None:
        """Any octets in any split give printable replies or AnswerError, and nothing is kept beyond the limits."""
        reader = AnswerReader()
        try:
            for piece in pieces:
                for answer in reader.feed(piece):
                    self.assertTrue(answer.text.isprintable())
                    self.assertTrue(200 <= answer.code < 600)
                self.assertLess(reader.held, 80_000)
        except AnswerError as error:
            self.assertTrue(str(error).isprintable())
