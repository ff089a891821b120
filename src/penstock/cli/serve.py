"""``penstock serve``: checks everything, takes the addresses, and only then begins."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import uvloop
from cyclopts import Parameter

import penstock
from penstock.api.app import control_app
from penstock.api.control import ControlError, ControlSocket
from penstock.api.server import HttpServer
from penstock.cli.checking import complain, read_epoch
from penstock.cli.child import set_up_log
from penstock.cli.doors import Doors, open_doors
from penstock.cli.privileges import User
from penstock.cli.rehearsal import Running
from penstock.cli.standalone import serve_standalone
from penstock.cli.succession import Succession, inherited, objection, succeed
from penstock.config import Loaded, find_config, load
from penstock.ipc.channel import ChannelError
from penstock.mail.configuration import SmtpListenerConfig, TlsMode
from penstock.mail.duration import QuantityError, Seconds, parse_duration
from penstock.mail.lanes import general_lanes, is_general, is_lane_name
from penstock.mail.problem import ConfigError
from penstock.net.clock import SystemClock
from penstock.net.descriptors import raise_descriptor_limit
from penstock.net.listening import endpoint_of
from penstock.spool.places import clear_up, settle, spools
from penstock.supervisor.members import Plan, SupervisorError
from penstock.supervisor.report import Report
from penstock.supervisor.scribe import ScribeProcess
from penstock.supervisor.service_manager import ServiceManager, given_sockets
from penstock.supervisor.state import State, StateError, StoredEpoch
from penstock.supervisor.supervisor import Supervisor
from penstock.supervisor.visitors import receive

LOG = logging.getLogger("penstock")

#: More processors than this are used only if the configuration says so: each worker takes some 40 MB.
_MOST_WORKERS: Final = 64

Level = Literal["debug", "info", "warning", "error"]
_HTTP_GRACE = 2.0
#: What a worker that is replaced may take for transactions under way; new clients wait for the next one meanwhile.
REPLACE_GRACE = Seconds(10.0)


def serve(
    *,
    config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None,
    log_level: Level = "info",
    drain: str = "30s",
    lane: str | None = None,
) -> int:
    """Run the server in the foreground.

    SIGTERM and SIGINT stop it: no more mail is taken, what is under way is finished (a second signal cuts that short). SIGHUP reads the
    configuration again; if it has a mistake, the mistake is logged and everything goes on as before. SIGUSR2 upgrades the program.
    Exit codes: 0 stopped; 1 it could not start, or failed; 2 the command or the configuration is wrong.

    Parameters
    ----------
    config
        The configuration file. Default: $PENSTOCK_CONFIG, or /etc/penstock/penstock.toml.
    log_level
        How much the diagnostic log on stderr tells.
    drain
        How long stopping may take, before connections are cut.
    lane
        Run this lane alone, a [[lane]] with standalone = true, beside the server that runs already.
    """
    set_up_log(log_level)
    try:
        grace = Seconds(float(parse_duration(drain)))
        path = find_config(config, os.environ)
        if lane is not None:
            return serve_standalone(path, lane)
        loaded, user = _read(path)
    except QuantityError as error:
        print(f"penstock serve: --drain: {error}", file=sys.stderr)
        return 2
    except ConfigError as error:
        complain(error)
        return 2
    return _serve(path, loaded, user, log_level, grace)


def _read(path: Path) -> tuple[Loaded, User]:
    """The configuration, read as the user whom it names; ConfigError."""
    user = User(load(path).node.user, path)
    with user.acting():
        return read_epoch(path), user


def _serve(path: Path, loaded: Loaded, user: User, log_level: Level, grace: Seconds) -> int:
    configuration = loaded.configuration
    data_dir = Path(configuration.node.data_dir)
    plan = Plan(
        root=str(path),
        general=general_lanes(configuration.node.workers or _processors()),
        dedicated=tuple(lane.name for lane in configuration.lanes),
        standalone=frozenset(lane.name for lane in configuration.lanes if lane.standalone),
        options=("--log-level", log_level),
    )
    try:
        # first the data directory, then the addresses: a second server is told so before it listens anywhere
        before = inherited(os.environ)
        user.own(data_dir)
        with user.acting():
            control = ControlSocket(data_dir, None if before is None else before.control)
        try:
            given = given_sockets(os.environ, os.getpid())
            kept = before.sockets() if before is not None else {}
            doors = open_doors(path, configuration, len(plan.general), given, kept)
            user.become()
            raise_descriptor_limit()
            if settle(data_dir):
                LOG.info("the spool of an earlier version is now that of lane 0")
            plan = with_orphans(plan, data_dir)
            state = State(data_dir)
            server = _Server(path, plan, loaded, state, doors, control, grace, before)
            return uvloop.run(server.run())
        finally:
            control.remove()
    except ConfigError as error:
        complain(error)
        return 2
    except (ControlError, ChannelError, StateError, SupervisorError, OSError) as error:
        print(f"penstock serve: {error}", file=sys.stderr)
        return 1


def _processors() -> int:
    """How many processors this process may use."""
    return min(len(os.sched_getaffinity(0)), _MOST_WORKERS)


def with_orphans(plan: Plan, data_dir: Path) -> Plan:
    """The plan, with what is to become of spools that belong to none of its lanes. OSError."""
    clear_up(data_dir)
    orphans = tuple(
        lane
        for lane in spools(data_dir)
        if lane not in plan.general + plan.dedicated and (is_general(lane) or is_lane_name(lane))
    )
    for orphan in orphans:
        LOG.info("there is no lane %s any more; its mail moves to others", orphan)
    return msgspec.structs.replace(plan, orphans=orphans)


def _encryption(config: SmtpListenerConfig) -> str:
    """How a listener encrypts, for the log."""
    if config.tls is TlsMode.OFF:
        return "without TLS"
    mode = "with STARTTLS" if config.tls is TlsMode.STARTTLS else "with TLS from the start"
    return f"{mode}, {'its own' if config.tls_certificate else 'a self-signed'} certificate"


def _kept(state: State, loaded: Loaded, clock: SystemClock) -> StoredEpoch:
    """The epoch of the files as they are: the last one, if nothing has changed since, or a new one, which is kept. StateError."""
    last = state.epoch()
    if last is not None and last.files == loaded.files:
        return last
    epoch = StoredEpoch(last.number + 1 if last is not None else 1, loaded.files)
    state.keep_epoch(epoch, clock.wall(), penstock.__version__)
    return epoch


class _Server:
    """One run of the server."""

    def __init__(
        self,
        path: Path,
        plan: Plan,
        loaded: Loaded,
        state: State,
        doors: Doors,
        control: ControlSocket,
        grace: Seconds,
        before: Succession | None,
    ) -> None:
        self._path = path
        self._plan = plan
        self._loaded = loaded
        self._state = state
        self._doors = doors
        self._control = control
        self._grace = grace
        self._before = before
        self._stopping = asyncio.Event()
        self._reload = asyncio.Event()
        self._upgrade = asyncio.Event()

    async def run(self) -> int:
        """From start to stop; the exit code."""
        loop = asyncio.get_running_loop()
        clock = SystemClock()
        epoch = _kept(self._state, self._loaded, clock)
        supervisor = Supervisor(
            self._plan,
            self._loaded,
            epoch,
            self._state,
            self._doors.smtp,
            clock,
            lambda: read_epoch(self._path),
        )
        if self._before is not None:
            supervisor.adopt(self._before.children, REPLACE_GRACE)
        report = Report(supervisor)
        report.scribe = scribe = ScribeProcess(
            self._plan.options,
            self._plan.root,
            lambda: supervisor.epoch,
            [[each for door in group for each in door] for group in self._doors.http],
            clock,
            report.fault,
            report.snapshot,
        )
        control = HttpServer(control_app(report, supervisor.desk), [self._control.socket])
        manager = ServiceManager(os.environ)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        loop.add_signal_handler(signal.SIGUSR2, self._upgrade.set)
        try:
            await self._start(supervisor, scribe, control)
            visitors = await receive(supervisor, self._loaded.configuration.node.data_dir)
            if not self._stopping.is_set():
                self._announce()
                manager.ready()
            watchdog = loop.create_task(_watchdog(manager), name="watchdog")
            await self._serve(supervisor, scribe, manager, report)
            watchdog.cancel()
            LOG.info("stopping: no more mail is taken; what is under way has %g s", self._grace)
            manager.stopping()
            visitors.close()
            await self._stop(supervisor, scribe, control)
        finally:
            self._state.close()
        return 0

    async def _start(self, supervisor: Supervisor, scribe: ScribeProcess, control: HttpServer) -> None:
        """Start everything, or nothing; a signal to stop cuts it short."""
        await control.start()

        async def start() -> None:
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(scribe.start(), name="start the scribe")
                    group.create_task(supervisor.start(), name="start the lanes")
            except ExceptionGroup as errors:
                await asyncio.gather(supervisor.stop(Seconds(0.0)), scribe.stop())
                raise errors.exceptions[0] from None
            await scribe.tell_fault()

        starting = asyncio.create_task(start(), name="start")
        stopping = asyncio.create_task(self._stopping.wait(), name="stop signal")
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if starting.done():
            await starting

    def _announce(self) -> None:
        configuration = self._loaded.configuration
        for listener, group in zip(configuration.smtp_listeners, self._doors.smtp, strict=True):
            for door in group:
                LOG.info("smtp: listening on %s, %s", endpoint_of(door[0]), _encryption(listener))
        for group in self._doors.http:
            for door in group:
                LOG.info("http: listening on %s", endpoint_of(door[0]))
        if configuration.spool.durability == "os":
            LOG.warning(
                'SPOOL.DURABILITY IS "os": accepted mail is not put on stable storage; what a power cut or a crash of the system '
                "finds in memory is LOST."
            )

    async def _serve(
        self, supervisor: Supervisor, scribe: ScribeProcess, manager: ServiceManager, report: Report
    ) -> None:
        """Until a signal says stop; a reload at each SIGHUP, another program at SIGUSR2."""
        stopping = asyncio.create_task(self._stopping.wait(), name="stop signal")
        try:
            while not stopping.done():
                reloading = asyncio.create_task(self._reload.wait(), name="reload signal")
                upgrading = asyncio.create_task(self._upgrade.wait(), name="upgrade signal")
                await asyncio.wait({stopping, reloading, upgrading}, return_when=asyncio.FIRST_COMPLETED)
                if reloading.done():
                    self._reload.clear()
                    manager.reloading()
                    await _reconfigure(supervisor)
                    manager.ready()
                if upgrading.done():
                    self._upgrade.clear()
                    manager.reloading()
                    await self._become_new(supervisor, scribe, report)
                    manager.ready()
                reloading.cancel()
                upgrading.cancel()
        finally:
            stopping.cancel()

    async def _become_new(self, supervisor: Supervisor, scribe: ScribeProcess, report: Report) -> None:
        """Go over to the program on the disk, if it has no objection; returns only if it does not come to it."""
        if not supervisor.is_settled:
            report.refuse_upgrade("a lane is being started or replaced; try again when all are ready")
            return
        node = self._loaded.configuration.node
        running = Running(node.data_dir, node.user, tuple(self._doors.by_address))
        reason = await objection(self._path, running)
        if reason is not None:
            report.refuse_upgrade(reason)
            return
        LOG.info("upgrading: the supervisor becomes the new program, and then each worker is replaced")
        await scribe.stop()  # it is back with the new program; whoever asks over HTTP waits
        children = await supervisor.leave()
        doors = {
            address: [each.fileno() for each in door] for address, door in self._doors.by_address.items()
        }
        arguments = ("serve", "-c", str(self._path), *self._plan.options, "--drain", f"{self._grace:g}s")
        self._state.close()
        succeed(Succession(self._control.socket.fileno(), doors, children), arguments)

    async def _stop(self, supervisor: Supervisor, scribe: ScribeProcess, control: HttpServer) -> None:
        loop = asyncio.get_running_loop()
        hurry = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            loop.add_signal_handler(number, hurry.set)
        stopping = asyncio.create_task(supervisor.stop(self._grace), name="stop")
        hurried = asyncio.create_task(hurry.wait(), name="hurry")
        await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            LOG.warning("stopping at once")
            await supervisor.stop(Seconds(0.0))
        hurried.cancel()
        left = await stopping
        await scribe.stop()
        await control.stop(_HTTP_GRACE)
        if left is None:
            LOG.info(
                "stopped: mail from before the start was still being read, and is in the spool as it was"
            )
        else:
            LOG.info("stopped: %d messages are in the spool", left)


async def _reconfigure(supervisor: Supervisor) -> None:
    """Another epoch, if the whole of the new configuration is right and can take effect."""
    try:
        problems = await supervisor.reload()
    except Exception:
        # the server and its mail outlive whatever is wrong with a new configuration
        LOG.exception("not reloaded: internal error")
        return
    for problem in problems:
        LOG.error("not reloaded: %s", problem)
    if not problems:
        LOG.info("reloaded: configuration epoch %d", supervisor.agreement.kept)


async def _watchdog(manager: ServiceManager) -> None:
    """Tell the service manager that the loop goes round, as often as it wants to hear."""
    if manager.watchdog is not None:
        while True:
            manager.alive()
            await asyncio.sleep(manager.watchdog)
