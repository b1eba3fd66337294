"""The users and aliases as the commands see them: asked of the running bridge or read from the store.

Looking never makes a store: where there is none yet, there are no people. (Who looks may be root, and what root makes
the user of the bridge could not write.)
"""

from __future__ import annotations

from mailbridge.cli.connect import Ask, converse
from mailbridge.config.model import Config
from mailbridge.errors import StartError
from mailbridge.store.changes import Alias, Credentials, People, User


def has_store(config: Config) -> bool:
    """Whether a store was made already. Errors: StartError when this user may not look."""
    path = config.state / config.store.url.removeprefix("sqlite:")
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}: run this as the user that runs mailbridge") from None
    return True


async def ask_people(ask: Ask) -> People:
    """All users, without their credentials, and all aliases."""
    users = (await ask("user list", {}))["users"]
    aliases = (await ask("alias list", {}))["aliases"]
    return People(
        tuple(
            User(user["id"], user["name"], Credentials("", ""), tuple(user["send_as"]), user["created"])
            for user in users
        ),
        tuple(Alias(alias["name"], tuple(alias["targets"])) for alias in aliases),
    )


def read_people(config: Config) -> People:
    """All of them. Runs the reactor: once in a process. Errors: StartError, NotAllowed, OperationError."""
    return converse(config, ask_people) if has_store(config) else People((), ())
