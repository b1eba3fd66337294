"""What an application writes for a message: each setting, item, command and layer."""

from __future__ import annotations

import pickle
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailbridge import reply
from mailbridge.application.items import ITEMS
from mailbridge.application.keys import RecipeFaults
from mailbridge.application.recipe import Recipe
from mailbridge.application.refused import JobRefused
from mailbridge.application.tags import SMS_TAGS
from tests.application.mails import NOW, NUMBER, RECEIVED, control, job, mail, message, multipart, text

PAGE_SETTINGS = {
    "system|maxlen": "1", "system|dr": "0", "system|no_send_info": "1", "system|nomodify": "1",
    "system|priority": "normal", "system|user_app_id|parse|subject": r".*ID:(\d+).*",
}
FAX: dict[str, Any] = {"application": "fax", "ctl_type": "fax"}
TO_SMITH = {"recipient": "5464521@fax", "groups": {
    "name": "John Smith", "company": "Smith Flowers", "dept": "Sales", "number": "5464521",
}}
PDF = ("Content-Type: application/pdf\nContent-Disposition: attachment; filename=\"order.pdf\"\n"
       "Content-Transfer-Encoding: base64\n\nJVBERi0=")
PLAIN = "Content-Type: text/plain; charset=utf-8\n\nPlease find it"
PAGE = "Content-Type: text/html; charset=utf-8\n\n<p>Please <b>find</b> it</p>"


class WholeTests(SynchronousTestCase):
    """The complete examples of the reference."""

    def test_short_message(self) -> None:
        """An SMS with the page's settings: control file and text, octet for octet."""
        made = job(
            message("Přečti\nto", 'To: "user name" <+420603280030@sms>\nReply-To: lamp_room@petrol.org'),
            ctl_settings=PAGE_SETTINGS,
        )
        self.assertEqual(made.control.name, "sms_0000000042.CTL")
        self.assertEqual(made.control.octets.decode("cp1250").split("\r\n"), [
            "[system]", "type=sms", "subject=Alarm ID:7781", "maxlen=1", "dr=0", "no_send_info=1", "nomodify=1",
            "priority=normal", "user_app_id=7781",
            "[from]", "name=Lamp Room", "username=lamp@plant.example", "email=lamp_room@petrol.org", "gateway=s",
            "smtp=lamp@plant.example",
            "[to]", "type=sms", "name=user name", "number=+420603280030",
            "[message]", "text=sms_0000000042.txt", "",
        ])
        self.assertEqual([(one.name, one.octets) for one in made.files],
                         [("sms_0000000042.txt", "Přečti\r\nto".encode("cp1250"))])
        self.assertEqual((made.account, made.recipient, made.parts, made.number, made.application, made.warnings),
                         ("lamp@plant.example", "+420603280030", 1, 42, "sms", ()))

    def test_fax(self) -> None:
        """A fax with an attachment, priority of the mail and the fax layout."""
        made = job(
            multipart(PLAIN, PDF, headers="From: Ann Florist <ann@shop.example>\nSubject: Flowers delivery\n"
                                          "Priority: normal"),
            {**TO_SMITH, "sender": "ann@shop.example"}, **FAX, process_attachments=True, use_mail_priority=True,
        )
        self.assertEqual(made.control.octets.decode("cp1250").split("\r\n"), [
            "[system]", "type=fax", "subject=Flowers delivery", "priority=normal",
            "[from]", "name=Ann Florist", "username=ann@shop.example", "email=ann@shop.example", "gateway=s",
            "smtp=ann@shop.example",
            "[to]", "type=fax", "name=John Smith", "number=5464521", "comp=Smith Flowers", "dept=Sales",
            "priority=normal",
            "[message]", "text=fax_0000000042.txt", "subject=Flowers delivery", "attach1=fax_0000000042_1.pdf",
            "attach1_name=order.pdf", "",
        ])
        self.assertEqual([(one.name, one.octets) for one in made.files], [
            ("fax_0000000042.txt", b"Please find it"), ("fax_0000000042_1.pdf", b"%PDF-"),
        ])
        self.assertEqual((made.account, made.recipient, made.parts), ("ann@shop.example", "5464521", 2))


