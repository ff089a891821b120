"""What the scheduler costs: time per message, memory per queued message, and its longest call with a million messages queued.

Run: ``python -m benchmarks.micro_queueing`` (about two minutes, 2 GB). *Straight through* is add, pull and settled; *with the lane* adds what
the lane asks after each event (effects, next wake). A *deferral* is the pull, retry_at, deferred, and becoming due again. Memory is what the
allocator handed out. A pause is one call; the garbage collector runs as it does in the server.
Times are of the processor, not of the clock; of several rounds, the best.
"""

from __future__ import annotations

import gc
import time
import tracemalloc
from collections.abc import Callable

from penstock.mail.configuration import PathConfig, QueueConfig
from penstock.mail.duration import MonotonicTime, Seconds, WallTime
from penstock.mail.queue_name import QueueName
from penstock.mail.reply import reply
from penstock.queueing.queues import Path
from penstock.queueing.scheduler import Scheduler
from penstock.routing.answer import Exchange
from penstock.routing.plan import Route

_NOW = WallTime(1_763_668_800.0)
_LATER = WallTime(_NOW + 86_400.0)
_MESSAGES = 20_000
_ROUNDS = 7
_MILLION = 1_000_000
_ROUTE = Route("mx.dest.example", (Exchange(10, "mx.dest.example"),), MonotonicTime(1e9))
_NO_DOMAIN = reply(550, "5.1.2", "Penstock internal: domain does not exist")


def _scheduler(max_age: float = 7 * 86_400.0) -> Scheduler:
    queue = QueueConfig(max_age=Seconds(max_age))
    path = PathConfig()
    return Scheduler(lambda name: queue, lambda site: path)


def _connected(scheduler: Scheduler, connections: int) -> Path:
    """A path whose hop is ``dest.example``, with that many connections that have found nothing to pull."""
    for index in range(200):
        scheduler.add(QueueName("dest.example"), index, 10_240, created=_NOW, now=_NOW)
    for hop in list(scheduler.hops.values()):
        scheduler.route_found(hop, _ROUTE, _LATER, _NOW)
    while scheduler.tick(_NOW):
        pass
    path = scheduler.paths[_ROUTE.site]
    opened = path.connections
    for _ in range(opened):
        scheduler.connected(path, _NOW)
    while (row := scheduler.pull(path, _NOW)) >= 0:
        scheduler.settled(path, row, _NOW)
    for _ in range(opened - connections):
        scheduler.connection_closed(path, _NOW)
    scheduler.take_effects()
    return path


def _best(work: Callable[[], float]) -> float:
    return min(work() for _ in range(_ROUNDS))


def _straight(queues: int, *, is_with_lane: bool) -> float:
    """Microseconds per message that comes in and goes straight out, spread over that many queues."""
    scheduler = _scheduler()
    path = _connected(scheduler, 1)
    names = [QueueName("dest.example", f"tenant-{index}") for index in range(queues)]
    begin = time.thread_time()
    for index in range(_MESSAGES):
        now = WallTime(_NOW + index * 1e-4)
        scheduler.add(names[index % queues], index, 10_240, created=now, now=now)
        if is_with_lane:
            scheduler.take_effects()
            scheduler.next_wake()
        row = scheduler.pull(path, now)
        scheduler.settled(path, row, now)
        if is_with_lane:
            scheduler.next_wake()
        elif index % 500 == 0:
            scheduler.take_effects()
    return (time.thread_time() - begin) / _MESSAGES * 1e6


def _deferral(queues: int) -> float:
    """Microseconds per deferral, spread over that many queues: all are pulled and deferred, then become due in the order of their times."""
    scheduler = _scheduler()
    path = _connected(scheduler, 1)
    names = [QueueName("dest.example", f"tenant-{index}") for index in range(queues)]
    for index in range(_MESSAGES):
        scheduler.add(names[index % queues], index, 10_240, created=_NOW, now=_NOW)
    scheduler.take_effects()
    begin = time.thread_time()
    for index in range(_MESSAGES):
        now = WallTime(_NOW + index * 1e-3)
        row = scheduler.pull(path, now)
        due = scheduler.retry_at(row, now, (index * 0.618) % 1.0)
        assert due is not None
        scheduler.deferred(path, row, due)
    while (wake := scheduler.next_wake()) is not None and path.ready < _MESSAGES:
        scheduler.tick(wake)
        scheduler.take_effects()
    return (time.thread_time() - begin) / _MESSAGES * 1e6


