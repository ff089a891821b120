"""``penstock status``: how the running server is, for a person or a program."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Annotated

import msgspec
from cyclopts import Parameter

from penstock.api.client import control_get
from penstock.api.control import ControlError
from penstock.cli.checking import data_dir_of
from penstock.cli.status_view import render
from penstock.config import find_config
from penstock.mail.problem import ConfigError
from penstock.mail.status import Status


def status(
    *,
    config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show how the running server is.

    Exit status: 0 it is well, 1 it does not run, or is not well, or a lane of it does not run, 2 the command line or the configuration is wrong.

    Parameters
    ----------
    config
        The configuration that the server runs with; else $PENSTOCK_CONFIG, else /etc/penstock/penstock.toml.
    json
        Show everything as JSON.
    """
    try:
        data_dir = data_dir_of(find_config(config, os.environ))
    except ConfigError as error:
        return _complain(str(error), 2)
    try:
        answer = asyncio.run(control_get(data_dir, "/control/status/v1"))
        now = msgspec.json.decode(answer, type=Status)
    except ControlError as error:
        return _complain(str(error), 1)
    except msgspec.DecodeError as error:
        return _complain(f"the server's answer is of another version of Penstock: {error}", 1)
    except KeyboardInterrupt:
        return 130
    if json:
        sys.stdout.write(msgspec.json.format(answer, indent=2).decode() + "\n")
    else:
        render(now, sys.stdout)
    is_whole = all(lane.phase != "not running" for lane in now.lanes)
    return 0 if now.fault is None and is_whole else 1


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"penstock status: {text}\n")
    return status