class SettingTests(SynchronousTestCase):
    """Each setting changes what is written."""

    def test_ctl_type(self) -> None:
        """sms or fax: the types, and the keys of a fax."""
        self.assertEqual(control()["system"]["type"], "sms")
        self.assertNotIn("comp", control()["to"])
        fax = control(None, TO_SMITH, **FAX)
        self.assertEqual((fax["system"]["type"], fax["to"]["type"], fax["to"]["comp"]), ("fax", "fax", "Smith Flowers"))

    def test_ctl_settings(self) -> None:
        """Each setting of the page is written with the value it has, and not written without."""
        for key, (value, other) in {"maxlen": ("1", "3"), "dr": ("0", "1"), "no_send_info": ("1", "0"),
                                    "nomodify": ("1", "0"), "priority": ("normal", "high")}.items():
            for setting in (value, other):
                self.assertEqual(control(ctl_settings={f"system|{key}": setting})["system"][key], setting)
            self.assertNotIn(key, control()["system"])
        parse = {"system|user_app_id|parse|subject": r".*ID:(\d+).*"}
        self.assertEqual(control(ctl_settings=parse)["system"]["user_app_id"], "7781")
        self.assertEqual(control(message(headers="Subject: ID:5"), ctl_settings=parse)["system"]["user_app_id"], "5")
        self.assertNotIn("user_app_id", control(message(headers="Subject: none"), ctl_settings=parse)["system"])
        self.assertEqual(control(ctl_settings={"extra|key": "x"})["extra"], {"key": "x"})
        self.assertEqual(control(ctl_settings={"from|gateway": "e"})["from"]["gateway"], "e")

    def test_output_code_page(self) -> None:
        """Control file and text have the code page."""
        content = message("Žluť", "Subject: Žluť")
        for page in ("cp1250", "utf-8", "cp852"):
            made = job(content, output_code_page=page)
            self.assertEqual(made.files[0].octets, "Žluť".encode(page))
            self.assertIn("subject=Žluť\r\n".encode(page), made.control.octets)
        made = job(content, output_code_page="ascii")
        self.assertEqual(made.files[0].octets, b"Zlut")
        self.assertEqual(len(made.warnings), 2)

    def test_format_preference(self) -> None:
        """Text, page, whole message or archive, the first of the list that there is."""
        both, plain = multipart(PLAIN, PAGE, kind="alternative"), message("Please find it")
        for preference, content, name, octets in (
            (["txt"], both, "txt", b"Please find it"), (["htm", "txt"], both, "htm", b"<p>Please <b>find</b> it</p>"),
            (["eml"], both, "eml", both), (["mht", "txt"], both, "mht", both),
            (["mht", "txt"], plain, "txt", b"Please find it"),
            (["txt", "eml", "mht", "htm"], plain, "txt", b"Please find it"), (["eml", "txt"], plain, "eml", plain),
            (["txt"], multipart(PAGE), "txt", b"Please find it"),
        ):
            made = job(content, TO_SMITH, **FAX, format_preference=preference)
            self.assertEqual((made.files[0].name, made.files[0].octets), (f"fax_0000000042.{name}", octets), preference)
            self.assertIn(f"text=fax_0000000042.{name}".encode(), made.control.octets)
        self.assertIn(b"<pre>Please find it</pre>", text(plain, TO_SMITH, **FAX, format_preference=["htm"]))

    def test_cmd_tags(self) -> None:
        """With a table the commands are taken off and written; without one they are text."""
        content = message("@dr=1\n@maxlen=3\n\nText")
        self.assertEqual(text(content), b"@dr=1\r\n@maxlen=3\r\n\r\nText")
        self.assertNotIn("dr", control(content)["system"])
        self.assertEqual(text(content, command_tags=SMS_TAGS), b"Text")
        system = control(content, command_tags=SMS_TAGS)["system"]
        self.assertEqual((system["dr"], system["maxlen"]), ("1", "3"))
        site = {"maxlen": {"key": "send|parts", "pattern": r"\d"}}
        self.assertEqual(control(message("@maxlen=3\nx"), command_tags=site)["send"], {"parts": "3"})

    def test_cmd_error(self) -> None:
        """A bad command is passed over with a warning, or the sender is told what was wrong."""
        content = message("@dr=7\n@maxlen=2\n\nText")
        made = job(content, command_tags=SMS_TAGS)
        self.assertEqual((made.files[0].octets, made.warnings), (b"Text", ("ignored: @dr=7 is not possible",)))
        error = self.assertRaises(JobRefused, job, content, command_tags=SMS_TAGS, cmd_error="reject")
        self.assertEqual((error.reply.code, error.reply.enhanced), (554, "5.6.0"))
        self.assertIn("@dr=7 is not possible", error.reply.text)
        hostile = message("@dr=\x1b\0ž" + "x" * 2000 + "\n")
        error = self.assertRaises(JobRefused, job, hostile, command_tags=SMS_TAGS, cmd_error="reject")
        self.assertLess(len(error.reply.wire), 200)
        job(message("@dr=1\nText"), command_tags=SMS_TAGS, cmd_error="reject")

    def test_ctl_settings_lock(self) -> None:
        """With the lock a command changes nothing that the operator has set."""
        options: dict[str, Any] = {"command_tags": SMS_TAGS, "ctl_settings": {"system|dr": "0", "system|maxlen": "3"}}
        content = message("@dr=1\n@maxlen=2\n@action=1\nText")
        for lock, wanted in ((False, ("1", "2", "1")), (True, ("0", "3", "1"))):
            system = control(content, **options, ctl_settings_lock=lock)["system"]
            self.assertEqual((system["dr"], system["maxlen"], system["action"]), wanted)

    def test_process_attachments(self) -> None:
        """Attachments are files of the job, or left out with a warning."""
        content = multipart(PLAIN, PDF, PDF.replace("order.pdf", "x.exe"))
        made = job(content, TO_SMITH, **FAX)
        self.assertEqual((len(made.files), made.parts), (1, 1))
        self.assertIn("2 attachments were left out", made.warnings[0])
        self.assertNotIn("attach1", control(content, TO_SMITH, **FAX)["message"])
        made = job(content, TO_SMITH, **FAX, process_attachments=True)
        self.assertEqual(([one.name for one in made.files], made.parts),
                         (["fax_0000000042.txt", "fax_0000000042_1.pdf"], 2))
        self.assertIn('"exe"', made.warnings[0])

    def test_attachment_limits(self) -> None:
        """Types, count and sizes are the operator's."""
        content = multipart(PLAIN, PDF, PDF, PDF.replace("order.pdf", "x.EXE"))
        for options, number in (
            ({}, 3), ({"attachment_count": 1}, 2), ({"attachment_size": 4}, 1), ({"attachment_total": 9}, 2),
            ({"attachment_types": (".exe",)}, 2), ({"attachment_types": ("pdf", "EXE")}, 4),
        ):
            made = job(content, TO_SMITH, **FAX, process_attachments=True, **options)
            self.assertEqual(len(made.files), number, options)

    def test_process_att_msg(self) -> None:
        """The attached message takes the place of the one around it: header, text and attachments."""
        inner = ("From: Ann <ann@x>\nSubject: Inner\nX-Priority: 1\nContent-Type: multipart/mixed; boundary=i\n\n"
                 f"--i\n{PDF}\n--i\n\nInner text\n--i--")
        content = multipart(PLAIN, f"Content-Type: message/rfc822\n\n{inner}", headers="To: Smith/Flowers <1@fax>")
        options: dict[str, Any] = {**FAX, "process_attachments": True, "use_mail_priority": True}
        to = {"recipient": "1@fax", "groups": {"number": "1"}}
        outer = control(content, to, **options)
        self.assertEqual((outer["system"]["subject"], outer["from"]["name"]), ("Alarm ID:7781", "Lamp Room"))
        options["process_att_msg"] = True
        made, found = job(content, to, **options), control(content, to, **options)
        self.assertEqual((found["system"]["subject"], found["from"]["name"], found["system"]["priority"]),
                         ("Inner", "Ann", "high"))
        self.assertEqual([one.octets for one in made.files], [b"Inner text", b"%PDF-"])
        self.assertEqual(found["from"]["smtp"], "lamp@plant.example")
        self.assertEqual((found["to"]["name"], found["to"]["comp"]), ("Smith", "Flowers"))
        eml = job(content, to, **options, format_preference=["eml"]).files[0].octets
        self.assertEqual(eml.replace(b"\r\n", b"\n").rstrip(b"\n").decode(), inner)
        self.assertEqual(text(message("Alone"), process_att_msg=True), b"Alone")
        encoded = multipart(PLAIN, "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
                                   "U3ViamVjdDogRGVlcAoKRGVlcCB0ZXh0Cg==")
        self.assertEqual(text(encoded, process_att_msg=True), b"Deep text")

    def test_use_mail_priority(self) -> None:
        """The mail's own priority is written only where the operator wants that."""
        for header, word in (("X-Priority: 1", "high"), ("Importance: low", "low"), ("Priority: normal", "normal")):
            content = message(headers=header)
            self.assertEqual(control(content, use_mail_priority=True)["system"]["priority"], word)
            self.assertNotIn("priority", control(content)["system"])
            fax = control(content, TO_SMITH, **FAX, use_mail_priority=True)
            self.assertEqual((fax["system"]["priority"], fax["to"]["priority"]), (word, word))
            self.assertEqual(control(content, TO_SMITH, **FAX)["to"]["priority"], "normal")
        self.assertNotIn("priority", control(use_mail_priority=True)["system"])

    def test_ini_semicolon(self) -> None:
        """A semicolon stays or becomes a comma."""
        content = message(headers="Subject: a;b")
        self.assertEqual(control(content)["system"]["subject"], "a;b")
        self.assertEqual(control(content, ini_semicolon="replace")["system"]["subject"], "a,b")

    def test_text_size(self) -> None:
        """A long text is cut, with a warning; in a transform, too."""
        made = job(message("x" * 70_000))
        self.assertEqual(len(made.files[0].octets), 65_536)
        self.assertIn("text_size", made.warnings[0])
        self.assertEqual(len(text(message("x" * 300), text_size=100)), 100)
        made = job(message("x" * 300), text_size=500, transform={"txt": "<%msg%><%msg%>"})
        self.assertEqual((len(made.files[0].octets), len(made.warnings)), (500, 1))
        self.assertEqual(job(message("x" * 500), text_size=500).warnings, ())
        commands = message("@dr=1\n" * 50 + "\n" + "x" * 200)
        self.assertEqual(len(text(commands, text_size=150, command_tags=SMS_TAGS)), 150)

    def test_names(self) -> None:
        """Application, number and suffix make the names."""
        made = job(application="Alarm-2", ctl_suffix=".ctl")
        self.assertEqual((made.control.name, made.files[0].name), ("Alarm-2_0000000042.ctl", "Alarm-2_0000000042.txt"))
        recipe = Recipe.make("sms", ctl_type="sms")
        self.assertEqual(recipe.job(mail(), 12_345_678_901, NOW).control.name, "sms_12345678901.CTL")

    def test_ctl_layout(self) -> None:
        """A site's sections and keys."""
        found = control(ctl_layout={"to_number": "dest|phone", "to_type": "", "subject": "system|title"})
        self.assertEqual(found["dest"], {"phone": "+420603280030"})
        self.assertNotIn("type", found["to"])
        self.assertEqual(found["system"]["title"], "Alarm ID:7781")

    def test_parts(self) -> None:
        """Short messages are counted by their text, other jobs by their documents."""
        self.assertEqual(job(message("x" * 161)).parts, 2)
        self.assertEqual(job(message("ž" * 71)).parts, 2)
        self.assertEqual(job(message("ž" * 71), output_code_page="ascii").parts, 1)
        self.assertEqual(job(message("x" * 500), TO_SMITH, **FAX).parts, 1)