def _fill(
    scheduler: Scheduler, messages: int, per_queue: int, *, due: float | None = None, domains: bool = False
) -> None:
    for queue in range(messages // per_queue):
        name = QueueName(f"d{queue}.example" if domains else "dest.example", f"tenant-{queue}", "welcome")
        for index in range(per_queue):
            scheduler.add(
                name,
                queue * per_queue + index,
                10_240,
                created=_NOW,
                now=_NOW,
                due=WallTime(_NOW + due + (queue * 7919 + index * 104_729) % 1_200_000 / 1000)
                if due
                else None,
            )


def _bytes(messages: int, per_queue: int, *, due: float | None, domains: bool = False) -> float:
    """Octets per queued message."""
    gc.collect()
    tracemalloc.start()
    scheduler = _scheduler()
    _fill(scheduler, messages, per_queue, due=due, domains=domains)
    scheduler.take_effects()
    gc.collect()
    octets = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert len(scheduler) == messages
    return octets / messages


class _Stopwatch:
    """The longest of many calls, in milliseconds, and their sum in seconds."""

    def __init__(self) -> None:
        self.longest = 0.0
        self.total = 0.0
        self.calls = 0

    def __call__(self, work: Callable[[], object]) -> None:
        begin = time.thread_time()
        work()
        took = time.thread_time() - begin
        self.calls += 1
        self.total += took
        self.longest = max(self.longest, took * 1000)

    def __str__(self) -> str:
        return f"{self.longest:8.2f} ms   ({self.calls} calls, {self.total:.2f} s in all)"


def _until_quiet(scheduler: Scheduler, now: WallTime, watch: _Stopwatch) -> None:
    more = True

    def tick() -> None:
        nonlocal more
        more = scheduler.tick(now)

    while more or scheduler.is_behind:
        watch(tick)
        scheduler.take_effects()
        while (end := scheduler.take_end()) is not None:
            scheduler.end_recorded(end, now)


def _pauses(per_queue: int) -> dict[str, _Stopwatch]:
    """The longest single call of each kind, with a million messages queued."""
    watches: dict[str, _Stopwatch] = {}

    def parked(**options: float) -> Scheduler:
        scheduler = _scheduler(**options)
        _fill(scheduler, _MILLION, per_queue)
        scheduler.take_effects()
        return scheduler

    watch = watches["route_found"] = _Stopwatch()
    scheduler = parked()
    hop = scheduler.hops["dest.example"]
    watch(lambda: scheduler.route_found(hop, _ROUTE, _LATER, _NOW))
    _until_quiet(scheduler, _NOW, watches.setdefault("tick, mail moves to its path", _Stopwatch()))

    watch = watches["pull"] = _Stopwatch()
    path = scheduler.paths[_ROUTE.site]
    for _ in range(path.connections):
        scheduler.connected(path, _NOW)
    settle = watches["settled"] = _Stopwatch()
    row = 0

    def pull() -> None:
        nonlocal row
        row = scheduler.pull(path, _NOW)

    while True:
        watch(pull)
        if row < 0:
            break
        settle(lambda: scheduler.settled(path, row, _NOW))

    watch = watches["route_failed"] = _Stopwatch()
    scheduler = parked()
    hop = scheduler.hops["dest.example"]
    watch(lambda: scheduler.route_failed(hop, _NO_DOMAIN, _LATER, _NOW, is_permanent=True))
    _until_quiet(scheduler, _NOW, watches.setdefault("tick, all mail fails", _Stopwatch()))

    scheduler = parked(max_age=3600.0)
    watch = watches["tick, all mail expires at once"] = _Stopwatch()
    _until_quiet(scheduler, WallTime(_NOW + 3600.0), watch)

    scheduler = _scheduler()
    _fill(scheduler, _MILLION, per_queue, due=1200.0)
    scheduler.take_effects()
    watch = watches["tick, all mail is overdue at once"] = _Stopwatch()
    _until_quiet(scheduler, WallTime(_NOW + 2401.0), watch)
    return watches


def main() -> None:
    """Print the figures."""
    for queues in (1, 1000):
        bare = _best(lambda queues=queues: _straight(queues, is_with_lane=False))
        lane = _best(lambda queues=queues: _straight(queues, is_with_lane=True))
        print(f"straight through, {queues:>4} queues: {bare:6.2f} µs   with the lane's calls {lane:6.2f} µs")
    for queues in (1, 1000):
        deferral = _best(lambda queues=queues: _deferral(queues))
        print(f"a deferral, {queues:>4} queues:       {deferral:6.2f} µs")
    for messages in (100_000, _MILLION):
        for per_queue in (20, 1):
            parked = _bytes(messages, per_queue, due=None)
            waiting = _bytes(messages, per_queue, due=1200.0)
            print(
                f"{messages:>9,} messages, {per_queue:>2} per queue: {parked:6.0f} octets each, parked; "
                f"{waiting:6.0f} waiting for their time"
            )
    own = _bytes(100_000, 1, due=None, domains=True)
    print(f"  100,000 messages, each of a domain of its own: {own:6.0f} octets each")
    for per_queue in (20, 1):
        print(f"longest call with {_MILLION:,} messages, {per_queue} per queue:")
        for name, watch in _pauses(per_queue).items():
            print(f"  {name:<36}{watch}")


if __name__ == "__main__":
    main()
