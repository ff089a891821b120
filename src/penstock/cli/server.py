"""What commands that talk to the running server have in common: where it is, what it answers, and what is said if it does not."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from cyclopts import Parameter

from penstock.api.client import DEADLINE, ControlRefusal, control_ask
from penstock.api.control import ControlError
from penstock.cli.checking import data_dir_of
from penstock.config import find_config
from penstock.mail.control import ControlRefused
from penstock.mail.duration import QuantityError
from penstock.mail.problem import ConfigError

#: ``--config``, of every command that talks to the server.
Config = Annotated[
    str | None,
    Parameter(
        name=["--config", "-c"],
        help="The configuration that the server runs with; else $PENSTOCK_CONFIG, else /etc/penstock/penstock.toml.",
    ),
]
#: ``--json``, and ``--dry-run`` of every one that changes something.
AsJson = Annotated[bool, Parameter(name="--json", negative="")]
DryRun = Annotated[bool, Parameter(name="--dry-run", negative="")]
Answer = TypeVar("Answer")

DONE: Final = 0
FAILED: Final = 1
WRONG: Final = 2
#: It is done, and not all lanes are known to go by it.
PARTLY: Final = 3


class CommandError(Exception):
    """The command line cannot be done as it is; ``str()`` says what would be right."""


class Server:
    """The running server of a configuration. ControlError from every question, ConfigError from making it."""

    def __init__(self, config: str | None) -> None:
        self._data_dir: Path = data_dir_of(find_config(config, os.environ))

    def ask(
        self,
        kind: type[Answer],
        method: str,
        path: str,
        request: msgspec.Struct | None = None,
        *,
        deadline: float = DEADLINE,
    ) -> Answer:
        """What a request is answered, as a ``kind``."""
        answer = self.read(method, path, request, deadline=deadline)
        try:
            return msgspec.json.decode(answer, type=kind)
        except msgspec.DecodeError as error:
            raise ControlError(f"the server's answer is of another version of Penstock: {error}") from error

    def read(
        self, method: str, path: str, request: msgspec.Struct | None = None, *, deadline: float = DEADLINE
    ) -> bytes:
        """The octets that a request is answered with."""
        body = msgspec.json.encode(request) if request is not None else None
        return asyncio.run(control_ask(self._data_dir, method, path, body, deadline=deadline))


def run(command: str, config: str | None, work: Callable[[Server], int]) -> int:
    """Do ``work`` with the server; the exit status. What goes wrong is told on stderr."""
    try:
        return work(Server(config))
    except ControlRefusal as refusal:
        return complain(command, refusal.reason, FAILED)
    except (CommandError, ConfigError, ControlRefused, QuantityError) as error:
        return complain(command, str(error), WRONG)
    except ControlError as error:
        return complain(command, str(error), FAILED)
    except KeyboardInterrupt:
        return 130


def complain(command: str, text: str, status: int) -> int:
    """Say what is wrong; ``status``."""
    sys.stderr.write(f"penstock {command}: {text}\n")
    return status


def put_json(content: object) -> None:
    """Write a record as JSON, for programs."""
    sys.stdout.write(msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n")
