"""What holds of each queue: what the files say, and laid over it what the policy's hook ``queue_config`` answers.

The scheduler asks for a queue's options when it makes the queue, and cannot wait. A queue whose hook has not answered yet is held, by a rate that
lets nothing through (gate ``options``), until it has: nothing of it goes faster, or by another pool, than its options would have it. So it is in
whichever lane the mail is, and after each start. Mail is accepted meanwhile.

An answer counts for its ``refresh_interval``, then the hook is asked again, as long as there is the queue; until it has answered the old one counts,
and while it fails. What fails is asked again after a time that doubles. At most so many are asked at once, those that are held first.
"""

from __future__ import annotations

import heapq
import logging
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, Protocol

import msgspec

from penstock.config.queue_answer import QueueAnswer, queue_answer
from penstock.mail.configuration import Limit, QueueConfig, QueuesConfig
from penstock.mail.duration import Seconds
from penstock.mail.ids import IdSource
from penstock.mail.ports import Clock, Spool
from penstock.mail.problem import ConfigError
from penstock.mail.queue_layers import LayerKey, QueueLayer
from penstock.mail.queue_name import QueueName
from penstock.mail.rate import Rate
from penstock.mail.records import NO_SESSION, POLICY_ERROR_LIMIT, PolicyErrorRecord
from penstock.policy import Verdict
from penstock.worker.quotas import CallLater, Timer

LOG = logging.getLogger(__name__)

HOOK: Final = "queue_config"
#: Lets nothing through.
NOTHING: Final = Rate(0, Seconds(1.0), 0, local=True)
#: Hooks that are asked at once; more wait.
_AT_ONCE: Final = 16
#: Seconds until a hook that failed is asked again: at first, and at most.
_FIRST_RETRY: Final = Seconds(1.0)
_LAST_RETRY: Final = Seconds(300.0)
#: Answers that run out within so many seconds are asked for again together.
_TICK: Final = Seconds(1.0)
#: Records that queues share are remembered, so many of them.
_REMEMBERED: Final = 10_000
#: Characters of a failure in the diagnostic log; its event has the traceback.
_LOGGED: Final = 300
#: Of failures in a row, so many are told in events; all are counted.
_TOLD: Final = 20


class Asks(Protocol):
    """The policy, as far as it is needed here."""

    def has(self, hook: str) -> bool:
        """Whether it has this hook."""

    def ask(self, hook: str, arguments: tuple[object, ...], done: Callable[[Verdict], None]) -> object:
        """Call it, and ``done`` with the verdict, now or later."""


class _Answer:
    """What is known of one queue. ``layer`` None: nothing yet. ``failures`` are those since it last answered."""

    __slots__ = ("failures", "is_asked", "layer")

    def __init__(self) -> None:
        self.layer: QueueLayer | None = None
        self.failures = 0
        #: it is being asked, or waits for that
        self.is_asked = False


