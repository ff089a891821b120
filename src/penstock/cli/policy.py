"""``penstock policy``: try a policy on a message, with nothing sent and no server."""

from __future__ import annotations

import asyncio
import getpass
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final, TypeVar

import msgspec
from cyclopts import App, Parameter

from penstock.cli.checking import complain
from penstock.cli.trial import Scene, Trial, try_policy
from penstock.config import load as load_configuration
from penstock.mail.address import AddressError, parse_address
from penstock.mail.configuration import QueuesConfig
from penstock.mail.duration import QuantityError, parse_duration
from penstock.mail.network import parse_ip
from penstock.mail.problem import ConfigError
from penstock.mail.queue_name import is_label
from penstock.mail.records import MetaValue
from penstock.policy import Credentials, Session, SessionFacts, TlsFacts, load
from penstock.sim.endpoint import EndpointError, parse_endpoint

T = TypeVar("T")
app = App(name="policy", help="Try a policy.")

_TLS: Final = TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384")
#: Where ``--auth`` finds the password; asked for on a terminal otherwise.
_VARIABLE: Final = "PENSTOCK_AUTH_PASSWORD"
_Repeated = Parameter(negative="", consume_multiple=False, show_default=False)
_Flag = Parameter(negative="", show_default=False)


class _UsageError(ValueError):
    """An option cannot be used: its name, what is wrong, and what would be right."""


@app.command(name="test")
def try_message(
    file: Path,
    message: Annotated[Path, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    sender: str = "sender@example.com",
    recipient: Annotated[tuple[str, ...], _Repeated] = ("recipient@example.net",),
    peer: str = "127.0.0.1",
    ehlo: str = "client.example.com",
    listener: str = "127.0.0.1:25",
    auth: str | None = None,
    tls: Annotated[bool, _Flag] = False,
    may_relay: Annotated[bool, Parameter(show_default=False)] = True,
    tenant: str | None = None,
    meta: Annotated[tuple[str, ...], _Repeated] = (),
    tenants: str | None = None,
    config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None,
    timeout: str = "5s",
    json: Annotated[bool, _Flag] = False,
) -> int:
    """Take a message through a policy, from on_connect to on_message, and show what it decides. Nothing is sent.

    Exit codes: 0 the message would be accepted; 1 it would be refused or deferred; 2 the command or the policy is wrong.

    Parameters
    ----------
    file
        The policy, a Python file.
    message
        The message, a file with lines that end in LF or CRLF; - is standard input.
    sender
        The reverse-path; "" for the null reverse-path.
    recipient
        A forward-path; may be repeated. Default: recipient@example.net.
    peer
        The client's IP address.
    ehlo
        The name that the client gives with EHLO.
    listener
        Our address and port.
    auth
        The client authenticates as this user; the password is in $PENSTOCK_AUTH_PASSWORD, or asked for on a terminal.
    tls
        The connection is encrypted.
    may_relay
        Whether the client may send to any domain, as one of relay_hosts. Default: it may.
    tenant
        The session's tenant at its beginning.
    meta
        Metadata of the session, NAME=VALUE, as a listener's meta; may be repeated.
    tenants
        The tenants that exist, with commas between them: mail of another one is refused. Default: those of --config; any, without it.
    config
        A penstock.toml, whose tenants and tenant and campaign header are used, and nothing else of it.
    timeout
        How long a hook may take.
    json
        Show the result as JSON.
    """
    try:
        deadline = _of_option("--timeout", timeout, parse_duration)
        scene = Scene(
            _facts(peer, listener, tls),
            ehlo,
            str(_of_option("--sender", sender, parse_address)) if sender else "",
            tuple(str(_of_option("--recipient", address, parse_address)) for address in recipient),
            Credentials("PLAIN", auth, _password()) if auth is not None else None,
            may_relay,
            _label("--tenant", tenant) if tenant is not None else None,
            _metadata(meta),
            _queues(config, tenants),
            _content(message),
        )
        policy = load(file)
    except ConfigError as error:
        complain(error)
        return 2
    except _UsageError as error:
        print(f"penstock policy test: {error}", file=sys.stderr)
        return 2
    trial = asyncio.run(try_policy(policy, scene, deadline))
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(trial), indent=2).decode() + "\n")
    else:
        print("\n".join(_lines(trial)))
    return 0 if trial.outcome == "accepted" else 1


