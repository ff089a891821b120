"""``python -m benchmarks.fuzz``: any octets from a peer give events or a protocol violation, nothing else; for as long as one likes.

Streams of a corpus are spoiled and fed to sessions without I/O, in segments of any size. What makes something new happen joins the corpus. The
first failure ends it, with status 1, and prints what reproduces it: ``--replay`` takes that line.
"""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import time
import traceback
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec

from benchmarks.fuzz_corpus import CLIENTS, PROXIES, SERVERS, mutated, pieces
from benchmarks.fuzz_targets import Target, pass_on, send, serve

#: Name -> what is fed, and what it begins with.
TARGETS: Final[dict[str, tuple[Target, tuple[bytes, ...]]]] = {
    "server": (serve, CLIENTS),
    "client": (send, SERVERS),
    "proxy": (pass_on, PROXIES),
}
_WEIGHTS: Final = (5, 4, 1)
#: Streams of a corpus. When there are more, one is forgotten for each that joins.
_CORPUS_LIMIT: Final = 4000
#: Now and then memory is looked at, with a stream that is this long.
_LONG: Final = 2_000_000
_LOOK_EVERY: Final = 2000
#: Octets that one session may take for itself, whatever it is fed: mail data, a reply's lines, and what Python makes of a segment.
MEMORY: Final = 1024**2
_TELL_EVERY: Final = 10.0


class Failure(msgspec.Struct, frozen=True):
    """Something that must not be: the ``target``, its draws' ``seed``, the ``segments``, and the traceback."""

    target: str
    seed: int
    segments: list[bytes]
    traceback: str = ""

    def replay_line(self) -> str:
        """What ``--replay`` takes."""
        sizes = [len(segment) for segment in self.segments]
        return msgspec.json.encode([self.target, self.seed, b"".join(self.segments), sizes]).decode()


class Fuzzer:
    """Feeds, one stream after the other. All of it follows from ``seed``."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self.corpora = {name: list(corpus) for name, (_, corpus) in TARGETS.items()}
        self.runs: Counter[str] = Counter()
        self._seen: set[tuple[str, str]] = set()

    def step(self) -> Failure | None:
        """Feed one more stream; the failure, if it was one."""
        chance = self._chance
        (name,) = chance.choices(list(TARGETS), _WEIGHTS)
        corpus = self.corpora[name]
        self.runs[name] += 1
        stream = mutated(chance.choice(corpus), corpus, chance)
        seed = chance.getrandbits(32)
        if self.runs.total() % _LOOK_EVERY == 0:
            return look_at_memory(name, stream, seed)
        segments = pieces(stream, chance)
        happened = feed(name, segments, seed)
        if isinstance(happened, Failure):
            return happened
        if (name, happened) not in self._seen:
            self._seen.add((name, happened))
            if len(corpus) >= _CORPUS_LIMIT:
                del corpus[chance.randrange(len(corpus))]
            corpus.append(stream)
        return None

    def report(self) -> str:
        """How much was done, in a line."""
        parts = [
            f"{name} {count:,} streams, {len(self.corpora[name]):,} kept"
            for name, count in sorted(self.runs.items())
        ]
        return "; ".join(parts)


def feed(name: str, segments: list[bytes], seed: int) -> str | Failure:
    """Feed segments to a target; what happened."""
    target, _ = TARGETS[name]
    try:
        return target(segments, random.Random(seed))
    except Exception:  # noqa: BLE001 -- that any exception is a failure is what is being looked for
        return Failure(name, seed, segments, traceback.format_exc())


def look_at_memory(name: str, stream: bytes, seed: int) -> Failure | None:
    """Feed a stream that goes on and on."""
    segment = (stream * (65_536 // max(1, len(stream)) + 1))[:65_536] if stream else b"x" * 65_536
    segments = [segment] * (_LONG // len(segment))
    is_ours = not tracemalloc.is_tracing()
    if is_ours:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        happened = feed(name, segments, seed)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        if is_ours:
            tracemalloc.stop()
    if isinstance(happened, Failure):
        return happened
    if peak - before > MEMORY:
        return Failure(
            name, seed, segments, f"{peak - before:,} octets of memory for {_LONG:,} octets of input"
        )
    return None


def fuzz(seed: int, seconds: float, *, runs: int | None = None) -> Failure | None:
    """Go on for ``seconds``, or for so many streams; the first failure, None if there is none."""
    fuzzer = Fuzzer(seed)
    end = time.monotonic() + seconds
    told = time.monotonic()
    while time.monotonic() < end and (runs is None or fuzzer.runs.total() < runs):
        failure = fuzzer.step()
        if failure is not None:
            return failure
        if time.monotonic() - told > _TELL_EVERY:
            told = time.monotonic()
            print(f"{end - told:4.0f} s to go: {fuzzer.report()}", flush=True)
    print(fuzzer.report())
    return None


def replay(line: str) -> int:
    """Feed once more what a failure was; 1 if it still is one."""
    name, seed, stream, sizes = msgspec.json.decode(line, type=tuple[str, int, bytes, list[int]])
    ends = list(itertools.accumulate(sizes))
    segments = [stream[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    happened = feed(name, segments, seed)
    print(happened.traceback if isinstance(happened, Failure) else f"no failure: {happened}")
    return int(isinstance(happened, Failure))


def main(arguments: Sequence[str]) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="benchmarks.fuzz", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="how long (default: ten minutes)")
    parser.add_argument(
        "--seed", type=int, default=None, help="of all chance; drawn where not given, and printed"
    )
    parser.add_argument("--replay", default=None, help="the line that a failure printed")
    options = parser.parse_args(arguments)
    if options.replay is not None:
        return replay(options.replay)
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    print(f"seed {seed}, {options.seconds:.0f} seconds", flush=True)
    failure = fuzz(seed, options.seconds)
    if failure is None:
        print("no failure")
        return 0
    print(
        f"{failure.target} failed:\n{failure.traceback}\nReplay with: python -m benchmarks.fuzz --replay '{failure.replay_line()}'"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
