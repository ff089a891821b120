"""``penstock demo``: the whole server on an example, with a built-in sink for the world; nothing leaves this machine."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import smtplib
import socket
import sys
import tempfile
from email.message import EmailMessage
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Annotated

import msgspec
import uvloop
from cyclopts import Parameter
from rich.console import Console
from rich.text import Text

from penstock.api.app import control_app, public_app
from penstock.api.control import ControlError, ControlSocket
from penstock.api.server import HttpServer
from penstock.cli.checking import checked, complain, endpoints
from penstock.events.tail import Position, Reader
from penstock.events.view import Filter, pieces
from penstock.mail.configuration import Endpoint
from penstock.mail.problem import ConfigError
from penstock.mail.status import Snapshot, Status
from penstock.net.clock import SystemClock
from penstock.net.descriptors import raise_descriptor_limit
from penstock.net.listening import bind_all, endpoint_of
from penstock.scribe.service import ScribeService
from penstock.sim.sink.script import load_script
from penstock.sim.sink.server import Sink
from penstock.worker.worker import Worker

#: (tenant, campaign, recipients): what the demonstration sends.
MAIL = (
    ("acme", "newsletter", ["ann@inbox.test", "bob@inbox.test", "eve@busy.test"]),
    ("bluebird", "receipts", ["max@inbox.test"]),
    ("citadel", None, ["nobody@strict.test", "zoe@strict.test"]),
)
RECIPIENTS = sum(len(recipients) for _, _, recipients in MAIL)
_DEADLINE = 60.0
_GRACE = 5.0
_LOOK_AGAIN = 0.1


def demo(
    *,
    once: bool = False,
    smtp_port: int = 2525,
    http_port: int = 8000,
    directory: Annotated[Path | None, Parameter(name="--directory")] = None,
) -> int:
    """Show Penstock at work: start it on an example configuration, send mail of three tenants, print what happens to it.

    All destinations are a built-in sink: nothing leaves this machine. Without --once the server then stays up for your own mail.
    Exit codes: 0 every message came to its end; 1 one did not within a minute, or the server could not start.

    Parameters
    ----------
    once
        End when the example's mail has been dealt with.
    smtp_port
        Where Penstock takes mail, on 127.0.0.1. If it is taken, any free port.
    http_port
        Where it answers liveness and metrics. If it is taken, any free port.
    directory
        Where to write the example's files. Default: a temporary directory, removed at the end.
    """
    logging.basicConfig(stream=sys.stderr, level="WARNING", format="%(levelname)s %(name)s: %(message)s")
    place = directory or Path(tempfile.mkdtemp(prefix="penstock-demo-"))
    try:
        place.mkdir(parents=True, exist_ok=True)
        return uvloop.run(_Demo(place, smtp_port, http_port, is_once=once).run())
    except ConfigError as error:
        complain(error)
        return 1
    except (ControlError, OSError) as error:
        print(f"penstock demo: {error}", file=sys.stderr)
        return 1
    finally:
        if directory is None:
            shutil.rmtree(place, ignore_errors=True)


class _Told:
    """What a server in one process says of itself."""

    def __init__(self, worker: Worker, scribe: ScribeService) -> None:
        self._worker = worker
        self._scribe = scribe
        self.fault = worker.fault

    async def status(self) -> Status:
        """See StatusSource."""
        return msgspec.structs.replace(await self._worker.status(), event_log=self._scribe.counts)

    async def snapshot(self) -> Snapshot:
        """See MetricsSource."""
        return msgspec.structs.replace(await self._worker.snapshot(), event_log=self._scribe.counts)


class _Demo:
    """One demonstration."""

    def __init__(self, place: Path, smtp_port: int, http_port: int, *, is_once: bool) -> None:
        self._place = place
        self._ports = {"smtp_port": _free(smtp_port), "http_port": _free(http_port)}
        self._is_once = is_once
        self._console = Console(highlight=False, soft_wrap=True)
        self._stopping = asyncio.Event()
        self._is_over = False

    async def run(self) -> int:
        """From start to stop; the exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        self._write("sink.toml")
        sink = Sink(script=load_script(self._place / "sink.toml"))
        async with contextlib.AsyncExitStack() as stack:
            (where,) = await sink.start([Endpoint("127.0.0.1", _free(2526))])
            stack.push_async_callback(sink.stop)
            self._ports["sink_port"] = where.port
            for name in ("penstock.toml", "queues.toml", "shaping.toml"):
                self._write(name)
            worker = await self._start_server(stack)
            smtp = worker.listeners[0].addresses[0]
            self._welcome(smtp)
            printing = asyncio.create_task(self._print_events(worker), name="events")
            await asyncio.to_thread(_send, smtp)
            is_done = await self._all_settled(worker)
            if not self._is_once and not self._stopping.is_set():
                self._invite(smtp)
                await self._stopping.wait()
            self._is_over = True
            await printing
            self._sum_up(worker)
        return 0 if is_done else 1

    def _write(self, name: str) -> None:
        template = files("penstock.cli.example").joinpath(name).read_text(encoding="utf-8")
        (self._place / name).write_text(Template(template).safe_substitute(self._ports), encoding="utf-8")

    async def _start_server(self, stack: contextlib.AsyncExitStack) -> Worker:
        configuration = checked(self._place / "penstock.toml")
        sockets = bind_all(endpoints(configuration), file=str(self._place / "penstock.toml"))
        control = ControlSocket(configuration.node.data_dir)
        stack.callback(control.remove)
        self._scribe = scribe = ScribeService(configuration, SystemClock())
        await scribe.start()
        stack.push_async_callback(scribe.stop)
        worker = Worker(configuration, [sockets[:1]], SystemClock(), raise_descriptor_limit())
        await worker.start()
        stack.push_async_callback(worker.stop, _GRACE)
        told = _Told(worker, scribe)
        trusted = configuration.http_listeners[0].trusted_hosts
        for server in (
            HttpServer(public_app(told, told, trusted), sockets[1:]),
            HttpServer(control_app(told), [control.socket]),
        ):
            await server.start()
            stack.push_async_callback(server.stop, _GRACE)
        self._http = endpoint_of(sockets[1])
        return worker

    def _welcome(self, smtp: str) -> None:
        say = self._console.print
        say(f"Penstock is up: SMTP on {smtp}, its files in {self._place}.")
        say("All destinations are a built-in sink on this machine: nothing leaves loopback.")
        for tenant, campaign, recipients in MAIL:
            to = ", ".join(recipients)
            say(f"Sending mail of tenant {tenant}{f', campaign {campaign}' if campaign else ''} to {to}")

    async def _all_settled(self, worker: Worker) -> bool:
        total = worker.tally.total
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DEADLINE):
                while total.delivered + total.failed + total.expired < RECIPIENTS:
                    if self._stopping.is_set():
                        return False
                    await asyncio.sleep(0.05)
                return True
        return False

    async def _print_events(self, worker: Worker) -> None:
        """Print events as they are written, the last of them when the demonstration is over."""
        with Reader(self._scribe.log.directory, Position(None, 0)) as reader:
            for lines in reader.batches():
                for line in filter(Filter().is_wanted, lines):
                    self._console.print(Text.assemble(*pieces(line)[:-1]))
                if not lines:
                    if self._is_over and worker.feed.written == worker.spool.synced:
                        return
                    await asyncio.sleep(_LOOK_AGAIN)

    def _sum_up(self, worker: Worker) -> None:
        for tenant, counts in sorted(worker.tally.tenants.items(), key=lambda item: item[0] or ""):
            if counts.received:
                self._console.print(
                    f"{tenant or 'no tenant'}: {counts.received} recipients; {counts.delivered} delivered, "
                    f"{counts.failed} bounced, {counts.queued} waiting; {counts.deferred} attempts deferred"
                )

    def _invite(self, smtp: str) -> None:
        host, _, port = smtp.rpartition(":")
        config = self._place / "penstock.toml"
        say = self._console.print
        say("")
        say("All of it is done. The server stays up for your own mail; Ctrl-C ends it. Try:", style="bold")
        say(f"  swaks --server {host}:{port} --to you@inbox.test --header 'X-Tenant: bluebird'")
        say(f"  curl http://{self._http}/metrics")
        say(f"  {_program()} status -c {config}")
        say(f"  {_program()} events tail -f -c {config}")
        say("")


def _program() -> str:
    """How the reader can call this program: as they did."""
    if Path(sys.argv[0]).name == "penstock":
        return sys.argv[0]
    return f"PYTHONPATH={Path(__file__).parents[2]} {sys.executable} -m penstock"


def _free(port: int) -> int:
    """``port`` if nobody listens there, else 0 for any."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return 0
    return port


def _send(smtp: str) -> None:
    """Send the example's mail with the standard library's client, as any application would."""
    host, _, port = smtp.rpartition(":")
    with smtplib.SMTP(host, int(port), timeout=_DEADLINE) as client:
        for tenant, campaign, recipients in MAIL:
            message = EmailMessage()
            message["From"] = f"{tenant}@sender.test"
            message["To"] = ", ".join(recipients)
            message["Subject"] = f"Hello from {tenant}"
            message["X-Tenant"] = tenant
            if campaign:
                message["X-Campaign"] = campaign
            message.set_content("A message of the demonstration.\n")
            client.send_message(message)