def _of_option(option: str, value: str, parse: Callable[[str], T]) -> T:
    """The value of an option; _UsageError with its name."""
    try:
        return parse(value)
    except (AddressError, QuantityError, EndpointError) as error:
        raise _UsageError(f"{option}: {error}") from None


def _facts(peer: str, listener: str, tls: bool) -> SessionFacts:
    try:
        peer_address = str(parse_ip(peer))
    except ValueError:
        raise _UsageError(
            f"--peer: {peer!r} is no IP address; write one such as 192.0.2.7 or 2001:db8::7"
        ) from None
    endpoint = _of_option("--listener", listener, lambda text: parse_endpoint(text, allow_remote=True))
    return SessionFacts(
        peer_address=peer_address,
        peer_port=50_000,
        local_address=endpoint.address,
        local_port=endpoint.port,
        listener=str(endpoint),
        tls=_TLS if tls else None,
    )


def _label(option: str, name: str) -> str:
    if not is_label(name):
        raise _UsageError(
            f"{option}: {name!r} is no tenant; a name is 1 to 128 printable ASCII characters without spaces and : @ !"
        )
    return name


def _metadata(given: tuple[str, ...]) -> dict[str, MetaValue]:
    values: dict[str, MetaValue] = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals:
            raise _UsageError(f"--meta: {item!r} has no value; write NAME=VALUE")
        values[name] = value
    try:
        Session(meta=values)
    except ValueError as error:
        raise _UsageError(f"--meta: {error}") from None
    return values


def _queues(config: str | None, tenants: str | None) -> QueuesConfig | None:
    """The tenants that exist, and the header fields that name them; None for any. ConfigError."""
    queues = load_configuration(config).queues if config is not None else None
    if tenants is None:
        return queues
    names = frozenset(_label("--tenants", name.strip()) for name in tenants.split(","))
    return msgspec.structs.replace(queues or QueuesConfig(), tenants=names)


def _password() -> str:
    given = os.environ.get(_VARIABLE)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise _UsageError(f"--auth: there is no terminal to ask for the password on; give it in ${_VARIABLE}")
    return getpass.getpass()


def _content(message: Path) -> bytes:
    """The message as a client would send it: lines that end with CRLF."""
    try:
        octets = sys.stdin.buffer.read() if str(message) == "-" else message.read_bytes()
    except FileNotFoundError:
        raise _UsageError(
            f"{message}: does not exist; give the path of a message, or - for standard input"
        ) from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise _UsageError(f"{message}: cannot be read: {why}; give the path of a message") from None
    lines = octets.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    return b"\r\n".join(lines) + b"\r\n"


def _lines(trial: Trial) -> Iterator[str]:
    names = [f"{tried.hook} {tried.about}".rstrip() for tried in trial.hooks]
    width = max(map(len, names), default=0)
    for name, tried in zip(names, trial.hooks, strict=True):
        yield f"{name:<{width}}  {tried.milliseconds:>9.3f} ms  {tried.reply or 'go on'}"
        yield from (f"    {line}" for line in tried.fault.splitlines())
    yield f"the message would be {trial.outcome}"
    yield f"tenant: {trial.tenant or '-'}   campaign: {trial.campaign or '-'}"
    if trial.recipients:
        yield f"from: <{trial.reverse_path}>   to: {', '.join(trial.recipients)}"
    for kind, values in (("meta", trial.meta), ("option", trial.options)):
        yield from (f"{kind} {name}: {value!r}" for name, value in values.items())
    if trial.schedule is not None:
        yield f"schedule: {trial.schedule}"
    for queue in trial.queues:
        held = [item for item in queue.options if item.origin != "default"]
        yield f"queue: {queue.queue}"
        yield from (f"    {item.option} = {item.value}   ({item.origin})" for item in held)
        yield from (f"    queue_config failed: {line}" for line in queue.fault.splitlines()[-1:])
    if trial.header:
        yield "header:"
        yield from (f"    {line}" for line in trial.header)
