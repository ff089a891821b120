"""``penstock serve``: checks everything, takes the addresses, and only then begins."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Annotated, Literal

import uvloop
from cyclopts import Parameter

from penstock.api.app import control_app, public_app
from penstock.api.control import ControlError, ControlSocket
from penstock.api.server import HttpServer
from penstock.cli.checking import Prepared, complain, endpoints, prepared
from penstock.config import find_config
from penstock.mail.configuration import Configuration, SmtpListenerConfig, TlsMode
from penstock.mail.duration import QuantityError, parse_duration
from penstock.mail.ports import SpoolError
from penstock.mail.problem import ConfigError
from penstock.net.clock import SystemClock
from penstock.net.descriptors import raise_descriptor_limit
from penstock.net.listening import bind_all
from penstock.spool.files import FileError
from penstock.worker.worker import Worker

LOG = logging.getLogger("penstock")

Level = Literal["debug", "info", "warning", "error"]
_HTTP_GRACE = 2.0


def serve(
    *,
    config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None,
    log_level: Level = "info",
    drain: str = "30s",
) -> int:
    """Run the server in the foreground.

    SIGTERM and SIGINT stop it: no more mail is taken, what is under way is finished (a second signal cuts that short). SIGHUP reads the
    configuration again; if it has a mistake, the mistake is logged and everything goes on as before.
    Exit codes: 0 stopped; 1 it could not start, or failed; 2 the command or the configuration is wrong.

    Parameters
    ----------
    config
        The configuration file. Default: $PENSTOCK_CONFIG, or /etc/penstock/penstock.toml.
    log_level
        How much the diagnostic log on stderr tells.
    drain
        How long stopping may take, before connections are cut.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    try:
        grace = float(parse_duration(drain))
        path = find_config(config, os.environ)
        ready = prepared(path)
        configuration = ready.configuration
    except QuantityError as error:
        print(f"penstock serve: --drain: {error}", file=sys.stderr)
        return 2
    except ConfigError as error:
        complain(error)
        return 2
    try:
        # first the data directory, then the addresses: a second server is told so before it listens anywhere
        control = ControlSocket(configuration.node.data_dir)
        try:
            sockets = _bind(path, configuration)
            return uvloop.run(_Server(path, ready, control, sockets, grace).run())
        finally:
            control.remove()
    except ConfigError as error:
        complain(error)
        return 2
    except (ControlError, FileError, SpoolError, OSError) as error:
        print(f"penstock serve: {error}", file=sys.stderr)
        return 1


def _encryption(config: SmtpListenerConfig) -> str:
    """How a listener encrypts, for the log."""
    if config.tls is TlsMode.OFF:
        return "without TLS"
    mode = "with STARTTLS" if config.tls is TlsMode.STARTTLS else "with TLS from the start"
    return f"{mode}, {'its own' if config.tls_certificate else 'a self-signed'} certificate"


class _Sockets:
    """What was bound: a group for each SMTP listener, and one for each HTTP listener."""

    def __init__(self, smtp: list[list[socket.socket]], http: list[list[socket.socket]]) -> None:
        self.smtp = smtp
        self.http = http


def _bind(path: Path, configuration: Configuration) -> _Sockets:
    """Take every address, all or none."""
    bound = iter(bind_all(endpoints(configuration), file=str(path)))
    smtp = [[next(bound) for _ in listener.listen] for listener in configuration.smtp_listeners]
    http = [[next(bound) for _ in listener.listen] for listener in configuration.http_listeners]
    return _Sockets(smtp, http)


