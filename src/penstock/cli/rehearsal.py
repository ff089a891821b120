"""What an upgrade must find before there is no way back: the new program looks whether it could take over what the running server has.

It is a process of its own, started by the old program and of the new one, while the old one has all its sockets.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from penstock.cli.checking import checked, complain, endpoints
from penstock.cli.doors import door_name
from penstock.config.changes import unchangeable_by_upgrade
from penstock.mail.configuration import Configuration
from penstock.mail.problem import ConfigError
from penstock.net.listening import bind_all


class Running(msgspec.Struct, frozen=True):
    """What the running server has, which its successor keeps: the paths are as configured, the addresses too."""

    data_dir: str
    user: str | None
    addresses: tuple[str, ...]


def rehearse(arguments: Sequence[str]) -> int:
    """Check a configuration, and that a server that runs could go over to it. The exit codes of ``penstock check``."""
    path, running = Path(arguments[0]), msgspec.json.decode(arguments[1], type=Running)
    try:
        configuration = checked(path)
        problems = unchangeable_by_upgrade(running.data_dir, running.user, configuration, path)
        if problems:
            raise ConfigError(problems)
        _try_addresses(path, configuration, running)
    except ConfigError as error:
        complain(error)
        return 2
    return 0


def _try_addresses(path: Path, configuration: Configuration, running: Running) -> None:
    """Take the addresses that are new, and give them back; ConfigError if that cannot be."""
    new = [each for each in endpoints(configuration) if door_name(*each) not in running.addresses]
    for opened in bind_all(new, file=str(path)):
        opened.close()


def command(config: Path, running: Running) -> tuple[str, ...]:
    """The arguments of the program for this."""
    return ("rehearse", str(config), msgspec.json.encode(running).decode())
