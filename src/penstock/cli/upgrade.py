"""``penstock upgrade``: the running server goes over to the program as it is now on the disk, without refusing a connection."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from penstock.api.client import control_get
from penstock.api.control import ControlError
from penstock.cli.checking import data_dir_of
from penstock.config import find_config
from penstock.mail.duration import QuantityError, parse_duration
from penstock.mail.problem import ConfigError
from penstock.mail.status import Status

_POLL: Final = 0.2


def upgrade(
    *, config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None, patience: str = "5m"
) -> int:
    """Let the running server go over to the program, and the configuration, as they are now on the disk.

    The new program checks the configuration first; if that finds anything, nothing changes, and this says why. Then the
    supervisor becomes the new program, and each worker is drained and replaced, one after the other. No connection is refused meanwhile.
    Exit codes: 0 all workers are new; 1 they are not, within the patience; 2 the command or the configuration is wrong.

    Parameters
    ----------
    config
        The configuration that the server runs with; else $PENSTOCK_CONFIG, else /etc/penstock/penstock.toml.
    patience
        How long to wait until all workers are new.
    """
    try:
        limit = float(parse_duration(patience))
        data_dir = data_dir_of(find_config(config, os.environ))
    except (ConfigError, QuantityError) as error:
        return _complain(str(error), 2)
    try:
        before = _status(data_dir)
        old = {lane.lane: lane.pid for lane in before.lanes if lane.starts}
        os.kill(before.pid, signal.SIGUSR2)
        return _wait(data_dir, old, before.upgrade_refused, time.monotonic() + limit)
    except (ControlError, OSError, msgspec.DecodeError) as error:
        return _complain(str(error), 1)
    except KeyboardInterrupt:
        return 130


def _wait(data_dir: Path, old: dict[str, int | None], refused: object, deadline: float) -> int:
    """``refused`` is the last refusal from before this one."""
    left = set(old)
    while left and time.monotonic() < deadline:
        time.sleep(_POLL)
        try:
            status = _status(data_dir)
        except ControlError:
            continue  # the supervisor is just becoming the new program
        if status.upgrade_refused is not None and status.upgrade_refused != refused:
            return _complain(f"not upgraded: {status.upgrade_refused[1]}", 1)
        lanes = {lane.lane: lane for lane in status.lanes}
        for name in sorted(left):
            lane = lanes.get(name)
            if lane is None or (lane.phase == "ready" and lane.pid not in (None, old[name])):
                left.discard(name)
                print(f"lane {name}: {'is gone' if lane is None else f'is process {lane.pid} now'}")
    if left:
        late = ", ".join(sorted(left))
        return _complain(f"not new in time: lane {late}; the server's log says why", 1)
    return 0


def _status(data_dir: Path) -> Status:
    return msgspec.json.decode(asyncio.run(control_get(data_dir, "/control/status/v1")), type=Status)


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"penstock upgrade: {text}\n")
    return status
