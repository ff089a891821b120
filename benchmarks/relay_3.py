"""relay-3: what hostile clients do, and that everybody else's mail still flows meanwhile."""

from __future__ import annotations

import contextlib
import socket
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.capture import BARE_LINE_END, Capture
from benchmarks.cpu import forget_peak, peak_resident_bytes, resident_bytes, settled
from benchmarks.dialogue import Dialogue, DialogueError, send_message
from benchmarks.hostile import ATTACKER, VICTIM, Flood, allow_open_files, is_fooled
from benchmarks.processes import LOOPBACK, ProgramFaultError
from benchmarks.product import Penstock
from benchmarks.report import Report
from benchmarks.roles import members
from penstock.sim.smuggling import SEQUENCES, UNIVERSAL_NEWLINES, attack_stream

KIB: Final = 1024
MIB: Final = 1024 * KIB
#: What "memory flat" may still mean: the allocator's, the interpreter's, and one slice of input.
FLAT_BYTES: Final = 4 * MIB
IDLE_CONNECTIONS: Final = 8000
IDLE_BYTES: Final = 16 * KIB
NOOPS: Final = 1_000_000
#: A connection that takes this long met a full accept queue: its first SYN was dropped (RFC 6298 2: the first retransmission).
RETRANSMISSION_SECONDS: Final = 1.0
#: Mail of others must take at most this long, reply and delivery, while the attack goes on.
PATIENCE_SECONDS: Final = 5.0


def check(report: Report, arguments: Sequence[str]) -> None:
    """Smuggling, endless lines, floods and idle crowds: no message too many, memory flat, and legitimate mail still flows."""
    for attack in (
        _Attack.smuggle,
        _Attack.endless_lines,
        _Attack.noops_never_read,
        _Attack.idle_connections,
    ):
        with (
            tempfile.TemporaryDirectory(prefix="penstock-relay-3-") as name,
            Capture() as capture,
            Penstock(Path(name) / "penstock", capture.port) as penstock,
        ):
            _Attack(report, penstock, capture).run(attack)