class TransformTests(SynchronousTestCase):
    """Transforms, their targets and items."""

    def test_targets(self) -> None:
        """Each name changes its place and no other."""
        plain = control(None, TO_SMITH, **FAX)
        for target, section, keys in (
            ("subject", "system", ["subject"]), ("from/name", "from", ["name"]),
            ("from/username", "from", ["username"]),
            ("from/email", "from", ["email"]), ("from/gateway", "from", ["gateway"]), ("from/smtp", "from", ["smtp"]),
        ):
            found = control(None, TO_SMITH, **FAX, transform={target: "x"})
            changed = {(s, k) for s in found for k in found[s] if found[s][k] != plain[s][k]}
            wanted = {(section, key) for key in keys} | ({("message", "subject")} if target == "subject" else set())
            self.assertEqual(changed, wanted)
            self.assertEqual(found[section][keys[0]], "x")
        self.assertEqual(text(transform={"txt": r"a\nb"}), b"a\r\nb")
        self.assertEqual(job(transform={"from/smtp": "accounts"}).account, "accounts")

    def test_items(self) -> None:
        """Each item is what the message says, and changes with it."""
        template = "|".join(f"<%{name}|'-'%>" for name in ITEMS)
        content = message("@dr=1\n\nText", "From: Ann <ann@x>\nReply-To: Reply <reply@y>\nImportance: high\nSubject: S")
        options: dict[str, Any] = {"command_tags": SMS_TAGS, "transform": {"txt": template}}
        self.assertEqual(
            text(content, **options).decode(),
            "lamp@plant.example|sms|txt|ann@x|Ann|reply@y|Reply|sms_0000000042.txt|high|S|Text",
        )
        self.assertEqual(text(message("Text", "From: \nSubject: "), {"sender": ""}, **options).decode(),
                         "-|sms|txt|-|-|-|-|sms_0000000042.txt|-|-|Text")

    def test_examples_of_the_page(self) -> None:
        """The page's own template for the text, and its chain of addresses."""
        chain = "<%messageReplyToAddress| messageFromAddress |'lamp_room@petrol.org'%>"
        for headers, wanted in (("Reply-To: r@x", "r@x"), ("From: f@x", "f@x"), ("From: ", "lamp_room@petrol.org")):
            found = control(message(headers=headers), transform={"from/email": chain})
            self.assertEqual(found["from"]["email"], wanted)
        octets = text(message("One\nTwo"), transform={"txt": (
            r'Now is <%time.strftime("%x %X")%>\n Message from:<%messageFromName%> <%messageFromAddress%>\n<%subject%>'
            r"\n Send reply to: <%messageReplyToAddress|'lamp_room@petrol.org'%> \n<%msg%>"
        )})
        self.assertRegex(octets.decode(), r"^Now is 11/2\d/26 \d\d:\d\d:\d\d\r\n Message from:Lamp Room "
                         r"lamp@plant.example\r\nAlarm ID:7781\r\n Send reply to: lamp_room@petrol.org \r\nOne\r\nTwo$")

    def test_original_values(self) -> None:
        """A transform sees what the message said, not what another made of it."""
        found = control(transform={"subject": "<%messageFromName%>", "from/name": "<%subject%>"})
        self.assertEqual((found["system"]["subject"], found["from"]["name"]), ("Lamp Room", "Alarm ID:7781"))

    def test_gateway(self) -> None:
        """What gives no letter for the gateway is not written."""
        options = {"transform": {"from/gateway": "<%pri|'e'%>"}}
        self.assertEqual(control(**options)["from"]["gateway"], "e")
        self.assertEqual(control(transform={"from/gateway": " <%'l'%> "})["from"]["gateway"], "l")
        made = job(message(headers="X-Priority: 1"), **options)
        self.assertIn(b"gateway=s\r\n", made.control.octets)
        self.assertIn("gateway", made.warnings[0])

    def test_layers(self) -> None:
        """The message, then the settings, then commands, then transforms."""
        content = message("@prio=low\nx", "X-Priority: 1")
        options: dict[str, Any] = {"use_mail_priority": True}
        self.assertEqual(control(content, **options)["system"]["priority"], "high")
        options["ctl_settings"] = {"system|priority": "normal", "system|subject": "set"}
        self.assertEqual(control(content, **options)["system"]["priority"], "normal")
        options["command_tags"] = {"prio": {"key": "system|priority", "values": ["low"]}}
        self.assertEqual(control(content, **options)["system"]["priority"], "low")
        self.assertEqual(control(content, **options)["system"]["subject"], "set")
        options["transform"] = {"subject": "made"}
        self.assertEqual(control(content, **options)["system"]["subject"], "made")

    def test_text_only(self) -> None:
        """A transform of the text leaves the other formats alone; their commands are read all the same."""
        content = message("@dr=1\n\nText")
        options: dict[str, Any] = {"transform": {"txt": "x"}, "command_tags": SMS_TAGS, "format_preference": ["eml"]}
        self.assertEqual(text(content, **options), content)
        self.assertEqual(control(content, **options)["system"]["dr"], "1")