class QueueOptions:
    """See the module. Called with a queue's name it gives its options.

    ``is_living`` says whether there is a queue, ``changed`` is told that a queue's options are others now, and ``failed`` what a hook that failed
    has done.
    """

    def __init__(
        self,
        queues: QueuesConfig,
        policy: Asks | None,
        clock: Clock,
        call_later: CallLater,
        is_living: Callable[[QueueName], bool],
        changed: Callable[[QueueName], None],
        failed: Callable[[str], None],
    ) -> None:
        self._queues = queues
        self._policy = policy
        self._clock = clock
        self._call_later = call_later
        self._is_living = is_living
        self._changed = changed
        self._failed = failed
        self._shared: dict[LayerKey, QueueConfig] = {}
        self._answers: dict[QueueName, _Answer] = {}
        #: who is to be asked next: those that are held, and those that have an old answer
        self._held: deque[QueueName] = deque()
        self._old: deque[QueueName] = deque()
        self._asking = 0
        self._is_going_on = False
        self._failures = 0
        #: when whom has to be asked again
        self._due: list[tuple[float, int, QueueName]] = []
        self._count = 0
        self._timer: Timer | None = None
        self._generation = 0

    def use(self, queues: QueuesConfig, policy: Asks | None) -> None:
        """Go by another configuration and its policy from now on. Answers of the old one count until the new one has answered."""
        self._queues, self._policy = queues, policy
        self._shared.clear()
        self._generation += 1
        self._asking = 0
        self._held.clear()
        self._old.clear()
        self._due.clear()
        if not self._has_hook():
            self._answers.clear()
        for name, answer in self._answers.items():
            answer.is_asked = False
            self._ask_later(name, answer)
        self._go_on()

    def stop(self) -> None:
        """Ask nobody any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._policy = None

    def __call__(self, name: QueueName) -> QueueConfig:
        """What holds of a queue, as far as it is known."""
        config = self._of_files(name)
        if not self._has_hook():
            return config
        answer = self._answers.get(name)
        if answer is None:
            answer = self._answers[name] = _Answer()
            self._ask_later(name, answer)
            self._go_on()  # a hook that runs at once has answered then
        layer = answer.layer
        if layer is None:
            held = Limit("options", f"options:{name}", NOTHING, "policy: queue_config has not answered yet")
            return msgspec.structs.replace(config, overall=(held, *config.overall))
        if not layer.options:
            return config
        return msgspec.structs.replace(config, **layer.options, origins=config.origins | layer.origins)

    def _of_files(self, name: QueueName) -> QueueConfig:
        """Queues that are under the same tables share a record."""
        key = self._queues.layers.key_of(name.domain, name.tenant, name.campaign)
        config = self._shared.get(key)
        if config is None:
            if len(self._shared) >= _REMEMBERED:
                self._shared.clear()
            config = self._shared[key] = self._queues.of_key(key)
        return config

    def _has_hook(self) -> bool:
        return self._policy is not None and self._policy.has(HOOK)

    # -- asking

    def _ask_later(self, name: QueueName, answer: _Answer) -> None:
        if not answer.is_asked:
            answer.is_asked = True
            (self._held if answer.layer is None else self._old).append(name)

    def _go_on(self) -> None:
        """Ask as many as may be asked at once."""
        if self._is_going_on:  # a hook that runs at once has answered within
            return
        self._is_going_on = True
        try:
            while self._asking < _AT_ONCE and (self._held or self._old) and self._policy is not None:
                name = (self._held or self._old).popleft()
                self._asking += 1
                self._policy.ask(HOOK, (name,), partial(self._answered, name, self._generation))
        finally:
            self._is_going_on = False

    def _answered(self, name: QueueName, generation: int, verdict: Verdict) -> None:
        if generation != self._generation:  # the old policy's; the new one is asked too
            return
        self._asking -= 1
        answer = self._answers[name]
        answer.is_asked = False
        try:
            self._take(name, answer, _meant(verdict))
        except ConfigError as error:
            self._has_failed(name, answer, f"{HOOK}: {name}: {'; '.join(map(str, error.problems))}")
        except _NoAnswerError as error:
            self._has_failed(name, answer, f"{HOOK}: {name}: {error}")
        self._go_on()

    def _take(self, name: QueueName, answer: _Answer, given: QueueAnswer) -> None:
        before, answer.layer = answer.layer, given.layer
        answer.failures = self._failures = 0
        self._call_for(name, given.refresh_interval)
        if before != given.layer:
            self._changed(name)

    def _has_failed(self, name: QueueName, answer: _Answer, text: str) -> None:
        wait = min(_LAST_RETRY, _FIRST_RETRY * 2 ** min(answer.failures, 16))
        answer.failures += 1
        self._failures += 1
        if answer.failures == 1 and self._failures <= _TOLD:
            self._failed(text)
        self._call_for(name, Seconds(wait))

    # -- asking again

    def _call_for(self, name: QueueName, delay: Seconds) -> None:
        """Have the queue looked at after ``delay`` seconds."""
        self._count += 1
        heapq.heappush(self._due, (self._clock.monotonic() + delay, self._count, name))
        if self._timer is None:
            self._timer = self._call_later(Seconds(max(_TICK, delay)), self._tick)
        elif self._due[0][1] == self._count:
            self._timer.cancel()
            self._timer = self._call_later(Seconds(max(_TICK, delay)), self._tick)

    def _tick(self) -> None:
        self._timer = None
        now = self._clock.monotonic()
        while self._due and self._due[0][0] <= now:
            _, _, name = heapq.heappop(self._due)
            if self._is_living(name):
                self._ask_later(name, self._answers[name])
            else:
                del self._answers[name]
        if self._due and self._timer is None:
            self._timer = self._call_later(Seconds(max(_TICK, self._due[0][0] - now)), self._tick)
        self._go_on()


def noting(spool: Spool, ids: IdSource, clock: Clock) -> Callable[[str], None]:
    """Who is told what a hook that failed has done: there is no client who could be, so it is logged, and an event."""

    def note(error: str) -> None:
        LOG.warning("policy: %s", error.partition("\n")[0][:_LOGGED])
        now = clock.wall()
        spool.note(PolicyErrorRecord(ids.next(now), now, NO_SESSION, HOOK, error[:POLICY_ERROR_LIMIT]))

    return note


class _NoAnswerError(Exception):
    """The hook has not answered; ``str()`` says why."""


def _meant(verdict: Verdict) -> QueueAnswer:
    """What a verdict says; ConfigError, _NoAnswerError."""
    if verdict.fault:
        raise _NoAnswerError(verdict.fault)
    if verdict.refusal is not None:
        raise _NoAnswerError(f"it refused, and has nothing to refuse: {verdict.refusal}")
    return queue_answer(verdict.value) if isinstance(verdict.value, Mapping) else QueueAnswer()
