"""``penstock sink``: an SMTP server that takes mail, answers as scripted, and counts."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import ssl
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
import uvloop
from cyclopts import Parameter
from rich.box import SIMPLE
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from penstock.mail.configuration import Endpoint, TlsMode
from penstock.mail.duration import QuantityError, parse_byte_size, parse_duration
from penstock.mail.problem import ConfigError
from penstock.sim.endpoint import EndpointError, parse_endpoint
from penstock.sim.sink import (
    DomainReport,
    Extension,
    Login,
    Script,
    Sink,
    SinkOptions,
    SinkReport,
    load_script,
)
from penstock.sim.sink.options import DEFAULT_EXTENSIONS

_EXTENSIONS: Final = {
    "pipelining": Extension.PIPELINING,
    "8bitmime": Extension.EIGHT_BIT,
    "smtputf8": Extension.SMTPUTF8,
    "enhancedstatuscodes": Extension.ENHANCED,
    "size": Extension.SIZE,
    "dsn": Extension.DSN,
    "chunking": Extension.CHUNKING,
}
_LIVE_INTERVAL: Final = 0.25
#: Domains of the table; --json has all of them.
_SHOWN: Final = 40

ExtensionName = Literal[
    "pipelining", "8bitmime", "smtputf8", "enhancedstatuscodes", "size", "dsn", "chunking"
]
Repeated = Parameter(negative="", consume_multiple=False, show_default=False)
Flag = Parameter(negative="")


def sink(
    *,
    listen: Annotated[tuple[str, ...], Repeated] = ("127.0.0.1:2526",),
    script: Path | None = None,
    record: Path | None = None,
    sync: Annotated[bool, Flag] = False,
    dump: Path | None = None,
    count: int = 0,
    json: Annotated[bool, Flag] = False,
    quiet: Annotated[bool, Flag] = False,
    hostname: str = "sink.test",
    with_: Annotated[
        tuple[ExtensionName, ...],
        Parameter(name="--with", negative="", consume_multiple=False, show_default=False),
    ] = (),
    without: Annotated[tuple[ExtensionName, ...], Repeated] = (),
    lmtp: Annotated[bool, Flag] = False,
    tls: Literal["off", "starttls", "implicit"] = "off",
    tls_certificate: Path | None = None,
    tls_private_key: Path | None = None,
    auth: str | None = None,
    require_auth: Annotated[bool, Flag] = False,
    max_connections: int = 20_000,
    max_message_size: str = "64MiB",
    max_command_length: int = 4096,
    max_recipients: int = 10_000,
    idle_timeout: str = "5m",
    allow_remote: Annotated[bool, Flag] = False,
) -> int:
    """Take mail by SMTP, answer as scripted, count by domain.

    A recipient's local part says how it is answered. A `+suffix` is cut off first; case does not matter.

    - `accept`, or anything else: accepted.
    - `tempfail[-CODE][-STAGE][-N-then-accept]`: refused, with 451 or the given 4yz; only the first N times.
    - `permfail[-CODE][-STAGE][-N-then-accept]`: refused, with 550 or the given 5yz; only the first N times.
    - `slow-SECONDS[-STAGE]`: answered that much later. In the middle of mail data, nothing is read for so long.
    - `disconnect-STAGE`, `reset-STAGE`: the connection is closed (FIN) or reset (RST) instead of an answer.

    Stages: `connect`, `banner`, `ehlo`, `starttls`, `auth`, `mail`, `rcpt` (where none is given), `data`, `body` (in the middle of the mail data),
    `dot` (behind its end), `quit`. A stage before `rcpt` is over when the recipient becomes known, so it happens at `rcpt`; that of `mail`
    happens in time if MAIL and RCPT come together. A script file can act at every stage: docs/sink-and-blast.md.

    Ends on SIGINT and SIGTERM, or after `--count` messages, and prints what it has seen; SIGUSR1 prints it in between.
    Exit status: 0 ended as asked, 1 cannot listen or write, 2 an option or the script cannot be used.

    Parameters
    ----------
    listen
        Where to listen; may be repeated. Port 0 is any free one. It is told on standard error. Default: 127.0.0.1:2526.
    script
        TOML file with rules by recipient, domain, sender, client or listener.
    record
        Append a JSON line for every message, before it is answered.
    sync
        Have the record and the dumped messages on stable storage before a message is answered.
    dump
        Write every message to a file of its own in this directory.
    count
        Stop after so many accepted messages; 0 goes on.
    json
        Print statistics as a line of JSON, not as a table.
    quiet
        Print nothing but errors and where it listens.
    hostname
        Name in the greeting.
    with_
        A service extension that is offered besides the usual ones: chunking. May be repeated.
    without
        A service extension that is not offered; may be repeated.
    lmtp
        Speak LMTP: LHLO, and a reply for each recipient.
    tls
        Offer STARTTLS, or encrypt from the first octet on.
    tls_certificate
        PEM file with the certificate, and those behind it. Without one, a certificate is made.
    tls_private_key
        PEM file with its key, without a passphrase. Default: the file of the certificate.
    auth
        Offer AUTH PLAIN and LOGIN to this USER:PASSWORD; under TLS only, where there is any.
    require_auth
        Refuse mail without AUTH.
    max_connections
        More connections than this at a time are turned away with 421.
    max_message_size
        Larger messages are refused with 552.
    max_command_length
        Longer command lines, in octets, are refused with 500.
    max_recipients
        More recipients than this in a transaction are refused with 452.
    idle_timeout
        Clients silent for so long are sent away with 421.
    allow_remote
        Allow to listen on addresses that are not loopback.
    """
    try:
        endpoints = [parse_endpoint(text, allow_remote=allow_remote) for text in listen]
        options = SinkOptions(
            hostname=_checked_hostname(hostname),
            extensions=(DEFAULT_EXTENSIONS | {_EXTENSIONS[name] for name in with_})
            - {_EXTENSIONS[name] for name in without},
            max_connections=_at_least(1, "--max-connections", max_connections),
            max_message_size=parse_byte_size(max_message_size),
            max_command_length=_at_least(512, "--max-command-length", max_command_length),
            max_recipients=_at_least(1, "--max-recipients", max_recipients),
            idle_timeout=parse_duration(idle_timeout),
            count=_at_least(0, "--count", count),
            tls=TlsMode(tls),
            tls_certificate=tls_certificate,
            tls_private_key=tls_private_key,
            login=_login(auth, is_required=require_auth),
            requires_auth=require_auth,
            lmtp=lmtp,
        )
        _check_certificate(options)
        loaded = load_script(script) if script is not None else Script()
    except (EndpointError, QuantityError, _UsageError, ConfigError) as error:
        return _complain(str(error), 2)
    if sync and record is None and dump is None:
        return _complain("--sync needs --record or --dump", 2)
    try:
        server = Sink(options, script=loaded, record=record, dump=dump, sync=sync)
    except ssl.SSLError as error:
        return _complain(f"the certificate and its key cannot be used: {_reason(options, error)}", 1)
    except OSError as error:
        return _complain(f"{error.filename or tls_certificate}: {error.strerror}", 1)
    return uvloop.run(_serve(server, endpoints, _Printer(is_json=json, is_quiet=quiet)))


class _UsageError(ValueError):
    """An option is out of its range."""


def _at_least(low: int, name: str, value: int) -> int:
    if value < low:
        raise _UsageError(f"{name}: {value} is too small; use at least {low}")
    return value


def _login(auth: str | None, *, is_required: bool) -> Login | None:
    if auth is None:
        if is_required:
            raise _UsageError("--require-auth needs --auth USER:PASSWORD")
        return None
    user, colon, password = auth.partition(":")
    if not (user and colon and password):
        raise _UsageError("--auth: write USER:PASSWORD")
    return Login(user, password)


def _check_certificate(options: SinkOptions) -> None:
    if options.tls_certificate is None and options.tls_private_key is not None:
        raise _UsageError("--tls-private-key needs --tls-certificate, the certificate that it is the key of")
    if options.tls_certificate is not None and options.tls is TlsMode.OFF:
        raise _UsageError("--tls-certificate needs --tls starttls or --tls implicit")


def _reason(options: SinkOptions, error: ssl.SSLError) -> str:
    if error.reason:
        return error.reason.replace("_", " ").lower()
    if options.tls_private_key is None:
        return f"name a PEM file that has both as --tls-certificate, or the key's as --tls-private-key, not {options.tls_certificate} alone"
    return "name PEM files, whole and the key without a passphrase"


def _checked_hostname(name: str) -> str:
    if not name or len(name) > 255 or not name.isascii() or not name.isprintable() or " " in name:
        raise _UsageError(f"--hostname: {name!r} is no host name")
    return name


def _complain(what: str, status: int) -> int:
    for line in what.splitlines():
        sys.stderr.write(f"penstock sink: {line}\n")
    return status


async def _serve(server: Sink, endpoints: list[Endpoint], printer: _Printer) -> int:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGUSR1, lambda: printer.print(server.statistics))
    try:
        listening = await server.start(endpoints)
    except OSError as error:
        return _complain(f"cannot listen on {', '.join(map(str, endpoints))}: {error.strerror}", 1)
    # Said last: whoever reads it may send a signal at once.
    for endpoint in listening:
        sys.stderr.write(f"listening on {endpoint}\n")
    sys.stderr.flush()
    async with asyncio.TaskGroup() as group:
        full = group.create_task(_end_when_full(server, ended), name="sink count")
        live = group.create_task(printer.show_live(server), name="sink live line")
        await ended.wait()
        full.cancel()
        live.cancel()
    await server.stop()
    printer.print(server.statistics)
    return 0


async def _end_when_full(server: Sink, ended: asyncio.Event) -> None:
    await server.wait_full()
    ended.set()


class _Printer:
    """Prints statistics to standard output, and a live line to standard error where that is a terminal."""

    def __init__(self, *, is_json: bool, is_quiet: bool) -> None:
        self._is_json = is_json
        self._is_quiet = is_quiet
        self._output = Console(file=sys.stdout)
        self._terminal = Console(file=sys.stderr)

    def print(self, report: SinkReport) -> None:
        if self._is_json:
            sys.stdout.write(msgspec.json.encode(report).decode() + "\n")
            sys.stdout.flush()
        elif not self._is_quiet:
            self._output.print(_table(report))

    async def show_live(self, server: Sink) -> None:
        if self._is_quiet or not self._terminal.is_terminal:
            return
        with Live(console=self._terminal, transient=True, auto_refresh=False) as live:
            messages = 0
            with contextlib.suppress(asyncio.CancelledError):
                while True:
                    total = server.statistics.total
                    rate = (total.messages - messages) / _LIVE_INTERVAL
                    messages = total.messages
                    line = f"{messages:,} messages, {rate:,.0f}/s, {server.connections} connections"
                    refused = total.tempfailed + total.permfailed + total.disconnected
                    live.update(Text(f"{line}, {refused:,} recipients refused"), refresh=True)
                    await asyncio.sleep(_LIVE_INTERVAL)


def _table(report: SinkReport) -> Table:
    table = Table(title="Sink", caption=_caption(report), box=SIMPLE, padding=(0, 0))
    table.add_column("domain", overflow="fold")
    columns = ("messages", "accepted", "4yz", "5yz", "cut off", "MB", "connections", "each")
    for column in columns:
        table.add_column(column, justify="right")
    busiest = sorted(report.domains.items(), key=lambda item: (-item[1].messages, item[0]))
    for name, figures in busiest[:_SHOWN]:
        table.add_row(Text(name or "(none)"), *_cells(figures))
    if len(busiest) > _SHOWN:
        table.add_row(f"... and {len(busiest) - _SHOWN} more")
    table.add_section()
    table.add_row("all", *_cells(report.total))
    return table


def _cells(figures: DomainReport) -> list[str]:
    recipients = (figures.accepted, figures.tempfailed, figures.permfailed, figures.disconnected)
    return [
        f"{figures.messages:,}",
        *(f"{count:,}" for count in recipients),
        f"{figures.bytes / 1e6:,.1f}",
        f"{figures.connections:,}",
        f"{figures.messages_per_connection:,.1f}",
    ]


def _caption(report: SinkReport) -> str:
    return (
        f"{report.refused_connections:,} connections turned away, {report.protocol_errors:,} protocol errors"
    )
