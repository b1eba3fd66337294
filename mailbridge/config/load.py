"""Reads a configuration: one TOML file, strict, every fault found and told at once (DESIGN 7).

Nothing here listens, writes or starts; of the files that the configuration names only those of passwords are read.
"""

from __future__ import annotations

import os
import re
import socket
import stat
import tomllib
from collections.abc import Callable, Collection, Iterator
from difflib import get_close_matches
from functools import lru_cache, partial
from operator import eq
from pathlib import Path
from typing import Any

from attrs import evolve, fields, has, resolve_types
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    ClassValidationError,
    ForbiddenExtraKeysError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from mailbridge.config.applications import Readable, application_faults
from mailbridge.config.combinations import combinations
from mailbridge.config.forward import FORWARD, forward_relay
from mailbridge.config.keys import readers
from mailbridge.config.model import (
    ApplicationSettings,
    Config,
    FetchAccount,
    POP3Listener,
    ReceiverSettings,
    RelaySettings,
    RouteRule,
    SMTPListener,
    TribeSettings,
)
from mailbridge.config.oce import oce_targets, tribe_name
from mailbridge.config.popfetch import popfetch_faults
from mailbridge.config.readers import Faulty, hostname, place_of
from mailbridge.config.receiver import application_name, command_tables
from mailbridge.config.secrets import inline_secrets
from mailbridge.config.servers import relay_name
from mailbridge.config.units import shown
from mailbridge.errors import ConfigError, Fault
from mailbridge.routing.route import APPLICATION, RELAY

MAX_OCTETS = 4 * 1024 * 1024

resolve_types(Config)
_LISTS: dict[Any, type] = {
    tuple[SMTPListener, ...]: SMTPListener, tuple[POP3Listener, ...]: POP3Listener, tuple[RouteRule, ...]: RouteRule,
    tuple[FetchAccount, ...]: FetchAccount,
}
# The class of a table by name, what stands before the name, and the reader of the name.
_NAMED: dict[Any, tuple[type, str, Callable[[str], str]]] = {
    dict[str, RelaySettings]: (RelaySettings, "relay", relay_name),
    dict[str, ApplicationSettings]: (ApplicationSettings, "application", application_name),
    dict[str, TribeSettings]: (TribeSettings, "oce.tribes", tribe_name),
}
_TOML_PLACE = re.compile(r"(.*) \(at (?:(line [0-9]+, column [0-9]+)|(end of document))\)", re.DOTALL)
_HIDE = "use { file = ... }, or do: chmod o-rwx"


def this_host() -> str:
    """This host's full name, made valid."""
    return valid_hostname(socket.getfqdn(), socket.gethostname())


def valid_hostname(*candidates: str) -> str:
    """The first of `candidates` that names a host; names that lookups invent for loopback do not."""
    for candidate in candidates:
        name = re.sub(r"[^A-Za-z0-9.-]", "-", candidate).strip(".-")
        if name.endswith(".arpa") or name.split(".")[0] == "localhost":
            continue
        try:
            return hostname(name)
        except ValueError:
            continue
    return "localhost.localdomain"


def load(path: Path, targets: Collection[str] = (), default_hostname: Callable[[], str] = this_host) -> Config:
    """The configuration in the file `path`. Raises ConfigError with every fault.

    `targets` are the names that `to` of a route may have besides maildrop, maildrop:USER and refuse.
    """
    source = str(path)
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
            mode = os.fstat(file.fileno()).st_mode
    except OSError as error:
        raise ConfigError(source, (Fault("file", f"cannot be read: {error.strerror}"),)) from None
    if len(octets) > MAX_OCTETS:
        raise ConfigError(source, (Fault("file", "is larger than 4 MiB; that is no configuration"),))
    try:
        text = octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError(source, (Fault(f"line {line}", "is not UTF-8"),)) from None
    return load_text(text, source, path.absolute().parent, targets, default_hostname, bool(mode & stat.S_IROTH))


