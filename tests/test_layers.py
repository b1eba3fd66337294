"""The layers: imports point down only, pure rooms touch nothing, modules stay short (INTERNALS)."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import mailbridge

PACKAGE = Path(mailbridge.__file__).parent
LONGEST = 350

VALUES, PURE, ADAPTERS, ASSEMBLY = range(4)
_ROOMS = {
    "message": PURE, "application": PURE, "oce": PURE, "smtp": PURE, "pop3": PURE, "sasl": PURE, "routing": PURE,
    "queue": PURE,
    "edge": ADAPTERS, "store": ADAPTERS, "target": ADAPTERS, "accounts": ADAPTERS, "admin": ADAPTERS, "logs": ADAPTERS,
    "fetch": ADAPTERS, "config": ASSEMBLY, "cli": ASSEMBLY, "testing": ASSEMBLY,
}
# Single modules: the values and seams, those that are something else than their folder, and those beside the rooms.
_MODULES = {
    **dict.fromkeys(("", "errors", "limits", "reply", "outcome", "address", "content", "envelope", "lines", "received",
                     "clock", "message.header", "interfaces", "niceness", "randomness", "routing.route",
                     "store.changes", "store.users"), VALUES),
    **dict.fromkeys(("fetch", "fetch.conflines", "fetch.dmailconf", "fetch.notice", "fetch.recipient",
                     "fetch.settings", "fetch.words"), PURE),
    **dict.fromkeys(("oce.seen", "oce.embedded.federation", "oce.embedded.mailboxes", "oce.embedded.oce",
                     "oce.embedded.passwords", "oce.embedded.records", "oce.embedded.site",
                     "oce.embedded.house", "oce.underway"), ADAPTERS),
    **dict.fromkeys(("certificate", "sendmail", "sendjob", "sendresult", "oce.exchange", "oce.client", "oce.collector",
                     "oce.aside", "oce.pullinfo"), ADAPTERS),
    **dict.fromkeys(("service", "tap", "testing", "waysout", "receiver", "ocebridge", "ocealone", "ocetap",
                     "edges", "collecting", "connected"), ASSEMBLY),
}
# What works through seams may name a Deferred and Twisted interfaces; it makes no connection and no timer itself.
_THROUGH_SEAMS = ("interfaces", "routing.intake", "queue.bounce", "queue.runner", "queue.attempt", "queue.claims",
                  "queue.commits")
_SEAMS = ("twisted.internet.defer", "twisted.internet.interfaces")
_FORBIDDEN = ("twisted.internet", "socket", "os", "time", "random", "secrets")


def modules() -> Iterator[tuple[str, Path]]:
    """(name below mailbridge, file) of every module; a package is named like its folder."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def layer(name: str) -> int | None:
    """The layer of a module, None for one that no table names."""
    if name in _MODULES:
        return _MODULES[name]
    return _ROOMS.get(name.partition(".")[0])


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported anywhere in `tree`, also inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def type_only(tree: ast.AST) -> set[str]:
    """What is imported under `if TYPE_CHECKING:` only."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
    return {name for block in blocks for name in imports(block)}


def upward(name: str, source: str, known: set[str]) -> list[str]:
    """The imports of our own modules in `source` that point up from the module `name`."""
    own = layer(name) or VALUES
    found = []
    for imported in imports(ast.parse(source)):
        if imported.partition(".")[0] != "mailbridge":
            continue
        below = imported.partition(".")[2]
        if below in known and below and (layer(below) or 0) > own:
            found.append(imported)
    return found


def impure(name: str, source: str) -> list[str]:
    """The imports in `source` that a pure room does not make."""
    tree = ast.parse(source)
    hints = type_only(tree)
    allowed = _SEAMS if name in _THROUGH_SEAMS else ()
    return [
        imported for imported in imports(tree)
        if _below(imported, _FORBIDDEN) and not _below(imported, allowed) and imported not in hints
        and imported != "twisted.internet"
    ]


def _below(imported: str, tops: tuple[str, ...]) -> bool:
    return any(imported == top or imported.startswith(top + ".") for top in tops)


class LayerTests(SynchronousTestCase):
    """Every module of mailbridge."""

    def test_every_module_has_a_layer(self) -> None:
        """A new room or module is entered in the table above before it is used."""
        self.assertEqual([name for name, _ in modules() if layer(name) is None], [])

    def test_imports_point_down(self) -> None:
        """No module imports one of a higher layer."""
        known = {name for name, _ in modules()}
        found = [f"{name}: {up}" for name, path in modules() for up in upward(name, path.read_text("utf-8"), known)]
        self.assertEqual(found, [])

    def test_adapters_do_not_read_the_configuration(self) -> None:
        """Adapters take small settings values: only assembly knows the file."""
        found = [
            name for name, path in modules() if layer(name) != ASSEMBLY
            and any(i.startswith("mailbridge.config") for i in imports(ast.parse(path.read_text("utf-8"))))
        ]
        self.assertEqual(found, [])

    def test_pure_rooms_touch_nothing(self) -> None:
        """Values and pure rooms know no reactor, socket, file system, clock or randomness."""
        found = [
            f"{name}: {bad}" for name, path in modules() if layer(name) in (VALUES, PURE)
            for bad in impure(name, path.read_text("utf-8"))
        ]
        self.assertEqual(found, [])

    def test_no_global_reactor(self) -> None:
        """Only assembly names the global reactor."""
        found = [
            name for name, path in modules() if layer(name) != ASSEMBLY
            and "twisted.internet.reactor" in imports(ast.parse(path.read_text("utf-8")))
        ]
        self.assertEqual(found, [])

    def test_short_modules(self) -> None:
        """No module is longer than can be read at one go."""
        lengths = {name: path.read_text("utf-8").count("\n") for name, path in modules()}
        self.assertEqual({name: length for name, length in lengths.items() if length > LONGEST}, {})

    def test_every_module_says_what_it_is(self) -> None:
        """Every module begins with a docstring."""
        found = [name for name, path in modules() if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
        self.assertEqual(found, [])


class WalkTests(SynchronousTestCase):
    """The walk itself finds what it looks for."""

    def test_finds_upward_imports(self) -> None:
        """An import that points up is seen in each of its spellings, also inside a function."""
        known = {"edge", "edge.smtp", "lines"}
        for source in (
            "import mailbridge.edge.smtp", "from mailbridge.edge import smtp", "from mailbridge.edge.smtp import X",
            "from mailbridge import edge", "def f():\n    from mailbridge.edge.smtp import X",
        ):
            self.assertNotEqual(upward("smtp.server", source, known), [], source)
        self.assertEqual(upward("smtp.server", "from mailbridge.lines import X", known), [])
        self.assertEqual(upward("cli.main", "from mailbridge.edge.smtp import X", known), [])

    def test_finds_impure_imports(self) -> None:
        """A clock, a socket and a reactor are seen; names for type hints are not held against a module."""
        for source in ("import time", "import os.path", "from twisted.internet import defer", "from os import path"):
            self.assertNotEqual(impure("routing.table", source), [], source)
        self.assertEqual(impure("routing.table", "import re, timeit"), [])
        hint = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from twisted.internet.defer import Deferred\n"
        self.assertEqual(impure("smtp.server", hint), [])
        self.assertEqual(impure("interfaces", "from twisted.internet.defer import Deferred"), [])
        self.assertNotEqual(impure("interfaces", "from twisted.internet import reactor"), [])