class _Server:
    """One run of the server."""

    def __init__(
        self,
        path: Path,
        ready: Prepared,
        control: ControlSocket,
        sockets: _Sockets,
        grace: float,
    ) -> None:
        self._path = path
        self._control = control
        self._configuration = ready.configuration
        self._policy = ready.policy
        self._sockets = sockets
        self._grace = grace
        self._stopping = asyncio.Event()
        self._reload = asyncio.Event()

    async def run(self) -> int:
        """From start to stop; the exit code."""
        loop = asyncio.get_running_loop()
        worker = Worker(
            self._configuration, self._sockets.smtp, SystemClock(), raise_descriptor_limit(), self._policy
        )
        http = [
            HttpServer(public_app(worker, worker, config.trusted_hosts), group)
            for config, group in zip(self._configuration.http_listeners, self._sockets.http, strict=True)
        ]
        http.append(HttpServer(control_app(worker), [self._control.socket]))
        stopping = self._stopping
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stopping.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)
        await worker.start()
        try:
            for server in http:
                await server.start()
        except BaseException:
            await worker.stop(0.0)
            raise
        self._announce(worker)
        await self._serve(worker)
        if worker.failed.is_set():
            self._grace = 0.0
        LOG.info("stopping: no more mail is taken; what is under way has %g s", self._grace)
        return await self._stop(worker, http)

    def _announce(self, worker: Worker) -> None:
        for listener in worker.listeners:
            for address in listener.addresses:
                LOG.info("smtp: listening on %s, %s", address, _encryption(listener.config))
        for group in self._sockets.http:
            for sock in group:
                LOG.info("http: listening on %s:%s", *sock.getsockname()[:2])
        if self._configuration.spool.durability == "os":
            LOG.warning(
                'SPOOL.DURABILITY IS "os": accepted mail is not put on stable storage; what a power cut or a crash of the system '
                "finds in memory is LOST."
            )

    async def _serve(self, worker: Worker) -> None:
        """Until a signal says stop; a reload at each SIGHUP."""
        stopping = asyncio.create_task(self._stopping.wait(), name="stop signal")
        failing = asyncio.create_task(worker.failed.wait(), name="failure")
        try:
            while not stopping.done() and not failing.done():
                reloading = asyncio.create_task(self._reload.wait(), name="reload signal")
                await asyncio.wait({stopping, failing, reloading}, return_when=asyncio.FIRST_COMPLETED)
                if reloading.done():
                    self._reload.clear()
                    await self._reconfigure(worker)
                else:
                    reloading.cancel()
        finally:
            stopping.cancel()
            failing.cancel()

    async def _reconfigure(self, worker: Worker) -> None:
        """Another epoch, if the whole of the new configuration is right and can take effect."""
        try:
            ready = await asyncio.to_thread(prepared, self._path, worker.configuration.epoch + 1)
            new = ready.configuration
            if problems := worker.unchangeable(new):
                raise ConfigError(problems)
        except ConfigError as error:
            for problem in error.problems:
                LOG.error("not reloaded: %s", problem)
            return
        except Exception:
            # the server and its mail outlive whatever is wrong with a new configuration
            LOG.exception("not reloaded: internal error")
            return
        await worker.reconfigure(new, ready.policy)
        LOG.info("reloaded: configuration epoch %d", new.epoch)

    async def _stop(self, worker: Worker, http: list[HttpServer]) -> int:
        loop = asyncio.get_running_loop()
        hurry = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            loop.add_signal_handler(number, hurry.set)
        stopping = asyncio.create_task(worker.stop(self._grace), name="stop")
        hurried = asyncio.create_task(hurry.wait(), name="hurry")
        await asyncio.wait({stopping, hurried}, return_when=asyncio.FIRST_COMPLETED)
        if not stopping.done():
            LOG.warning("stopping at once")
            stopping.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await stopping
            stopping = asyncio.create_task(worker.stop(0.0), name="stop at once")
        hurried.cancel()
        left = await stopping
        for server in http:
            await server.stop(_HTTP_GRACE)
        if worker.spool.counts.is_recovering:
            LOG.info(
                "stopped: mail from before the start was still being read, and is in the spool as it was"
            )
        else:
            LOG.info("stopped: %d messages are in the spool", left)
        return 1 if worker.failed.is_set() else 0