def load_text(
    text: str,
    source: str,
    base: Path,
    targets: Collection[str] = (),
    default_hostname: Callable[[], str] = this_host,
    public: bool = False,
) -> Config:
    """The configuration in `text`; `source` names it in messages, relative paths are below `base`.

    Raises ConfigError with every fault. `default_hostname` is asked only when the text has none. `public` says that
    everybody on this host may read the text, which then must hold no secret.
    """
    document = _parse(text, source)
    given = document if "hostname" in document else {**document, "hostname": default_hostname()}
    faults: list[Fault] = []
    config = None
    converter = _converter(base, frozenset({*targets, *_own_targets(document)}))
    try:
        config = converter.structure(given, Config)
    except ClassValidationError as error:
        faults.extend(_faults(error, ""))
    faults.extend(combinations(document))
    faults.extend(application_faults(document, _readable(converter, document)))
    faults.extend(popfetch_faults(document, converter.structure))
    if public:
        faults.extend(Fault(place, f"everybody may read this file, and the secret in it; {_HIDE} {source}")
                      for place in inline_secrets(document))
    if config is None or faults:
        raise ConfigError(source, tuple(dict.fromkeys(faults)))
    if "domains" not in document.get("users", {}):
        config = evolve(config, users=evolve(config.users, domains=(config.hostname,)))
    return evolve(config, relay={**config.relay, **forward_relay(config.receiver)}, source=source)


def _readable(converter: Converter, document: dict[str, Any]) -> Readable:
    """The tables of applications that can be read; the faults of the others are told already."""

    def read(structure: Callable[..., Any], *arguments: object) -> Any:
        try:
            return structure(*arguments)
        except Exception:  # cattrs raises groups of whatever its readers raise
            return None

    named = document.get("application")
    tables = named if isinstance(named, dict) else {}
    applications = {
        name: read(converter.structure, table, ApplicationSettings)
        for name, table in tables.items() if read(application_name, name)
    }
    return Readable(
        receiver=read(converter.structure, document.get("receiver", {}), ReceiverSettings),
        applications={name: table for name, table in applications.items() if table is not None},
        command_tags=read(command_tables, document.get("command_tags", {})),
    )


def _own_targets(document: dict[str, Any]) -> Iterator[str]:
    """What `to` of a route may name because there is a relay or an application of that name."""
    for table, prefix in (("relay", RELAY), ("application", APPLICATION)):
        named = document.get(table)
        if isinstance(named, dict):
            yield from (prefix + name for name in named)
    receiver = document.get("receiver")
    if isinstance(receiver, dict) and "forward_smtp_server" in receiver:
        yield RELAY + FORWARD
    yield from oce_targets(document)


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        fault = Fault("file", "is nested too deeply")
    except ValueError as error:  # TOMLDecodeError, and what int() and datetime() refuse
        match = _TOML_PLACE.fullmatch(str(error))
        place = (match[2] or "end of the file") if match else "file"
        fault = Fault(place, f"is not TOML: {match[1] if match else error}")
    raise ConfigError(source, (fault,))


# --- structure --------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4)  # cattrs writes and compiles code for each converter
def _converter(base: Path, targets: frozenset[str]) -> Converter:
    """A converter that takes each key with its reader and nothing else."""
    converter = Converter(forbid_extra_keys=True, detailed_validation=True)
    for kind, cls in _LISTS.items():
        converter.register_structure_hook_func(partial(eq, kind), _array(converter, cls))
    for kind, (cls, header, read_name) in _NAMED.items():
        converter.register_structure_hook_func(partial(eq, kind), _named(converter, cls, header, read_name))
    tables = dict(readers(base, targets))
    top = tables.pop(Config)  # last: its hooks are looked up when it is made
    for cls, keys in (*tables.items(), (Config, top)):
        overrides: dict[str, Any] = {name: override(struct_hook=_hook(reader)) for name, reader in keys.items()}
        if cls is Config:
            overrides["source"] = override(omit=True)
        converter.register_structure_hook(cls, _table(make_dict_structure_fn(cls, converter, **overrides)))
    return converter