class _Attack:
    """One attack on a server of its own, so that memory which one leaves behind hides nothing of the next."""

    def __init__(self, report: Report, penstock: Penstock, capture: Capture) -> None:
        self._report = report
        self._penstock = penstock
        self._capture = capture
        #: what each process of the server had in memory before the attack
        self._baseline: dict[int, int] = {}

    def run(self, attack: Callable[[_Attack], None]) -> None:
        """Let ordinary mail flow, attack, and look at what is left. Memory counts from when mail has flowed, with all code loaded."""
        self._send_mail(50)
        self._penstock.wait_until_whole()
        self._baseline = {pid: resident_bytes(pid) for pid in members(self._penstock.process.pid)}
        attack(self)
        lives = self._baseline.keys() == members(self._penstock.process.pid).keys()
        status = self._penstock.stop()
        log = self._penstock.log()
        stray = len(self._capture.messages())
        self._report.claim(
            "every process of the server lives, it stops with status 0, logged no traceback, and sent nothing else",
            lives and status == 0 and "Traceback" not in log and stray == 0,
            f"status {status}, {stray} stray messages{_first_traceback(log)}",
        )

    def smuggle(self) -> None:
        """Each sequence, in one piece and octet by octet."""
        report = self._report
        report.heading(f"{len(SEQUENCES)} smuggling sequences")
        fooled = {name for name, octets in SEQUENCES.items() if is_fooled(octets)}
        report.claim(
            "positive control: a vulnerable server stores two messages",
            fooled == UNIVERSAL_NEWLINES,
            f"{len(fooled)} of {len(SEQUENCES)} sequences get through it",
        )
        cuts: dict[str, Callable[[bytes], list[bytes]]] = {
            "whole": lambda octets: [octets],
            "byte by byte": lambda octets: [octets[index : index + 1] for index in range(len(octets))],
        }
        for how, cut in cuts.items():
            faults: list[str] = []
            refused: list[str] = []
            for name, sequence in SEQUENCES.items():
                fault, was_refused = self._smuggle_once(sequence, cut)
                faults += [f"{name}: {fault}"] if fault else []
                refused += [name] if was_refused else []
            figures = f"{len(refused)} refused after the true end of data, {len(SEQUENCES) - len(refused)} taken as one message"
            report.claim(
                f"{how}: one message or none, and one reply", not faults, "; ".join(faults[:3]) or figures
            )
        self._claim_mail_flows("after them", 5)

    def _smuggle_once(self, sequence: bytes, cut: Callable[[bytes], list[bytes]]) -> tuple[str, bool]:
        """One attack; what went wrong (empty if nothing did) and whether the message was refused."""
        with Dialogue(self._penstock.port) as client:
            client.command(b"EHLO attacker.test", 250)
            client.begin(ATTACKER, [VICTIM])
            client.send_slowly(
                cut(attack_stream(sequence, sender="smuggled@b.test", recipient="evil@d2.test"))
            )
            try:
                reply = client.reply()
                after = client.command(b"NOOP")
            except DialogueError as error:
                return str(error), False
            rest = client.rest(0.05)
        if after.code != 250 or rest:
            return f"replies out of step: {reply}, then {after}, then {rest[:60]!r}", False
        is_bare = BARE_LINE_END.search(sequence) is not None
        if reply.code != 250:
            return (
                "" if str(reply).startswith("550 5.5.2") or not is_bare else f"refused with {reply}"
            ), True
        if is_bare:
            return "bare CR or LF was accepted", False
        arrived = self._capture.wait_for_recipients(1, PATIENCE_SECONDS)
        faults = [fault for message in self._capture.take() for fault in message.wire_faults()]
        if len(arrived) != 1 or b"smuggled" in arrived[0].mail:
            faults.append(f"{len(arrived)} messages arrived")
        return "; ".join(faults), False

    def endless_lines(self) -> None:
        """A megabyte, and ten, without a line end: as a command, in a header section, in a body."""
        self._report.heading("Lines that do not end")
        for size in (1_000_000, 10_000_000):
            line = b"X" * size
            self._endless(f"a command line of {size:,} octets", b"NOOP " + line, b"\r\n", in_data=False)
            self._endless(
                f"a header line of {size:,} octets", b"Subject: " + line, b"\r\n\r\nx\r\n.\r\n", in_data=True
            )
            self._endless(
                f"a body line of {size:,} octets", b"Subject: x\r\n\r\n" + line, b"\r\n.\r\n", in_data=True
            )
        self._claim_mail_flows("after them", 5)

    def _endless(self, what: str, octets: bytes, end: bytes, *, in_data: bool) -> None:
        """Send a line, then its end: a 5yz with the session intact, or a closed connection; nothing stored, memory flat."""
        self._forget_peak()
        with Dialogue(self._penstock.port) as client:
            client.command(b"EHLO attacker.test", 250)
            if in_data:
                client.begin(ATTACKER, [VICTIM])
            try:
                client.send(octets)
                client.send(end)
                reply = client.reply()
                answer, refused = str(reply), reply.code == 421 or reply.code >= 500
                if refused and reply.code != 421:
                    after = client.command(b"NOOP")
                    answer, refused = f"{answer}; then NOOP: {after.code}", after.code == 250
            except DialogueError:
                answer, refused = "connection closed", True
        growth = self._growth()
        self._report.claim(
            what,
            refused and growth <= FLAT_BYTES,
            f"{answer}; memory at most {growth // KIB:,} KiB above before",
        )

    def noops_never_read(self) -> None:
        """A client that sends without end and reads nothing."""
        self._report.heading(f"{NOOPS:,} pipelined NOOPs and on, replies never read")
        self._forget_peak()
        with Flood(self._penstock.port, b"NOOP\r\n" * (NOOPS * 10)) as flood:
            flood.wait()
            settled(self._penstock.clock, 30.0)
            held = flood.sent < len(flood)
            figures = f"{flood.sent // 6:,} NOOPs went into the server and the kernel's buffers, then {'no more' if held else 'still more'}"
            self._report.claim(
                "the server stops reading from who does not read", held or flood.was_closed, figures
            )
            self._claim_mail_flows("beside it", 20)
        growth = self._growth()
        self._report.claim("memory flat", growth <= FLAT_BYTES, f"at most {growth // KIB:,} KiB above before")

    def idle_connections(self) -> None:
        """A crowd that comes, says EHLO, and waits."""
        self._report.heading(f"{IDLE_CONNECTIONS:,} idle connections")
        allow_open_files(IDLE_CONNECTIONS + 500)
        began = time.monotonic()
        slowest = 0.0
        connections: list[socket.socket] = []
        with contextlib.ExitStack() as crowd:
            for _ in range(IDLE_CONNECTIONS):
                before = time.monotonic()
                connection = socket.create_connection((LOOPBACK, self._penstock.port), timeout=20.0)
                connections.append(crowd.enter_context(connection))
                slowest = max(slowest, time.monotonic() - before)
            self._report.claim(
                "nobody waits for the server to accept",
                slowest < RETRANSMISSION_SECONDS,
                f"all connected within {time.monotonic() - began:.1f} s, the slowest in {slowest * 1000:.1f} ms",
            )
            greeted = sum(connection.recv(512).startswith(b"220") for connection in connections)
            self._claim_growth("greeted", greeted)
            for connection in connections:
                connection.sendall(b"EHLO idle.test\r\n")
            answered = sum(connection.recv(512).startswith(b"250") for connection in connections)
            self._claim_growth("answered to EHLO", answered)
            self._claim_mail_flows("beside them", 50)
        self._claim_mail_flows("after they have gone", 5)
        self._report.figure(f"memory afterwards: {self._above_baseline() // KIB:,} KiB above before")

    def _growth(self) -> int:
        """How far memory has risen above the baseline at most, over all processes, since the peak was forgotten."""
        return sum(max(0, peak_resident_bytes(pid) - before) for pid, before in self._baseline.items())

    def _forget_peak(self) -> None:
        for pid in self._baseline:
            forget_peak(pid)

    def _above_baseline(self) -> int:
        """How far the memory of all processes is above the baseline now."""
        return sum(resident_bytes(pid) - before for pid, before in self._baseline.items())

    def _claim_growth(self, what: str, connections: int) -> None:
        each = self._above_baseline() / IDLE_CONNECTIONS
        self._report.claim(
            f"all {what}, at most {IDLE_BYTES // KIB} KiB each",
            connections == IDLE_CONNECTIONS and each <= IDLE_BYTES,
            f"{connections:,} of {IDLE_CONNECTIONS:,}, {each / KIB:.1f} KiB each",
        )

    def _claim_mail_flows(self, when: str, count: int) -> None:
        try:
            latencies = self._send_mail(count)
        except (ProgramFaultError, OSError) as error:
            self._report.claim(f"legitimate mail flows {when}", holds=False, detail=str(error))
            return
        figures = f"{count} messages, {statistics.median(latencies) * 1000:.1f} ms each, at most {max(latencies) * 1000:.0f}"
        self._report.claim(f"legitimate mail flows {when}", max(latencies) <= PATIENCE_SECONDS, figures)

    def _send_mail(self, count: int) -> list[float]:
        """Send mail as anybody would, one message a session; the seconds from connecting to arrival of each."""
        latencies: list[float] = []
        for number in range(count):
            began = time.monotonic()
            recipient = b"user%d@d3.test" % number
            reply = send_message(
                self._penstock.port, b"good@source.test", [recipient], b"Subject: x\r\n\r\nhello\r\n"
            )
            if reply.code != 250:
                raise ProgramFaultError(f"message {number + 1} of {count} was refused: {reply}")
            arrived = self._capture.wait_for_recipients(1, PATIENCE_SECONDS)
            if len(arrived) != 1 or recipient not in arrived[0].recipients[0]:
                raise ProgramFaultError(f"something else arrived: {arrived[0].recipients}")
            self._capture.take()
            latencies.append(time.monotonic() - began)
        return latencies


def _first_traceback(log: str) -> str:
    found = log.find("Traceback")
    return f": {log[found : found + 600]}" if found >= 0 else ""
