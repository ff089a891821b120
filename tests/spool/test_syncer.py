"""The helper process that syncs, and what becomes of a sync when it dies or hangs."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import uvloop

from penstock.mail.duration import Seconds
from penstock.net.clock import SystemClock
from penstock.spool.files import FileError
from penstock.spool.os_files import OsFile, OsFiles
from penstock.spool.sync_helper import ANSWER, FILES_AT_ONCE, REQUEST
from penstock.spool.syncer import HELPER, HelperSyncer

#: A helper that takes requests and says nothing; one that is gone before it could; one that answers what it was not asked.
_SILENT = "import socket,sys; s=socket.socket(fileno=int(sys.argv[1]))\nwhile s.recv(100): pass"
_DEAD = "pass"
_CONFUSED = (
    "import socket,struct,sys; s=socket.socket(fileno=int(sys.argv[1])); s.recv(100)\n"
    "s.send(struct.pack('=QiI', 99, 0, 0)); s.recv(1)"
)
#: The real one, as the process of the second start: the first is gone after its first request.
_MORTAL = f"""
import os, socket, sys
if os.path.exists({{marker!r}}):
    os.execv(sys.executable, [*{list(HELPER)!r}, *sys.argv[1:]])
open({{marker!r}}, "w").close()
socket.socket(fileno=int(sys.argv[1])).recv(100)
"""


class Answers:
    """What became of the syncs asked for, in order."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[FileError | None] = asyncio.Queue()

    def __call__(self, error: FileError | None) -> None:
        self.queue.put_nowait(error)

    async def next(self) -> FileError | None:
        async with asyncio.timeout(20):
            return await self.queue.get()


@pytest.fixture(params=[asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Awaitable[None]], None]:
    """Runs a scene on either loop."""
    return request.param


@pytest.fixture
def file(tmp_path: Path) -> OsFile:
    """A file with something in it."""
    files = OsFiles(tmp_path / "spool")
    file = files.create("segment")
    file.write([b"something"], 0)
    files.close()
    return file


@contextlib.asynccontextmanager
async def started(*program: str, patience: float = 20.0) -> AsyncIterator[tuple[HelperSyncer, list[float]]]:
    """A syncer, ``program`` its helper if it is given as Python, and how long its syncs took."""
    took: list[float] = []
    command = (sys.executable, "-c", *program) if program else HELPER
    syncer = HelperSyncer(SystemClock(), patience=Seconds(patience), command=command, on_synced=took.append)
    syncer.start()
    try:
        yield syncer, took
    finally:
        await syncer.close()


def test_a_sync_is_reported_when_it_is_done(
    run: Callable[[Awaitable[None]], None], file: OsFile, tmp_path: Path
) -> None:
    """Never from inside the call; how long it took is measured; folders are synced as well."""

    async def scene() -> None:
        answers = Answers()
        async with started() as (syncer, took):
            for _ in range(3):
                syncer.sync([file], answers)
                assert answers.queue.empty()
                assert syncer.waiting() >= 0
                with pytest.raises(RuntimeError, match="under way"):
                    syncer.sync([file], answers)
                assert await answers.next() is None
                assert syncer.waiting() == 0
            folder = OsFile(os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY), "", "")
            syncer.sync([folder, file], answers)
            assert await answers.next() is None
            folder.close()
            assert len(took) == 4 and all(seconds >= 0 for seconds in took)
            assert syncer.starts == 1

    run(scene())
    file.close()


def test_a_file_is_handed_over_once(file: OsFile) -> None:
    """What is synced again and again is brought with the first request; other files, an error or another helper make it be brought anew."""
    connection, process = _helper(files=100)
    with process, connection:
        for number, brings, fault in ((1, 0, errno.EBADF), (2, 1, 0), (3, 0, 0), (4, 0, 0)):
            socket.send_fds(connection, [REQUEST.pack(number, brings, False)], [file.fileno()] * brings)
            assert ANSWER.unpack(connection.recv(100)) == (number, fault, 0)
        kept = Path(f"/proc/{process.pid}/fd")
        assert sum(path.readlink().name == "segment" for path in kept.iterdir()) == 1
        with socket.socket() as unsyncable:
            socket.send_fds(connection, [REQUEST.pack(5, 1, False)], [unsyncable.fileno()])
            assert ANSWER.unpack(connection.recv(100)) == (5, errno.EINVAL, 0)
        socket.send_fds(connection, [REQUEST.pack(6, 0, False)], [])
        assert ANSWER.unpack(connection.recv(100)) == (6, errno.EBADF, 0)
        connection.close()
        assert process.wait(20) == 0
    file.close()