def _hook(reader: Callable[[object], Any]) -> Callable[[object, object], Any]:
    return lambda value, _: reader(value)


def _table(structure: Callable[[Any, Any], Any]) -> Callable[[object, Any], Any]:
    def read(value: object, cls: Any) -> Any:
        if not isinstance(value, dict):
            raise ValueError(f"must be a table [...], got {shown(value)}")
        return structure(value, cls)

    return read


def _array(converter: Converter, cls: type) -> Callable[[object, Any], Any]:
    def read(value: object, kind: Any) -> Any:
        if not isinstance(value, list):
            raise ValueError(f"must be an array of tables, each under [[...]], got {shown(value)}")
        items: list[object] = []
        errors: list[Exception] = []
        for index, element in enumerate(value):
            try:
                items.append(converter.structure(element, cls))
            except Exception as error:
                error.add_note(IterableValidationNote("", index, cls))
                errors.append(error)
        if errors:
            raise IterableValidationError("", errors, kind)
        return tuple(items)

    return read


def _named(
    converter: Converter, cls: type, header: str, read_name: Callable[[str], str]
) -> Callable[[object, Any], Any]:
    def read(value: object, kind: Any) -> Any:
        if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
            raise ValueError(f"must be tables, each under [{header}.NAME], got {shown(value)}")
        tables: dict[str, object] = {}
        errors: list[Exception] = []
        for name, table in value.items():
            try:
                tables[read_name(name)] = converter.structure(table, cls)
            except ClassValidationError as error:
                error.add_note(AttributeValidationNote("", name, cls))
                errors.append(error)
            except ValueError as error:
                errors.append(error)
        if errors:
            raise ClassValidationError("", errors, cls)
        return tables

    return read


# --- faults -----------------------------------------------------------------------------------------------------------


def _faults(error: Exception, place: str) -> Iterator[Fault]:
    """The faults in a tree of cattrs errors, each with its place."""
    if isinstance(error, ClassValidationError):
        noted, plain = error.group_exceptions()
        for inner, note in noted:
            yield from _faults(inner, f"{place}.{note.name}" if place else note.name)
        for other in plain:
            yield from _faults(other, place)
    elif isinstance(error, IterableValidationError):
        for inner, index in error.group_exceptions()[0]:
            yield from _faults(inner, f"{place}[{index.index}]")
    elif isinstance(error, ForbiddenExtraKeysError):
        for key in sorted(error.extra_fields):
            yield Fault((place + place_of(key)).removeprefix("."), _unknown(key, error.cl))
    elif isinstance(error, Faulty):
        for below, problem in error.faults:
            yield Fault(place + below, problem)
    elif isinstance(error, KeyError):
        yield Fault(place, "is missing; it has no default")
    else:
        yield Fault(place, str(error))


def _unknown(key: str, cls: type) -> str:
    known = [field.name for field in fields(cls) if field.name != "source"]
    close = get_close_matches(key, known, 1)
    if close:
        return f'unknown key; did you mean "{close[0]}"?'
    homes = [table for table, names in _keys_of_tables() if key in names]
    if homes:
        return f"unknown key here; it belongs in {' or '.join(homes)}"
    return f"unknown key; known are {', '.join(known)}"


def _keys_of_tables() -> Iterator[tuple[str, set[str]]]:
    for section in fields(Config):
        kind: Any = section.type
        cls = _LISTS.get(kind)
        if cls is not None:
            yield f"[[{section.name}]]", {field.name for field in fields(cls)}
            continue
        if kind in _NAMED:
            yield f"[{section.name}.NAME]", {field.name for field in fields(_NAMED[kind][0])}
            continue
        for part in getattr(kind, "__args__", (kind,)):
            if isinstance(part, type) and has(part):
                yield f"[{section.name}]", {field.name for field in fields(part)}
