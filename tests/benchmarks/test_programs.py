"""Programs that checks start are waited for, measured with their children, and ended."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from benchmarks.cpu import TreeClock, peak_resident_bytes, resident_bytes
from benchmarks.postfix_tools import Sink, finish_sources, read_dump, source_command, start_sources, streams
from benchmarks.processes import (
    MissingProgramError,
    ProgramFaultError,
    descendants,
    find_program,
    start,
    stop,
    wait_until,
)

#: Uses 0.3 s of CPU in a child that ends and 0.2 s itself, says so, and waits.
BURNER = """
    import os, sys, time
    def burn(seconds):
        begin = time.process_time()
        while time.process_time() - begin < seconds:
            pass
    child = os.fork()
    if child == 0:
        burn(0.3)
        os._exit(0)
    os.waitpid(child, 0)
    burn(0.2)
    print("done", flush=True)
    sys.stdin.read()
"""
#: Does not end when asked to, and has a child that nobody asks.
STUBBORN = """
    import signal, subprocess
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    subprocess.Popen(["sleep", "60"])
    signal.pause()
"""


def python(code: str) -> list[str]:
    """The command that runs a piece of Python."""
    return [sys.executable, "-c", textwrap.dedent(code)]


@pytest.mark.system
def test_cpu_time_counts_children_that_have_ended() -> None:
    """A server whose processes come and go is measured whole."""
    with subprocess.Popen(python(BURNER), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        used = TreeClock(process.pid).used()
        assert 0 < resident_bytes(process.pid) <= peak_resident_bytes(process.pid)
        process.kill()
    assert 0.48 <= used <= 2.0


@pytest.mark.system
def test_a_program_is_ended_with_all_of_its_group() -> None:
    """What it has started ends too, though it was never told."""
    process = start(python(STUBBORN))
    (child,) = wait_until(lambda: descendants(process.pid), 10.0, "the child", process)
    stop(process, grace=0.1)
    assert process.returncode == -9
    # a zombie that init has not reaped yet has no executable any more
    wait_until(lambda: not Path(f"/proc/{child}/maps").exists() or not _maps(child), 10.0, "the child's end")


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return ""


@pytest.mark.system
def test_waiting_ends_when_the_program_does() -> None:
    """A server that fails to start is told at once, not at the deadline."""
    process = start(python("raise SystemExit(7)"))
    with pytest.raises(ProgramFaultError, match="it to listen: the program ended first, with status 7"):
        wait_until(lambda: False, 60.0, "it to listen", process)


def test_waiting_ends_at_the_deadline() -> None:
    """And says what it waited for."""
    with pytest.raises(ProgramFaultError, match="the impossible: not within 0 s"):
        wait_until(lambda: False, 0.0, "the impossible")


def test_a_missing_program_is_named() -> None:
    """So that the operator knows what to install."""
    with pytest.raises(MissingProgramError, match="no-such-program-at-all is not installed"):
        find_program("no-such-program-at-all")


def test_load_is_shared_out_to_the_last_message_and_session() -> None:
    """20 sessions and 1,003 messages over 8 domains."""
    parts = streams(1003)
    assert [part.domain for part in parts] == [f"d{number}.test" for number in range(1, 9)]
    assert [part.sessions for part in parts] == [3, 3, 3, 3, 2, 2, 2, 2]
    assert sum(part.messages for part in parts) == 1003
    assert max(part.messages for part in parts) - min(part.messages for part in parts) == 1


@pytest.mark.system
@pytest.mark.servers("smtp-source", "smtp-sink")
def test_smtp_sink_counts_and_keeps_what_smtp_source_sends(tmp_path: Path) -> None:
    """The two programs of Postfix that relay-1 and relay-2 stand on, straight into each other."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)  # smtp-sink runs as nobody where we are root
    file, log = tmp_path / "message", tmp_path / "log"
    file.write_bytes(b"Subject: x\n\n.\n..\nend\n")
    with Sink(tmp_path, dump=tmp_path / "dump") as sink:
        commands = [source_command(sink.port, part, file=file, numbered=True) for part in streams(24)]
        finish_sources(start_sources(commands, log), log, 20.0)
        sink.wait_for(24, 20.0)
        assert sink.count() == 24
        assert sink.clock.used() > 0
    dumped = read_dump(tmp_path / "dump")
    assert {message.message for message in dumped} == {b"Subject: x\n\n.\n..\nend\n\n"}
    recipients = {recipient for message in dumped for recipient in message.recipients}
    assert recipients == {
        f"<{number}user@d{domain}.test>" for number in range(1, 4) for domain in range(1, 9)
    }
