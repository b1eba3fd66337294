"""How an application turns one message for one recipient into a job: a `Recipe` is made at load, `job` does it.

Nothing is written here and no clock is read. Later layers win: what the message says, `ctl_settings`, @commands,
transforms. What cannot become a job is `JobRefused`, for good; everything else becomes one, with warnings.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TypeVar

from attrs import frozen

from mailbridge import reply
from mailbridge.application.attached import TYPES, Attachment, AttachmentRules
from mailbridge.application.codepage import UTF8, CodePage
from mailbridge.application.control import Cleaning, written
from mailbridge.application.items import Items
from mailbridge.application.job import Job, JobFile, Mail
from mailbridge.application.jsonform import cleaned, document
from mailbridge.application.keys import Key, RecipeFaults
from mailbridge.application.layout import LAYOUTS, Layout
from mailbridge.application.names import is_application_name, is_suffix
from mailbridge.application.parties import GATEWAY, Headers, recipient_fields, sender_fields
from mailbridge.application.refused import JobRefused
from mailbridge.application.segments import segments
from mailbridge.application.settings import CtlSettings
from mailbridge.application.source import Source
from mailbridge.application.tags import TagData, TagTable, Taken
from mailbridge.application.textfile import FORMATS, TextFile, chosen, html_file, plain_text, text_file
from mailbridge.application.transform import Transform, is_gateway
from mailbridge.errors import Fault
from mailbridge.limits import KIB, MIB
from mailbridge.message.text import attachments, body_html, body_text, priority
from mailbridge.reply import Reply

_NUMBER = re.compile(r"[+i]?[0-9]{1,20}")
_DEFAULT_SUFFIX, _JSON_SUFFIX = ".CTL", ".json"
_NO_SUFFIX = frozenset((*(f".{name}" for name in FORMATS), ".writing"))
_COMMANDS = 8 * KIB
"""Characters that are read beyond `text_size`, for @commands that are taken off."""
_UTF8 = CodePage(UTF8)
_Made = TypeVar("_Made")


@frozen(kw_only=True)
class Recipe:
    """What is written for each message of one application. Made by `make`.

    `as_json`: one JSON object instead of files. `lock`: @commands change nothing that `settings` have. `rules` None:
    attachments are left out.
    """

    application: str
    ctl_type: str
    as_json: bool
    formats: tuple[str, ...]
    tags: TagTable
    reject_bad_commands: bool
    settings: CtlSettings
    lock: bool
    transforms: Mapping[str, Transform]
    layout: Layout
    suffix: str
    cleaning: Cleaning
    use_mail_priority: bool
    process_att_msg: bool
    rules: AttachmentRules | None
    text_size: int

    @classmethod
    def make(
        cls,
        application: str,
        *,
        ctl_type: str,
        command: bool = False,
        format_preference: Sequence[str] = ("txt",),
        command_tags: TagData | None = None,
        cmd_error: str = "ignore",
        ctl_settings: Mapping[str, str | int] | None = None,
        ctl_settings_lock: bool = False,
        transform: Mapping[str, str] | None = None,
        ctl_layout: Mapping[str, str] | None = None,
        ctl_suffix: str = _DEFAULT_SUFFIX,
        output_code_page: str = "cp1250",
        ini_semicolon: str = "keep",
        use_mail_priority: bool = False,
        process_att_msg: bool = False,
        process_attachments: bool = False,
        attachment_types: Sequence[str] = (),
        attachment_count: int = 20,
        attachment_size: int = 10 * MIB,
        attachment_total: int = 25 * MIB,
        text_size: int = 64 * KIB,
    ) -> Recipe:
        """The recipe of `[application.NAME]`, by its keys. Raises RecipeFaults with every fault.

        `command`: jobs go to a program, as JSON. `command_tags` is the table that `cmd_tags` names (None: @commands are
        text). No `attachment_types`: those of `attached.TYPES`. The suffix `.CTL` is `.json` for JSON.
        """
        faults: list[Fault] = []

        def made(place: str, make: Callable[[], _Made], otherwise: _Made) -> _Made:
            try:
                return make()
            except RecipeFaults as error:
                faults.extend(error.faults)
            except ValueError as error:
                faults.append(Fault(place, str(error)))
            return otherwise

        def check(place: str, good: bool, problem: str) -> None:
            if not good:
                faults.append(Fault(place, problem))

        check("application", is_application_name(application),
              f'"{application}" is no name: at most 64 ASCII letters, digits, _ and -')
        check("ctl_type", ctl_type in LAYOUTS, f'must be sms, fax or json, got "{ctl_type}"')
        check("ctl_suffix", is_suffix(ctl_suffix), f'must be like ".CTL", got "{ctl_suffix}"')
        check("ctl_suffix", ctl_suffix.lower() not in _NO_SUFFIX,
              f'"{ctl_suffix}" is the end of other files of a job; take another, such as ".CTL"')
        check("cmd_error", cmd_error in ("ignore", "reject"), f'must be ignore or reject, got "{cmd_error}"')
        check("ini_semicolon", ini_semicolon in ("keep", "replace"), f'must be keep or replace, got "{ini_semicolon}"')
        for name in format_preference:
            check("format_preference", name in FORMATS, f'there is no format "{name}"; there are {", ".join(FORMATS)}')
        as_json = command or ctl_type == "json"
        check("ctl_layout", not (as_json and ctl_layout), "is for control files; JSON has names of its own")
        page = made("output_code_page", lambda: CodePage.make(output_code_page), _UTF8)
        layout_name = "json" if as_json or ctl_type not in LAYOUTS else ctl_type
        layout = made("ctl_layout", lambda: Layout.make(layout_name, ctl_layout or {}), Layout({}))
        settings = made("ctl_settings", lambda: CtlSettings.make(ctl_settings or {}), CtlSettings())
        tags = made("cmd_tags", partial(_table, command_tags or {}), TagTable({}))
        transforms = {}
        for target, template in (transform or {}).items():
            one = made(f'transform."{target}"', partial(Transform, target, template), None)
            if one is not None:
                transforms[target] = one
        faults += _ours(layout, settings, tags)
        faults += [
            Fault(f'ctl_settings."{key}"', f"the value has characters that are not in {page.name}")
            for key, value in settings.fixed().items() if not as_json and page.fit(value)[1]
        ]
        if faults:
            raise RecipeFaults(faults)
        types = frozenset(name.lower().lstrip(".") for name in attachment_types) or frozenset(TYPES)
        rules = AttachmentRules(types, attachment_count, attachment_size, attachment_total)
        return cls(
            application=application,
            ctl_type=ctl_type,
            as_json=as_json,
            formats=tuple(format_preference),
            tags=tags,
            reject_bad_commands=cmd_error == "reject",
            settings=settings,
            lock=ctl_settings_lock,
            transforms=transforms,
            layout=layout,
            suffix=_JSON_SUFFIX if as_json and ctl_suffix == _DEFAULT_SUFFIX else ctl_suffix,
            cleaning=Cleaning(page, ini_semicolon == "replace"),
            use_mail_priority=use_mail_priority,
            process_att_msg=process_att_msg,
            rules=rules if process_attachments else None,
            text_size=text_size,
        )

    def doubts(self) -> Iterator[str]:
        """What loads but is hardly meant, each with its key; for the operator."""
        others = [name for name in self.formats if name != "txt"]
        if others and self.ctl_type == "sms":
            yield f"format_preference: {', '.join(others)}: a short message is plain text; only txt makes sense"
        if others and "txt" in self.transforms:
            yield f"transform.txt: changes text files only, not {', '.join(others)}"

    # --- a job --------------------------------------------------------------------------------------------------------

    def job(self, mail: Mail, number: int, now: float) -> Job:
        """The job `number` for a message. `now` is seconds since 1970, for transforms. Raises JobRefused."""
        to = mail.groups.get("number", "")
        if not _NUMBER.fullmatch(to) and (to or self.ctl_type != "json"):
            raise JobRefused(reply.NO_NUMBER)
        source = Source.of(mail.content, self.process_att_msg)
        stem = f"{self.application}_{number:010d}"
        warnings: list[str] = []
        html = body_html(source.message) if self.formats != ("txt",) else None
        said = plain_text(body_text(source.message)[:self.text_size + _COMMANDS])
        taken = self._commands(said, warnings)
        format_name = chosen(self.formats, bool(said), html is not None)
        headers = Headers.of(source.message)
        items = {
            "address": mail.sender.text,
            "app": self.application,
            "format": format_name,
            "messageFromAddress": headers.from_address,
            "messageFromName": headers.from_name,
            "messageReplyToAddress": headers.reply_address,
            "messageReplyToName": headers.reply_name,
            "msgFileName": f"{stem}.{format_name}",
            "pri": priority(source.message),
            "subject": source.message.value(b"subject"),
            "msg": taken.text,
        }
        text = self._text(items, now, warnings)
        match format_name:
            case "txt":
                octets = text.octets
            case "htm":
                octets = html_file(html, taken.text, items["subject"])
            case _:
                octets = source.octets
        attached = self._attached(source, stem, warnings)
        values = self._values(items, {
            **sender_fields(mail.sender, headers),
            **recipient_fields(mail.recipient, mail.groups, source.envelope, self.ctl_type == "fax"),
            "to_number": to,
        })
        values.update(self._attachment_values(attached))
        values.update(self.settings.values(items))
        values.update((key, value) for key, value in taken.values if not (self.lock and key in self.settings.keys))
        values.update(self._transformed(items, now, warnings))
        counted = self.ctl_type == "sms" or (self.ctl_type == "json" and self.rules is None)
        parts = segments(text.text) if counted else 1 + len(attached)
        keys = self.layout.keys
        files: list[JobFile] = []
        if self.as_json:
            clean = cleaned(values)
            control = document(
                application=self.application, number=number, received=mail.received, recipient=mail.recipient.text,
                layout=self.layout, values=clean, format_name=format_name, text=text.text,
                content=b"" if format_name == "txt" else octets, parts=parts, attachments=attached, warnings=warnings,
            )
        else:
            file = written(values.items(), self.cleaning, keys["to_number"])
            control, clean = file.octets, file.values
            warnings += file.warnings
            files = [JobFile(items["msgFileName"], octets), *(JobFile(one.name, one.octets) for one in attached)]
        return Job(
            application=self.application,
            number=number,
            files=tuple(files),
            control=JobFile(stem + self.suffix, control),
            account=clean[keys["from_smtp"]],
            recipient=to or clean[keys["to_name"]] or mail.recipient.text,
            parts=parts,
            warnings=tuple(warnings),
        )

    def _commands(self, text: str, warnings: list[str]) -> Taken:
        """The text without its @commands. Raises JobRefused for bad ones where the operator wants that."""
        taken = self.tags.take(text, self.settings.fixed())
        if taken.faults and self.reject_bad_commands:
            raise JobRefused(Reply(554, "5.6.0", f"Nothing was sent, for a command in the text is wrong: "
                                                 f"{'; '.join(taken.faults[:3])}"))
        warnings += [f"ignored: {fault}" for fault in taken.faults]
        return taken

    def _text(self, items: Items, now: float, warnings: list[str]) -> TextFile:
        """The text as a file of its own would have it."""
        text = items["msg"]
        if "txt" in self.transforms and items["format"] == "txt":
            text = plain_text(self.transforms["txt"].render(items, now, self.text_size + 1))
        file = text_file(text, _UTF8 if self.as_json else self.cleaning.page, self.text_size)
        if items["format"] == "txt":
            warnings += file.warnings
        return file

    def _attached(self, source: Source, stem: str, warnings: list[str]) -> list[Attachment]:
        found = attachments(source.message)
        if self.rules is None:
            if found:
                warnings.append(f"{len(found)} attachments were left out (process_attachments is off)")
            return []
        taken, left = self.rules.take(found, stem)
        warnings += left
        return taken

    def _values(self, items: Items, parties: Mapping[str, str]) -> dict[Key, str]:
        """What the message says, by the keys of the layout and in its order."""
        urgency = items["pri"] if self.use_mail_priority else ""
        fields = {
            **parties,
            "type": self.ctl_type,
            "subject": items["subject"],
            "to_type": self.ctl_type,
            "to_priority": urgency or "normal",
            "message_subject": items["subject"],
            "text": items["msgFileName"],
            **({"priority": urgency} if urgency else {}),
        }
        return {key: fields[name] for name, key in self.layout.keys.items() if name in fields}

    def _attachment_values(self, attached: Sequence[Attachment]) -> Iterator[tuple[Key, str]]:
        if self.as_json:
            return
        for number, one in enumerate(attached, 1):
            for text, value in ((self.layout.attachment, one.name), (self.layout.attachment_name, one.title)):
                if text:
                    yield self.layout.numbered(text, number), value

    def _transformed(self, items: Items, now: float, warnings: list[str]) -> Iterator[tuple[Key, str]]:
        """What transforms make of the subject and of `[from]`."""
        for target, transform in self.transforms.items():
            if target == "txt":
                continue
            value = transform.render(items, now, KIB)
            if target == "from/gateway" and not is_gateway(value.strip()):
                warnings.append(f'transform.from/gateway gave no letter; "{GATEWAY}" was written')
                value = GATEWAY
            names = ("subject", "message_subject") if target == "subject" else (target.replace("/", "_"),)
            for name in names:
                if name in self.layout.keys:
                    yield self.layout.keys[name], value


def _table(data: TagData) -> TagTable:
    try:
        return TagTable.make(data)
    except RecipeFaults as error:
        raise ValueError("; ".join(f"@{fault}" for fault in error.faults)) from None


def _ours(layout: Layout, settings: CtlSettings, tags: TagTable) -> Iterator[Fault]:
    """Settings and commands for keys that only the bridge writes."""
    for key in settings.keys:
        field = layout.belongs_to(key)
        if field:
            yield Fault(f'ctl_settings."{key}"', f"is written by the bridge ({field})")
    for name, tag in tags.tags.items():
        field = layout.belongs_to(tag.key) or ("from_smtp" if layout.pays(tag.key) else "")
        if field:
            yield Fault("cmd_tags", f"@{name} is for {tag.key}, which is written by the bridge ({field})")