class RefusedTests(SynchronousTestCase):
    """What cannot become a job, and what is said of it at load."""

    def test_number(self) -> None:
        """Only a number is written as one: whatever the pattern took."""
        for number in ("", "x", "1" * 21, "+", "1\r\n[to]", "1;2", " 1", "1 ", "٣", "++1", "i", "1_0"):
            error = self.assertRaises(JobRefused, job, None, {"groups": {"number": number}})
            self.assertEqual(error.reply, reply.NO_NUMBER)
        self.assertRaises(JobRefused, job, None, {"groups": {"name": "x"}})
        for number in ("1", "+1", "i123", "1" * 20):
            self.assertEqual(control(None, {"groups": {"number": number}})["to"]["number"], number)

    def test_too_intricate(self) -> None:
        """A message of too many parts is refused for good."""
        error = self.assertRaises(JobRefused, job, multipart(*["x: y\n\nz"] * 1001))
        self.assertEqual(error.reply, reply.TOO_INTRICATE)
        self.assertTrue(error.reply.is_permanent)

    def test_every_fault(self) -> None:
        """All faults of an application's settings are found together, each with its key."""
        error = self.assertRaises(
            RecipeFaults, Recipe.make, "a b", ctl_type="mms", ctl_suffix="CTL", cmd_error="stop", ini_semicolon="drop",
            format_preference=["txt", "pdf"], output_code_page="utf-16", ctl_layout={"number": "x"},
            ctl_settings={"a": "b"}, command_tags={"x": {}}, transform={"txt": "<%x%>", "from/name": "<%", "to": ""},
            attachment_types=["pdf"],
        )
        self.assertEqual({fault.place for fault in error.faults}, {
            "application", "ctl_type", "ctl_suffix", "cmd_error", "ini_semicolon", "format_preference",
            "output_code_page", "ctl_layout.number", 'ctl_settings."a"', "cmd_tags", 'transform."txt"',
            'transform."from/name"', 'transform."to"',
        })

    def test_keys_of_the_bridge(self) -> None:
        """No setting or command writes what only the bridge may write, and no command who pays."""
        for key in ("system|type", "TO|Number", "message|text", "message|attach1", "message|Attach3_name", "to|type"):
            for options in ({"ctl_settings": {key: "x"}}, {"command_tags": {"x": {"key": key, "bare": "1"}}}):
                self.assertRaises(RecipeFaults, Recipe.make, "sms", ctl_type="sms", **options)
        pays = {"x": {"key": "From|SMTP", "pattern": ".*"}}
        self.assertRaises(RecipeFaults, Recipe.make, "sms", ctl_type="sms", command_tags=pays)
        Recipe.make("sms", ctl_type="sms", ctl_settings={"from|smtp": "x"})

    def test_other_faults(self) -> None:
        """A fixed value that the code page lacks, and a layout where there is no control file."""
        self.assertRaises(RecipeFaults, Recipe.make, "sms", ctl_type="sms", ctl_settings={"a|b": "漢"})
        Recipe.make("sms", ctl_type="sms", ctl_settings={"a|b": "漢"}, output_code_page="utf-8")
        for options in ({"ctl_type": "json"}, {"ctl_type": "sms", "command": True}):
            self.assertRaises(RecipeFaults, Recipe.make, "sms", **options, ctl_layout={"subject": "a|b"})

    def test_suffix(self) -> None:
        """A control file never has the name of another file of its job."""
        for suffix in (".txt", ".TXT", ".eml", ".mht", ".Htm", ".writing", "", ".", "CTL", "./x", ".a b"):
            self.assertRaises(RecipeFaults, Recipe.make, "sms", ctl_type="sms", ctl_suffix=suffix)
        for suffix in (".CTL", ".ctl", ".job"):
            Recipe.make("sms", ctl_type="sms", ctl_suffix=suffix)

    def test_doubts(self) -> None:
        """What loads but makes no sense is told to the operator."""
        self.assertEqual(list(Recipe.make("sms", ctl_type="sms").doubts()), [])
        doubts = list(Recipe.make("sms", ctl_type="sms", format_preference=["eml"], transform={"txt": "x"}).doubts())
        self.assertEqual([doubt.partition(":")[0] for doubt in doubts], ["format_preference", "transform.txt"])
        self.assertEqual(list(Recipe.make("fax", ctl_type="fax", format_preference=["eml"]).doubts()), [])

    def test_in_another_process(self) -> None:
        """A recipe that was handed to another process makes the same jobs, in any case of letters too."""
        recipe = Recipe.make("sms", ctl_type="sms", ctl_settings={"a|b|parse|subject": r"alarm id:(\d+)"},
                             command_tags=SMS_TAGS, transform={"txt": "<%msg%>"})
        copy = pickle.loads(pickle.dumps(recipe))
        self.assertEqual(copy.job(mail(), NUMBER, NOW), recipe.job(mail(), NUMBER, NOW))
        self.assertIn(b"b=7781", copy.job(mail(), NUMBER, NOW).control.octets)

    def test_received_is_in_the_message(self) -> None:
        """The message as a file begins with our Received field, as it was accepted."""
        self.assertTrue(text(None, TO_SMITH, **FAX, format_preference=["eml"]).startswith(RECEIVED))
