"""What the policy's hook ``queue_config`` answers, held against the same schema as the tables of ``queues.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from penstock.config.numbers import duration
from penstock.config.queues_file import QUEUE_LATER, QUEUE_OPTIONS
from penstock.config.reading import Reading
from penstock.config.schema import Option, Table
from penstock.mail.duration import Seconds
from penstock.mail.problem import ConfigError, Problem
from penstock.mail.queue_layers import QueueLayer

#: How long an answer counts that does not say so itself.
REFRESH_INTERVAL: Final = Seconds(60.0)
#: What is said of an option that the policy has given, where another would have its file and key.
ORIGIN: Final = "policy: queue_config"

#: A queue's name is settled when its mail is accepted; so there is no routing domain here.
QUEUE_ANSWER: Final = Table(
    (
        *(option for option in QUEUE_OPTIONS if option.field != ""),
        Option("refresh_interval", duration(Seconds(1.0)), "How long the answer counts; then the hook is asked again.",
               example='"5m"', default='"1m"', field=""),
    ),
    later=(QUEUE_LATER | {"routing_domain"}) - {"refresh_interval"},
)  # fmt: skip


class QueueAnswer(msgspec.Struct, frozen=True):
    """Options that are laid over those of the files, and for how long."""

    layer: QueueLayer = QueueLayer()
    refresh_interval: Seconds = REFRESH_INTERVAL


def queue_answer(options: Mapping[str, object]) -> QueueAnswer:
    """What a hook means by these options, those that are None left out; ConfigError with every one that is wrong."""
    problems: list[Problem] = []
    tree = Reading(QUEUE_ANSWER, "queue_config", problems).read(
        {str(name): value for name, value in options.items() if value is not None}
    )
    if problems:
        raise ConfigError(problems)
    given = tree.fields()
    layer = QueueLayer(given, dict.fromkeys(given, ORIGIN))
    return QueueAnswer(layer, tree.value("refresh_interval", REFRESH_INTERVAL))
