"""``penstock serve --lane``: one lane's process, under a service manager of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import uvloop

from penstock.cli.checking import complain, data_dir_of
from penstock.cli.privileges import User
from penstock.cli.worker import serve_lane
from penstock.config import load
from penstock.ipc.bus import BusEnded, BusFault
from penstock.ipc.channel import ChannelError, connect
from penstock.mail.problem import ConfigError
from penstock.supervisor.service_manager import ServiceManager
from penstock.supervisor.visitors import supervisor_socket
from penstock.worker.duty import Duty


def serve_standalone(path: Path, lane: str) -> int:
    """Join the running server as this lane; from start to end, the exit code."""
    try:
        user = User(load(path).node.user, path)
        where = supervisor_socket(data_dir_of(path))
    except ConfigError as error:
        complain(error)
        return 2
    user.become()

    async def join(duty: Duty) -> None:
        await connect(where, duty.bus.channel)
        await duty.join(lane)
        ServiceManager(os.environ).ready()

    try:
        return uvloop.run(serve_lane(join))
    except (ChannelError, BusEnded, BusFault, TimeoutError) as error:
        print(f"penstock serve: {error}; is the server running?", file=sys.stderr)
        return 1
