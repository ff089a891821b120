"""A sink that writes down what came and when, and mail for it: what the checks of queues look at."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple

from benchmarks.processes import (
    LOOPBACK,
    ProgramFaultError,
    accepts_connections,
    free_port,
    start,
    stop,
    wait_until,
)
from benchmarks.product import penstock_command, run_command

_READY: Final = 20.0


class Receipt(NamedTuple):
    """A message at the sink: seconds since 1970 of its MAIL and of its last octet, and whose it was."""

    begun: float
    time: float
    tenant: str
    campaign: str
    domain: str
    number: str


#: Header fields stay in the mail, so that the record has them.
KEPT: Final = "remove_tenant_header = false\nremove_campaign_header = false\n"


class RecordingSink:
    """``penstock sink`` with a record, as a context."""

    def __init__(self, folder: Path, options: Sequence[str] = ()) -> None:
        self.port = free_port()
        self._record = folder / "got.jsonl"
        self._options = list(options)
        self._counted = self._read = 0

    def __enter__(self) -> RecordingSink:
        self._record.touch()
        command = [*penstock_command(), "sink", "--quiet", "--listen", f"{LOOPBACK}:{self.port}"]
        self.process = start([*command, "--record", str(self._record), *self._options])
        wait_until(lambda: accepts_connections(self.port), _READY, "the sink", self.process)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stop(self.process)

    def count(self) -> int:
        """How many messages have come."""
        with self._record.open("rb") as lines:
            lines.seek(self._read)
            while chunk := lines.read(1 << 20):
                self._counted += chunk.count(b"\n")
                self._read += len(chunk)
        return self._counted

    def receipts(self) -> Iterator[Receipt]:
        """All that has been accepted, in the order in which it came."""
        with self._record.open() as lines:
            for line in lines:
                found = json.loads(line)
                if (found["reply"] or "").startswith("2"):
                    yield _receipt(found)


def _receipt(found: dict[str, Any]) -> Receipt:
    headers = {name.lower(): value for name, value in found["headers"]}
    domain = found["recipients"][0].rpartition("@")[2]
    return Receipt(
        found["begun"], found["time"], headers.get("x-tenant", ""), headers.get("x-campaign", ""), domain, headers["x-blast-id"]
    )  # fmt: skip


def blast_command(port: int, *options: str) -> list[str]:
    """The command that sends mail to a server."""
    return [*penstock_command(), *_blast(port, options)]


def _blast(port: int, options: Sequence[str]) -> list[str]:
    return ["blast", "--to-server", f"{LOOPBACK}:{port}", "--json", "--quiet", "--size", "2KiB", *options]


def give(port: int, tenant: str, campaign: str, domain: str, count: int, *options: str) -> None:
    """Have so many messages accepted. ProgramFaultError if they are not."""
    whose = ("--tenants", f"{tenant}=1", "--campaigns", f"{campaign}=1", "--domains", f"{domain}=1")
    ran = run_command(_blast(port, (*whose, "--count", str(count), *options)), Path.cwd(), seconds=600.0)
    told = json.loads(ran.stdout) if ran.stdout else {"accepted": 0}
    if ran.returncode or told["accepted"] != count:
        raise ProgramFaultError(f"{told['accepted']} of {count} messages accepted: {ran.stderr[-500:]}")


@contextmanager
def load(
    port: int,
    rate: int,
    *,
    tenants: Sequence[str] = ("acme",),
    campaigns: Sequence[str] = ("load",),
    domains: Sequence[str],
) -> Iterator[None]:
    """Steady mail to a server, so many messages a second, until the context ends."""
    shares = (("--tenants", tenants), ("--campaigns", campaigns), ("--domains", domains))
    words = [word for name, names in shares for word in (name, ",".join(f"{each}=1" for each in names))]
    running = start(blast_command(port, "--rate", f"{rate}/s", "--duration", "1h", *words))
    try:
        yield
    finally:
        stop(running, first=signal.SIGINT)
