"""``penstock queues config``: what holds of one queue by the files and the policy, and which of their lines says so. No server is asked."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from penstock.cli.checking import complain, prepared
from penstock.cli.quantities import shown_span
from penstock.cli.queues_view import render
from penstock.cli.status_view import table
from penstock.config import find_config
from penstock.config.queue_answer import QueueAnswer, queue_answer
from penstock.mail.configuration import QueueConfig, QueuesConfig
from penstock.mail.duration import Seconds
from penstock.mail.problem import ConfigError
from penstock.mail.queue_name import QueueName, parse_queue_name
from penstock.policy import Policy, PolicyRunner, Verdict

HOOK: Final = "queue_config"
_DEFAULT: Final = "default"


class Held(msgspec.Struct, frozen=True):
    """One option of a queue: its value as people write it, None for none, and what has set it."""

    option: str
    value: str | None
    origin: str


class Resolved(msgspec.Struct, frozen=True):
    """What holds of a queue. ``fault`` is why the policy has not said what it would, "" if it has, or need not."""

    queue: str
    options: list[Held]
    fault: str = ""


def config(
    name: str,
    /,
    *,
    config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None,
    policy: bool = True,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Show what holds of a queue by the configuration files and the policy, and what has set it.

    The files are read as they are now, which may not be how the running server has read them.
    Exit status: 0 it is known; 1 the policy's queue_config failed; 2 the command line or the configuration is wrong.

    Parameters
    ----------
    name
        A queue, campaign:tenant@domain!routing_domain, of which the domain is enough. It need not have mail.
    config
        The configuration file. Default: $PENSTOCK_CONFIG, or /etc/penstock/penstock.toml.
    policy
        Ask the hook queue_config of the policy too.
    json
        Show it as JSON.
    """
    try:
        queue = parse_queue_name(name)
    except ValueError as error:
        print(f"penstock queues config: {error}", file=sys.stderr)
        return 2
    try:
        ready = prepared(find_config(config, os.environ))
    except ConfigError as error:
        complain(error)
        return 2
    queues = ready.configuration.queues
    if queue.tenant is not None and queue.tenant not in queues.tenants:
        print(
            f"penstock queues config: there is no tenant {queue.tenant}; its mail is refused", file=sys.stderr
        )
    answer, fault = QueueAnswer(), ""
    if policy and ready.policy is not None:
        answer, fault = asyncio.run(_answer(ready.policy, ready.configuration.node.policy_timeout, queue))
    resolved = resolve(queues, queue, answer, fault)
    if json:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(resolved), indent=2).decode() + "\n")
    else:
        _show(resolved)
    return 1 if fault else 0


async def _answer(policy: Policy, timeout: Seconds, queue: QueueName) -> tuple[QueueAnswer, str]:
    runner = PolicyRunner(policy, timeout)
    try:
        return await asked(runner, queue)
    finally:
        await runner.close()


async def asked(runner: PolicyRunner, queue: QueueName) -> tuple[QueueAnswer, str]:
    """What the policy says of a queue, and why it does not, "" if it does. A policy without the hook says nothing."""
    if not runner.has(HOOK):
        return QueueAnswer(), ""
    answered: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
    runner.ask(HOOK, (queue,), answered.set_result)
    verdict = await answered
    if verdict.fault or verdict.refusal is not None:
        return QueueAnswer(), verdict.fault or f"it refused, and has nothing to refuse: {verdict.refusal}"
    try:
        return queue_answer(verdict.value) if isinstance(verdict.value, Mapping) else QueueAnswer(), ""
    except ConfigError as error:
        return QueueAnswer(), "; ".join(map(str, error.problems))


def resolve(queues: QueuesConfig, name: QueueName, answer: QueueAnswer, fault: str = "") -> Resolved:
    """What holds of a queue, in the order of the documentation."""
    of_files = queues.resolve(name)
    layer = answer.layer
    whole = msgspec.structs.replace(of_files, **layer.options, origins=of_files.origins | layer.origins)
    return Resolved(str(name), list(_options(queues, name, whole)), fault)


def _options(queues: QueuesConfig, name: QueueName, whole: QueueConfig) -> Iterator[Held]:
    values = {
        "retry_interval": _span(whole.retry_interval),
        "max_retry_interval": None if whole.max_retry_interval is None else _span(whole.max_retry_interval),
        "max_age": _span(whole.max_age),
        "max_message_rate": None if whole.max_message_rate is None else str(whole.max_message_rate),
        "egress_pool": whole.egress_pool,
        "reap_interval": _span(whole.reap_interval),
        "routing_domain": name.routing_domain
        or queues.layers.routing_domain_of(name.domain, name.tenant, name.campaign),
    }
    for option, value in values.items():
        origin = whole.origins.get(option, _DEFAULT)
        is_named = option == "routing_domain" and name.routing_domain is not None
        yield Held(option, value, "the queue's name" if is_named else origin)
    for limit in whole.overall:
        yield Held("overall_max_message_rate", str(limit.rate), limit.origin)
    origins = queues.options_of(name.tenant).origins if name.tenant is not None else {}
    yield Held("share", f"{queues.weight_of(name.tenant):g}", origins.get("share", _DEFAULT))


def _span(seconds: Seconds) -> str:
    """A duration as a file could write it: ``17m``, ``1h30m``, ``0.5s``."""
    if not float(seconds).is_integer():
        return f"{seconds:g}s"
    return "".join(word for word in shown_span(seconds).split() if word[0] != "0") or "0s"


def _show(resolved: Resolved) -> None:
    rows = [(held.option, held.value or "none", held.origin) for held in resolved.options]
    render([table(resolved.queue, ("option", "value", "set by"), rows, numbers=set())], sys.stdout)
    if resolved.fault:
        print(
            f"penstock queues config: the policy's {HOOK} failed, and mail of this queue is held until it does not:",
            file=sys.stderr,
        )
        print(resolved.fault.rstrip(), file=sys.stderr)
