r"""The registry of the SMTP receiver of MobilChange and FaxChange, turned into a configuration of mailbridge.

Finds `...\SMTPreceiver` in an export and carries over its settings, those of its applications and their lists. What
cannot be carried over, or is not known here, is named in a note and stays in the file as a comment.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches

from attrs import frozen

from mailbridge.config.draft import Draft, Judge, Section, Value
from mailbridge.config.files import WINDOWS_PATH
from mailbridge.config.registry import Export, Key, split_path
from mailbridge.config.registry import Value as Registered

ROOT = "SMTPreceiver"

_PORT, _CLIENTS, _TIMEOUT = 25, 5, 60  # what the receiver had where nothing was written
_MISPRINT = re.compile(r"\?\(P<")
_NUMBER = re.compile(r"-?[0-9]{1,15}")
_TAIL = re.compile(r"([0-9]{1,9})$")
_TAG = re.compile(r"([A-Za-z0-9_]+\|[A-Za-z0-9_]+)(?:=(.*))?", re.DOTALL)
_COMMAND = re.compile(r"@?[A-Za-z][A-Za-z0-9_]*")
_ANY_VALUE = "[^\\r\\n]{1,64}"

_LISTS = ("clients", "addresses", "from_enabled", "from_disabled")
_TABLES = ("ctl_settings", "transform")
_TERMINATOR = "nonstandard_data_terminator"


@frozen
class Imported:
    """The configuration as TOML, and what an operator has to know of it, a line each."""

    toml: str
    notes: tuple[str, ...]


def convert(export: Export, judge: Judge, folder: str, paths: Mapping[str, str]) -> Imported:
    """The configuration that an export holds. Raises ValueError when there is no receiver in it.

    `judge` is the loader: what it refuses is left out. `folder` is one that exists, which stands for those of Windows
    while it judges. `paths` says what became of folders, `D:\\FaxChange` to `/srv/faxchange`.
    """
    roots = _roots(export)
    if not roots:
        raise ValueError(rf"has no key ...\{ROOT}: export HKEY_LOCAL_MACHINE\SOFTWARE\Datasys\UMS")
    draft = Draft()
    draft.notes += [f"a second receiver, {chr(92).join(other)}, is left out" for other in roots[1:]]
    draft.notes += [f"of the export, {fault}" for fault in export.faults]
    _Import(export, draft, folder, paths).run(roots[0])
    draft.correct(judge)
    head = "# Made by `mailbridge import` of a registry. A NOTE says what was changed or left out.\n\n"
    return Imported(head + draft.text(), tuple(draft.told()))


def _roots(export: Export) -> list[tuple[str, ...]]:
    """The paths of the receivers in an export, each once."""
    found: dict[tuple[str, ...], tuple[str, ...]] = {}
    for folded, key in export.keys.items():
        if ROOT.lower() in folded:
            end = folded.index(ROOT.lower()) + 1
            found.setdefault(folded[:end], key.path[:end])
    return list(found.values())


class _Import:
    """One conversion."""

    def __init__(self, export: Export, draft: Draft, folder: str, paths: Mapping[str, str]) -> None:
        self._export = export
        self._draft = draft
        self._folder = folder
        self._paths = {_folded_path(windows): here for windows, here in paths.items()}
        self._names: set[str] = set()

    def run(self, root: tuple[str, ...]) -> None:
        """The receiver and its applications."""
        section = self._draft.section("receiver")
        key = self._key(root)
        self._carry(section, key, _GLOBAL)
        for name, value in (("smtp_port", _PORT), ("thread_num", _CLIENTS), ("socket_timeout", _TIMEOUT)):
            if name not in key.values:
                section.add(name, value, "was not written; this is what the receiver had")
        self._list(section, root, "clients")
        self._strangers(section, root, ("clients", "applications"))
        shared = self._clients((*root, "clients"))
        for name in self._export.below((*root, "applications")):
            path = (*root, "applications", name)
            self._application(name, path)
            alone = sorted(self._clients((*path, "clients")) - shared)
            if alone and "forward_smtp_server" in key.values:
                section.notes.append(f"{', '.join(alone)}: may use an application, but their other mail is not "
                                     "forwarded; put them on this list too if it should be")

    def _application(self, name: str, path: tuple[str, ...]) -> None:
        ours = re.sub(r"[^A-Za-z0-9_-]", "_", name)[:60]
        while ours.lower() in self._names:
            ours += "_"
        self._names.add(ours.lower())
        section = self._draft.section("application", ours)
        if ours != name:
            section.notes.append(f'was "{name}"; names have ASCII letters, digits, _ and - only')
        key = self._key(path)
        self._carry(section, key, _APPLICATION)
        self._tags(section, key, ours)
        for part in _LISTS:
            self._list(section, path, part)
        senders = self._values((*path, "clients", _TERMINATOR))
        if senders:
            section.add("terminator_clients", [text for value in senders for text in value.texts])
        self._strangers(section, path, (*_LISTS, *_TABLES))
        self._strangers(section, (*path, "clients"), (_TERMINATOR,))
        for part in _TABLES:
            entries = list(self._key((*path, part)).values.values())
            if entries:
                table = self._draft.section("application", ours, part)
                for value in entries:
                    text = value.text if part == "transform" else value.text.strip()
                    table.add("|".join(word.strip() for word in value.name.split("|")), text)

    def _carry(self, section: Section, key: Key, known: _Known) -> None:
        """The values of a key that have a name here; notes of the others."""
        for name, value in key.values.items():
            if name in known:
                carried = known[name](self, value)
                if carried is not None:
                    notes, sample = self._about(name, value, carried)
                    section.add(name, carried, *notes, sample=sample)
            elif name == "authentication_lib" and known is _GLOBAL:
                if value.text.strip():
                    section.notes.append(f'authentication_lib = "{value.text}" is a COM object of Windows: name a '
                                         "credentials checker of Twisted instead, package.module.NAME; without one "
                                         "only the listed clients get in")
            elif name != "cmd_tags" and (name or value.text):
                section.notes.append(f"{_shown(value)} is not known here{_close(name, known)}")

    def _about(self, name: str, value: Registered, carried: Value) -> tuple[list[str], str | None]:
        """Notes on a value that was carried over, and what stands for it while it is judged."""
        if name not in ("output_folder", "logging_file_name"):
            return [], None
        sample = self._folder + ("/x.log" if name == "logging_file_name" else "")
        text = value.text.strip()
        if carried != text:
            return [f"was {text}"], sample
        if WINDOWS_PATH.match(text):
            return ["is a path of Windows; name a folder of this host"], sample
        return [], sample

    def path(self, value: Registered) -> str | None:
        """A path, in its new place where that is known."""
        text = value.text.strip()
        folded = _folded_path(text)
        for windows, here in sorted(self._paths.items(), key=lambda pair: -len(pair[0])):
            if folded == windows or folded.startswith(windows + "/"):
                rest = text.replace("\\", "/")[len(windows):].strip("/")
                return f"{here.rstrip('/')}/{rest}".rstrip("/") or "/"
        return text or None

    def _list(self, section: Section, path: tuple[str, ...], part: str) -> None:
        key = self._export.key((*path, part))
        values = self._values((*path, part))
        if key is None or (not values and part != "from_enabled"):
            return
        texts = [text.strip() for value in values for text in value.texts if text.strip()]
        notes = []
        if part == "from_enabled" and not texts:
            notes.append("is an empty list: nobody may send; take it out to let everybody")
        if part != "clients":
            mended = [_MISPRINT.sub("(?P<", text) if text.startswith("?(P<") else text for text in texts]
            notes += [f"was {old}, a misprint" for old, new in zip(texts, mended, strict=True) if old != new]
            texts = mended
        section.add(part, texts, *notes)

    def _tags(self, section: Section, key: Key, name: str) -> None:
        """The table of @commands, where the key that it stands in was exported too."""
        named = key.values.get("cmd_tags")
        if named is None or not named.text.strip():
            return
        path = named.text.strip()
        table = self._export.key(split_path(path))
        if table is None or not table.values:
            section.notes.append(f'cmd_tags = "{path}": that key is not in the export, so @commands are off; export it '
                                 'too, or set cmd_tags = "sms" for the commands of MobilChange')
            return
        tags = [(value.name.strip(), value, _TAG.fullmatch(value.text.strip())) for value in table.values.values()]
        for command, value, match in tags:
            if match is None or not _COMMAND.fullmatch(command):
                section.notes.append(f"cmd_tags: {_shown(value)} is not command = section|key")
        known = {
            command.removeprefix("@").lower(): match
            for command, _, match in tags if match and _COMMAND.fullmatch(command)
        }
        name += "_tags"  # never that of the shipped table
        if known:
            section.add("cmd_tags", name, f"was {path}, read as command = section|key, or section|key=value for a "
                                          "command without a value")
        for command, match in known.items():
            entry = self._draft.section("command_tags", name, command)
            entry.add("key", match[1])
            if match[2] is None:
                entry.add("pattern", _ANY_VALUE)
            else:
                entry.add("bare", match[2].strip())

    def _strangers(self, section: Section, path: tuple[str, ...], known: Iterable[str]) -> None:
        """A note on each key below `path` that is not known."""
        for name in self._export.below(path):
            if name.lower() not in known:
                section.notes.append(f"the key {name} is not known here{_close(name.lower(), known)}")

    def _values(self, path: tuple[str, ...]) -> list[Registered]:
        """The values of a list in the order of the numbers in their names."""
        return sorted(self._key(path).values.values(), key=_place)

    def _clients(self, path: tuple[str, ...]) -> set[str]:
        return {
            part.strip().lower()
            for value in self._values(path) for text in value.texts for part in text.split(",") if part.strip()
        }

    def _key(self, path: tuple[str, ...]) -> Key:
        return self._export.key(path) or Key(path)


def _shown(value: Registered) -> str:
    return f'{value.name[:80] or "the value without a name"} = "{value.text[:80]}"'


def _place(value: Registered) -> int:
    tail = _TAIL.search(value.name)
    return int(tail[1]) if tail else 10**9


def _close(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"; the nearest is {close[0]}" if close else ""


def _folded_path(text: str) -> str:
    return text.strip().replace("\\", "/").rstrip("/").lower()


def _text(_: _Import, value: Registered) -> Value | None:
    return value.text.strip() or None


def _lower(_: _Import, value: Registered) -> Value | None:
    return value.text.strip().lower() or None


def _raw(_: _Import, value: Registered) -> Value | None:
    return value.text or None


def _number(_: _Import, value: Registered) -> Value | None:
    text = value.text.strip()
    return int(text) if _NUMBER.fullmatch(text) else text or None


def _switch(_: _Import, value: Registered) -> Value | None:
    text = value.text.strip()
    return text == "1" if text in ("0", "1") else text or None


def _formats(_: _Import, value: Registered) -> Value | None:
    return [part.strip().lower() for part in value.text.split(";") if part.strip()] or None


_Known = Mapping[str, Callable[[_Import, Registered], Value | None]]

_GLOBAL: _Known = {
    "smtp_ip_address": _text, "smtp_port": _number, "thread_num": _number, "thread_priority": _number,
    "socket_timeout": _number, "id_allocated": _number, "forward_smtp_server": _text,
    "forward_smtp_server_port": _number, "output_code_page": _text, "log_console": _text, "log_event_log": _text,
    "log_file": _text, "logging_file_name": _Import.path, "log_rcv_data": _switch,
}
_APPLICATION: _Known = {
    "enabled": _switch, "output_folder": _Import.path, "ctl_type": _lower, "format_preference": _formats,
    "process_attachments": _switch, "process_anonymous": _switch, "process_att_msg": _switch, _TERMINATOR: _raw,
}
