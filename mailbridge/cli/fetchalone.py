"""Commands for the fetcher: asked of the running bridge, else of one that is put together for the command alone."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from mailbridge.admin.arguments import Arguments
from mailbridge.admin.call import NotRunning, call
from mailbridge.admin.control import socket_path
from mailbridge.admin.fetch import FetchOperations
from mailbridge.cli.connect import Opened, alone
from mailbridge.collecting import Collecting
from mailbridge.config import rooms
from mailbridge.config.model import Config
from mailbridge.queue.bounce import Bounce
from mailbridge.randomness import BulkRandom
from mailbridge.routing.intake import Intake

PATIENCE = 7 * 86400.0
"""Seconds: a first collection may take as long as it takes."""

T = TypeVar("T")
Ask = Callable[[str, dict[str, Any]], Awaitable[Any]]


async def asking(reactor: Any, config: Config, work: Callable[[Ask], Awaitable[T]]) -> T:
    """What `work(ask)` returns. Raises OperationError, StartError, NotAllowed."""
    path = socket_path(config.state)

    async def ask(command: str, arguments: dict[str, Any]) -> Any:
        return await call(reactor, path, command, arguments, PATIENCE)

    try:
        await ask("fetch status", {})
    except NotRunning:
        return await alone(reactor, config, lambda opened: _with_fetcher(reactor, config, opened, work))
    return await work(ask)


async def _with_fetcher(reactor: Any, config: Config, opened: Opened, work: Callable[[Ask], Awaitable[T]]) -> T:
    random = BulkRandom(os.urandom)
    bounce = Bounce(opened.store, opened.table, rooms.bounce_settings(config), reactor, random)
    intake = Intake(opened.store, opened.table, opened.directory, config.hostname, config.limits, reactor, random,
                    rooms.submission_rules(config), bounce)
    collecting = Collecting(reactor, opened.store, intake)
    collecting.follow(collecting.make(config))
    commands = FetchOperations(collecting).commands

    async def ask(command: str, arguments: dict[str, Any]) -> Any:
        return await commands[command](Arguments(arguments))

    try:
        return await work(ask)
    finally:
        await collecting.stop()