def test_more_files_than_fit_in_a_message(file: OsFile) -> None:
    """Are sent in several, and answered as one."""

    async def scene() -> None:
        answers = Answers()
        async with started() as (syncer, took):
            syncer.sync([file] * (FILES_AT_ONCE + 3), answers)
            assert await answers.next() is None
            assert len(took) == 1

    asyncio.run(scene())
    file.close()


def test_the_error_of_a_sync_is_its_own(file: OsFile) -> None:
    """It names the file; the next sync is another matter, for the same helper."""

    async def scene() -> None:
        answers = Answers()
        full = OsFile(os.open("/dev/full", os.O_RDWR), "lane/7", "lane/7")
        async with started() as (syncer, took):
            syncer.sync([file, full, file], answers)
            error = await answers.next()
            assert error is not None and error.path == "lane/7" and error.errno == errno.EINVAL
            syncer.sync([file], answers)
            assert await answers.next() is None
            assert (len(took), syncer.starts) == (1, 1)
        full.close()

    asyncio.run(scene())
    file.close()


def test_a_sync_under_way_when_the_helper_dies_has_failed(
    run: Callable[[Awaitable[None]], None], file: OsFile, tmp_path: Path
) -> None:
    """Nobody knows how far it got. Another helper is there for the next."""

    async def scene() -> None:
        answers = Answers()
        async with started(_MORTAL.format(marker=str(tmp_path / "died"))) as (syncer, took):
            syncer.sync([file], answers)
            error = await answers.next()
            assert error is not None and "it died" in str(error) and error.errno == errno.EIO
            syncer.sync([file], answers)
            assert await answers.next() is None
            assert (len(took), syncer.starts) == (1, 2)

    run(scene())
    file.close()


