"""relay-1: whatever comes in goes out once, with the same octets."""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.capture import Capture, Captured
from benchmarks.dialogue import Dialogue, send_message, stuffed
from benchmarks.messages import (
    LABELS,
    MIB,
    Case,
    border_cases,
    border_offsets,
    difference,
    dot_cases,
    expected,
    padded,
    simple_cases,
    wire,
    without_received,
)
from benchmarks.postfix_tools import Sink, finish_sources, read_dump, source_command, start_sources, streams
from benchmarks.processes import LOOPBACK, ProgramFaultError, find_program
from benchmarks.product import DOMAINS, Penstock
from benchmarks.report import Report

#: bücher.test as an A-label: where the SMTPUTF8 message goes.
BOOKS = "xn--bcher-kva.test"
SOURCE_MESSAGES = 800
_PATH = re.compile(rb"(?:TO|FROM):<([^>]*)>", re.IGNORECASE)


def check(report: Report, arguments: Sequence[str]) -> None:
    """Mail of smtp-source, swaks and plain sockets arrives once, byte for byte, with one Received field more and its labels gone."""
    find_program("swaks")
    with tempfile.TemporaryDirectory(prefix="penstock-relay-1-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # smtp-sink runs as nobody
        _through_smtp_sink(report, folder)
        _through_capture(report, folder)


def _through_smtp_sink(report: Report, folder: Path) -> None:
    report.heading("smtp-source and swaks, to Penstock, to smtp-sink")
    file = folder / "message"
    file.write_bytes(
        (
            b"Subject: relay-1\r\n"
            + LABELS
            + b"From: <a@source.test>\r\n\r\n"
            + b"text\r\n.\r\n..\r\n.x\r\n" * 40
        ).replace(b"\r\n", b"\n")
    )
    dump = folder / "dump"
    log = folder / "smtp-source.log"
    with Sink(folder, dump=dump) as sink, Penstock(folder / "sink", sink.port) as penstock:
        original = _what_is_sent(
            lambda port: [source_command(port, streams(8)[0]._replace(messages=1), file=file)], log
        )
        both = [
            [
                source_command(penstock.port, stream, file=file, numbered=True, reuse=reuse)
                for stream in streams(SOURCE_MESSAGES)
            ]
            for reuse in (True, False)
        ]
        for commands in both:
            finish_sources(start_sources(commands, log), log, 60.0)
        swaks_domains = DOMAINS[:2]
        recipients = [f"swaks{number}@{swaks_domains[number % 2]}" for number in range(6)]
        swaks_original = _swaks_original(recipients, file)
        _swaks(penstock.port, recipients, file)
        arrive = 2 * SOURCE_MESSAGES + len(swaks_domains)
        sink.wait_for(arrive, 60.0, lambda: None if penstock.is_running() else penstock.log()[-500:])
        status = penstock.stop()
        dumped = read_dump(dump)
    report.claim("Penstock stops with status 0 on SIGTERM", status == 0, str(status))
    from_source = [message for message in dumped if not message.recipients[0].startswith("<swaks")]
    from_swaks = [message for message in dumped if message.recipients[0].startswith("<swaks")]
    wanted = Counter(
        f"<{number}user@{stream.domain}>"
        for stream in streams(SOURCE_MESSAGES)
        for number in range(1, stream.messages + 1)
    )
    arrived = Counter(recipient for message in from_source for recipient in message.recipients)
    report.claim(
        "every message of smtp-source arrives once",
        arrived == wanted + wanted,
        f"{arrived.total()} of {2 * wanted.total()}, sessions reused and not, {len(arrived)} recipients",
    )
    arrived = Counter(recipient for message in from_swaks for recipient in message.recipients)
    report.claim(
        "every message of swaks arrives once",
        arrived == Counter(f"<{recipient}>" for recipient in recipients),
        f"{arrived.total()} recipients in {len(from_swaks)} messages",
    )
    faults = {
        fault
        for message in from_source
        if (fault := _fault(original, message.message.replace(b"\n", b"\r\n")))
    }
    faults |= {
        fault
        for message in from_swaks
        if (fault := _fault(swaks_original, message.message.replace(b"\n", b"\r\n")))
    }
    report.claim(
        "as it was sent, one Received field more, labels gone",
        not faults,
        "; ".join(sorted(faults)[:3]) or f"{len(dumped)} messages",
    )
    _claim_events(report, penstock, 2 * SOURCE_MESSAGES + len(recipients))


def _what_is_sent(commands: Callable[[int], list[list[str]]], log: Path) -> bytes:
    """The message that a client sends, learnt by letting it send to the capture server directly."""
    with Capture() as capture:
        finish_sources(start_sources(commands(capture.port), log), log, 20.0)
        return capture.wait_for_recipients(1)[0].message


def _swaks(port: int, recipients: Sequence[str], file: Path) -> None:
    command = [
        find_program("swaks"),
        "--server",
        LOOPBACK,
        "--port",
        str(port),
        "--ehlo",
        "source.test",
        "--silent",
        "2",
    ]
    command += ["--from", "sender@source.test", "--to", ",".join(recipients), "--data", f"@{file}"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False)
    if done.returncode:
        raise ProgramFaultError(
            f"swaks failed with status {done.returncode}: {done.stdout[-500:]!r} {done.stderr[-300:]!r}"
        )


def _swaks_original(recipients: Sequence[str], file: Path) -> bytes:
    with Capture() as capture:
        _swaks(capture.port, recipients, file)
        return capture.wait_for_recipients(len(recipients))[0].message


def _fault(sent: bytes, arrived: bytes) -> str:
    """What is wrong with a message that arrived; empty if nothing is."""
    received, rest = without_received(arrived)
    if not received:
        return f"no Received field at the beginning: {arrived[:60]!r}"
    return difference(expected(sent), rest)


def _claim_events(report: Report, penstock: Penstock, recipients: int) -> None:
    counts = {
        kind: penstock.event_recipients(kind)
        for kind in ("Reception", "Delivery", "TransientFailure", "Bounce", "Expiration")
    }
    report.claim(
        "the event log says the same",
        counts
        == {
            "Reception": recipients,
            "Delivery": recipients,
            "TransientFailure": 0,
            "Bounce": 0,
            "Expiration": 0,
        },
        ", ".join(f"{count} {kind}" for kind, count in counts.items()),
    )


def _through_capture(report: Report, folder: Path) -> None:
    report.heading("Plain sockets, to Penstock, to a server that keeps every octet")
    with (
        Capture() as capture,
        Penstock(folder / "capture", capture.port, domains=[*DOMAINS, BOOKS]) as penstock,
    ):
        courier = _Courier(report, penstock, capture)
        for case in simple_cases():
            courier.carry([case], case.name)
        courier.carry(list(dot_cases()), "dots at line starts")
        courier.carry(list(border_cases(courier.added)), "dots at every buffer border")
        wanted = set(border_offsets())
        report.claim(
            "and they were at every border of what was sent",
            wanted <= courier.dots_sent,
            f"{len(wanted & courier.dots_sent)} of {len(wanted)} offsets",
        )
        reply = send_message(penstock.port, b"sender@source.test", [b"user@d1.test"], padded(20 * MIB + 2))
        report.claim("20 MiB and two octets are refused", reply.code == 552, str(reply))
        status = penstock.stop()
        report.claim(
            "nothing else ever arrived",
            not capture.messages() and status == 0,
            f"{len(capture.messages())} more, status {status}",
        )
        _claim_events(report, penstock, courier.recipients)


class _Courier:
    """Sends cases through Penstock one by one and judges what arrives."""

    def __init__(self, report: Report, penstock: Penstock, capture: Capture) -> None:
        self._report = report
        self._penstock = penstock
        self._capture = capture
        self.added = 0
        self.recipients = 0
        self.dots_sent: set[int] = set()

    def carry(self, cases: Sequence[Case], claim: str) -> None:
        """Send all of the cases in one session, and claim that each arrived as it must."""
        self._capture.take()  # what came too late for a case that has failed
        faults: list[str] = []
        began = time.monotonic()
        with Dialogue(self._penstock.port) as client:
            client.command(b"EHLO source.test", 250)
            for number, case in enumerate(cases, 1):
                try:
                    found = self._carry_one(client, case)
                except ProgramFaultError as fault:  # what comes late would be taken for the next message
                    faults.append(f"{case.name}: {fault}; {len(cases) - number} messages were not tried")
                    break
                faults += [f"{case.name}: {fault}" if len(cases) > 1 else fault for fault in found]
            else:
                client.command(b"QUIT", 221)
        seconds = time.monotonic() - began
        octets = sum(len(case.message) for case in cases)
        figures = f"{len(cases)} message{'s' if len(cases) > 1 else ''}, {octets:,} octets, {seconds:.2f} s"
        self._report.claim(claim, not faults, "; ".join(faults[:3]) or figures)

    def _carry_one(self, client: Dialogue, case: Case) -> list[str]:
        client.begin(case.reverse_path, case.forward_paths, case.parameters)
        if case.cut is None:
            client.send(stuffed(case.message))
        else:
            client.send_slowly(wire(case))
        client.expect(250)
        self.recipients += len(case.forward_paths)
        self._capture.wait_for_recipients(len(case.forward_paths), 60.0)
        return self._judge(case, self._capture.take())

    def _judge(self, case: Case, arrived: Sequence[Captured]) -> list[str]:
        faults: list[str] = []
        for captured in arrived:
            faults += [
                fault for fault in [_fault(case.message, captured.message), *captured.wire_faults()] if fault
            ]
            self.added = len(captured.message) - len(case.message)
            self.dots_sent.update(match.end() - 1 for match in re.finditer(rb"\r\n\.", captured.data))
            if _path(captured.mail) != case.reverse_path:
                faults.append(f"reverse-path became {captured.mail!r}")
            faults += [
                f"{word!r} is not said"
                for word in case.parameters.split()
                if word not in captured.mail.split()
            ]
        found = Counter(_path(recipient) for captured in arrived for recipient in captured.recipients)
        if found != Counter(map(_with_a_labels, case.forward_paths)):
            faults.append(f"recipients became {sorted(found.elements())[:5]}")
        if any(
            len({_path(recipient).rpartition(b"@")[2] for recipient in captured.recipients}) > 1
            for captured in arrived
        ):
            faults.append("a transaction has recipients of more than one domain")
        return faults


def _path(argument: bytes) -> bytes:
    """The address in the argument of MAIL or RCPT."""
    match = _PATH.match(argument)
    return _with_a_labels(match[1]) if match else argument


def _with_a_labels(address: bytes) -> bytes:
    """An address of these checks with its domain in one spelling: a relay may send either."""
    local_part, _, domain = address.rpartition(b"@")
    return local_part + b"@" + domain.replace("bücher".encode(), b"xn--bcher-kva")