def test_a_helper_that_is_killed_while_idle_is_replaced(file: OsFile) -> None:
    """What is asked for before that is noticed goes to the new one, for the old one did not get it."""

    async def scene() -> None:
        answers = Answers()
        async with started() as (syncer, _):
            syncer.sync([file], answers)
            assert await answers.next() is None
            helper = syncer._process
            assert helper is not None
            os.kill(helper.pid, signal.SIGKILL)
            os.waitid(os.P_PID, helper.pid, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 - the loop must not notice
            syncer.sync([file], answers)
            assert await answers.next() is None
            assert syncer.starts == 2

    asyncio.run(scene())
    file.close()


@pytest.mark.parametrize("seconds", [0.01, 0.3])
def test_a_helper_that_does_not_answer_is_given_up(file: OsFile, seconds: float) -> None:
    """With the sync that it had, or was still to get."""

    async def scene() -> None:
        answers = Answers()
        async with started(_SILENT, patience=seconds) as (syncer, took):
            syncer.sync([file], answers)
            error = await answers.next()
            assert error is not None and error.errno == errno.ETIMEDOUT and error.path == "segment"
            assert "no answer for" in str(error)
            assert not took

    asyncio.run(scene())
    file.close()


def test_a_helper_that_never_lives_is_not_started_all_the_time(file: OsFile) -> None:
    """The first is replaced at once; each of the next waits longer. Syncs that are asked for meanwhile wait for them."""

    async def scene() -> None:
        answers, delays = Answers(), []
        loop = asyncio.get_running_loop()
        async with started(_DEAD) as (syncer, _):

            def done(error: FileError | None) -> None:
                assert syncer._restart is not None
                delays.append(syncer._restart.when() - loop.time())
                answers(error)

            for _ in range(3):
                syncer.sync([file], done)
                assert await answers.next() is not None
            assert syncer.starts == 3
            assert delays[0] <= 0.01 < 0.1 < delays[1] < delays[2]

    asyncio.run(scene())
    file.close()


def test_a_program_that_cannot_be_started_fails_the_syncs(file: OsFile) -> None:
    """And nothing else."""

    async def scene() -> None:
        answers = Answers()
        syncer = HelperSyncer(SystemClock(), patience=Seconds(0.05), command=("/nonexistent/helper",))
        syncer.start()
        syncer.sync([file], answers)
        error = await answers.next()
        assert error is not None and "no sync helper could be started" in str(error)
        await syncer.close()

    asyncio.run(scene())
    file.close()


def test_an_answer_to_nothing_is_not_believed(file: OsFile) -> None:
    """The helper is replaced, the sync has failed."""

    async def scene() -> None:
        answers = Answers()
        async with started(_CONFUSED) as (syncer, took):
            syncer.sync([file], answers)
            error = await answers.next()
            assert error is not None and "not asked" in str(error)
            assert not took

    asyncio.run(scene())
    file.close()


def test_what_is_asked_for_at_the_end_fails(file: OsFile) -> None:
    """Under way or not, it is answered; no process is left."""

    async def scene() -> None:
        answers = Answers()
        async with started(_SILENT) as (syncer, _):
            syncer.sync([file], answers)
            await syncer.close()
            first = await answers.next()
            syncer.sync([file], answers)
            second = await answers.next()
            assert first is not None and second is not None
            assert first.errno == second.errno == errno.ECANCELED
            assert not syncer._living
        with pytest.raises(ValueError, match="one file at least"):
            syncer.sync([], answers)

    asyncio.run(scene())
    file.close()


def _helper(*, files: int) -> tuple[socket.socket, subprocess.Popen[bytes]]:
    """The real helper, allowed to have so many files open, and the socket to it."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.settimeout(20)
    limited = f"import os,resource,sys; resource.setrlimit(resource.RLIMIT_NOFILE, ({files}, {files})); os.execv(sys.argv[1], sys.argv[1:])"
    with its:
        command = [sys.executable, "-c", limited, *HELPER, str(its.fileno()), str(os.getpid())]
        return ours, subprocess.Popen(command, pass_fds=[its.fileno()])


def test_files_that_the_kernel_left_out_are_missed(file: OsFile) -> None:
    """Descriptors over the helper's limit vanish without an error of recvmsg: they must not count as synced."""
    connection, process = _helper(files=20)
    with process, connection:  # in this order, so that a failure closes what the helper waits for
        socket.send_fds(connection, [REQUEST.pack(5, 40, False)], [file.fileno()] * 40)
        number, fault, index = ANSWER.unpack(connection.recv(100))
        assert (number, fault) == (5, errno.EMFILE) and 0 < index < 40
        socket.send_fds(connection, [REQUEST.pack(6, 1, False)], [file.fileno()])
        assert ANSWER.unpack(connection.recv(100)) == (6, 0, 0)
        connection.close()
        assert process.wait(20) == 0
    file.close()


def test_the_helper_ends_with_the_process_that_started_it() -> None:
    """Also if that one is killed; here a program in between, which starts a helper and then dies with the socket left open."""
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    program = (
        "import os, subprocess, sys\n"
        "helper = subprocess.Popen([*sys.argv[2:], sys.argv[1], str(os.getpid())], pass_fds=[int(sys.argv[1])])\n"
        "sys.stdin.read(1)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    ours.settimeout(20)
    with ours:
        with its:
            between = subprocess.Popen(
                [sys.executable, "-c", program, str(its.fileno()), *HELPER],
                pass_fds=[its.fileno()],
                stdin=subprocess.PIPE,
            )
        with between:
            socket.send_fds(ours, [REQUEST.pack(1, 0, False)], [])
            assert ANSWER.unpack(ours.recv(100)) == (1, errno.EBADF, 0)
            between.communicate(b"x", timeout=20)
            assert ours.recv(100) == b""
