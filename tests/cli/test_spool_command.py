"""``penstock spool`` as it is typed."""

from __future__ import annotations

import ast
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.cli import spool_list, spool_message
from penstock.cli.quantities import rfc3339, shown_size, shown_span
from penstock.cli.spool import app
from penstock.cli.spool_list import Selection
from penstock.cli.spool_progress import Progress
from penstock.mail.address import Address
from penstock.mail.duration import WallTime
from penstock.mail.ids import IdSource, MessageId
from penstock.mail.ports import LogPosition
from penstock.mail.queue_name import QueueName
from penstock.mail.records import MessageRecord, Move, MovedRecord, Verdict
from penstock.spool.codec import (
    body_of,
    encode_attempt,
    encode_copy,
    encode_expiration,
    encode_forget,
    encode_transaction,
)
from penstock.spool.frame import Identity, Place, SegmentHeader
from penstock.spool.inspection import findings
from penstock.spool.inspection.findings import Finding
from penstock.spool.inspection.read_only import ReadOnlyFiles, user_name
from penstock.spool.inspection.view import look
from penstock.spool.meaning import NOWHERE, State
from penstock.spool.names import body_path, segment_path
from penstock.spool.orders import encode_rebind, encode_removal
from tests.spool import samples
from tests.spool.survey_spools import put_on_disk
from tests.spool.writing import add, fresh, put, segment

Command = Callable[..., int]

IDS = IdSource(99)
NOW = 1_700_000_000.0


def message(
    number: int, queue: QueueName, recipients: int = 1, content: bytes = b"Subject: x\r\n\r\nbody\r\n"
) -> MessageRecord:
    """A message as the server makes it, a second after the one before."""
    created = WallTime(NOW + number)
    record = samples.message(number, recipients, content, queue.domain)
    return msgspec.structs.replace(record, id=IDS.next(created), created=created, queue=queue)


ANNA = message(1, QueueName("a.test", "shop", "spring"), 3)
BEN = message(2, QueueName("b.test", "shop"))
CLEO = message(3, QueueName("a.test"), content=b"\x00binary\xff\r\n.\r\n")
DORA = message(4, QueueName("c.test", "bank", "spring", "relay.test"), content=b"large" * 300_000)
GONE = message(5, QueueName("a.test", "shop"))
MOVED = message(0, QueueName("a.test", "shop"))
LIVE = (MOVED, ANNA, BEN, CLEO, DORA)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A spool in a data directory, with a configuration beside it."""
    files = fresh()
    one, two = segment(files, 1), segment(files, 2)
    (anna,) = put(one, ANNA)
    put(one, BEN)
    (gone,) = put(one, GONE)
    (moved,) = put(one, MOVED)
    first = samples.attempt(
        ANNA, 1, (0, Verdict.ACCEPTED), (1, Verdict.DEFERRED), (2, Verdict.DEFERRED), due=NOW + 60
    )
    second = samples.attempt(ANNA, 2, (1, Verdict.DEFERRED), (2, Verdict.FAILED), due=NOW + 120)
    add(one, encode_attempt(first, anna), encode_expiration(samples.expiration(GONE, 0), gone))
    add(one, encode_attempt(samples.attempt(MOVED, 1, (0, Verdict.DEFERRED), due=5.0), moved))
    one.seal()
    put(two, CLEO)
    add(two, encode_transaction([DORA], body_of("dora", DORA.content)), encode_attempt(second, anna))
    add(two, encode_copy([MOVED], [State(moved, (0,), 1, 5.0)]))
    two.flush()
    files.create(body_path("dora")).write([DORA.content], 0)
    (tmp_path / "data").mkdir()
    put_on_disk(files, tmp_path / "data" / "spool")
    (tmp_path / "penstock.toml").write_text(
        f'[node]\nhostname = "mta.example"\ndata_dir = "{tmp_path}/data"\n[[listener.smtp]]\nlisten = ["127.0.0.1:2525"]\n'
    )
    return tmp_path / "data" / "spool"


@pytest.fixture
def spool(root: Path) -> Command:
    """Runs a command on the spool; gives its exit status."""

    def run(name: str, *arguments: str) -> int:
        status = app([name, "--spool", str(root), *arguments], result_action="return_value")
        assert isinstance(status, int)
        return status

    return run


def names(out: str) -> list[str]:
    """The ids of the messages in lines of JSON."""
    return [json.loads(line)["id"] for line in out.splitlines()]


def test_the_configuration_names_the_spool(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By -c, or by $PENSTOCK_CONFIG, as of every command."""
    config = str(root.parent.parent / "penstock.toml")
    assert app(["ls", "-c", config, "--json"], result_action="return_value") == 0
    first = capsys.readouterr().out
    monkeypatch.setenv("PENSTOCK_CONFIG", config)
    assert app(["ls", "--json"], result_action="return_value") == 0
    assert capsys.readouterr().out == first
    assert names(first) == [item.id for item in LIVE]


def test_a_list_shows_what_is_queued(spool: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Oldest first: id, queue, sender, who waits, size, attempts and when it is due."""
    assert spool("ls") == 0
    captured = capsys.readouterr()
    header, *lines = captured.out.splitlines()
    assert header.split() == [
        "id",
        "age",
        "size",
        "attempts",
        "due",
        "queue",
        "sender",
        "recipients",
        "waiting",
    ]
    assert [line.split()[0] for line in lines] == [item.id for item in LIVE]
    assert lines[1].endswith("  2          now  spring:shop@a.test  <bounces@shop.test>  u1@a.test")
    assert "  33 B  " in lines[0] and "  1 MiB  " in lines[4]
    assert captured.err == ""


def test_a_list_can_be_json(spool: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, with the names that events have."""
    assert spool("ls", "--json", "--queue", "spring:shop@a.test") == 0
    assert json.loads(capsys.readouterr().out) == {
        "id": ANNA.id,
        "queue": "spring:shop@a.test",
        "tenant": "shop",
        "campaign": "spring",
        "domain": "a.test",
        "routing_domain": None,
        "sender": "bounces@shop.test",
        "recipients": ["u1@a.test"],
        "waiting": 1,
        "settled": 2,
        "size": ANNA.size,
        "created_time": "2023-11-14T22:13:21.000000Z",
        "num_attempts": 2,
        "due_time": "2023-11-14T22:15:20.000000Z",
        "place": "1:64:0",
        "fault": None,
        "is_held": False,
        "held_from": None,
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--tenant", "shop"], [MOVED, ANNA, BEN]),
        (["--tenant", ""], [CLEO]),
        (["--tenant", "bank", "--tenant", ""], [CLEO, DORA]),
        (["--campaign", "spring"], [ANNA, DORA]),
        (["--campaign", "spring", "--tenant", "shop"], [ANNA]),
        (["--campaign", ""], [MOVED, BEN, CLEO]),
        (["--domain", "A.Test"], [MOVED, ANNA, CLEO]),
        (["--queue", "shop@b.test", "--queue", "a.test"], [BEN, CLEO]),
        (["--domain", "nowhere.test"], []),
        (["--limit", "2"], [MOVED, ANNA]),
        (["--limit", "0"], list(LIVE)),
    ],
    ids=str,
)
def test_options_select_messages(
    arguments: list[str], expected: list[MessageRecord], spool: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """Any value of an option, all options."""
    assert spool("ls", "--json", *arguments) == 0
    captured = capsys.readouterr()
    assert names(captured.out) == [item.id for item in expected]
    assert ("3 more messages" in captured.err) is ("2" in arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ls", "--limit", "-1"], "--limit cannot be negative"),
        (["ls", "--queue", "@"], "is no queue name; write campaign:tenant@domain"),
        (["stats", "--limit", "-1"], "--limit cannot be negative"),
        (["cat"], "name one message"),
        (["cat", "x", "--place", "1:2:3"], "name one message"),
        (["cat", "--place", "1:2"], "is no place; write SEGMENT:OFFSET:PART"),
    ],
)
def test_slips_are_told(
    arguments: list[str], words: str, spool: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit status 2, before anything is read."""
    assert spool(*arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("record", LIVE, ids=lambda record: record.queue.domain)
def test_a_message_is_shown_as_it_would_be_sent(
    record: MessageRecord, spool: Command, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """Added header and content, every octet, from a segment, a body file or a copy."""
    assert spool("cat", record.id) == 0
    captured = capfdbinary.readouterr()
    assert captured.out == record.added_header + record.content
    assert captured.err == b""


def test_a_settled_message_is_shown_and_told(
    spool: Command, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """As long as its segment is there."""
    assert spool("cat", GONE.id) == 0
    captured = capfdbinary.readouterr()
    assert captured.out == GONE.added_header + GONE.content
    assert b"not queued any more" in captured.err


def test_a_message_can_be_named_by_its_place(
    spool: Command, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """By the one where it lay before it was copied too."""
    assert spool("ls", "--json", "--limit", "1") == 0
    line = json.loads(capfdbinary.readouterr().out)
    assert line["place"].startswith("2:")
    for place in (line["place"], f"1:{_offset_of(3)}:0"):
        assert spool("cat", "--place", place) == 0
        assert capfdbinary.readouterr().out == MOVED.added_header + MOVED.content


def _offset_of(number: int) -> int:
    """Where the message of this number begins in segment 1."""
    writer = segment(fresh(), 1)
    return [put(writer, record)[0].offset for record in (ANNA, BEN, GONE, MOVED)][number]


def test_an_id_of_another_form_is_found_too(root: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """One that no time can be read from: all frames are looked at."""
    files = fresh()
    writer = segment(files, 1)
    put(writer, ANNA, msgspec.structs.replace(ANNA, id=MessageId("old-style"), added_header=b"X: y\r\n"))
    writer.flush()
    put_on_disk(files, root.parent / "other")
    arguments = ["cat", "old-style", "--spool", str(root.parent / "other")]
    assert app(arguments, result_action="return_value") == 0
    assert capfdbinary.readouterr().out == b"X: y\r\n" + ANNA.content


def test_an_envelope_says_what_became_of_each_recipient(
    spool: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last record about each, whichever segment it is in; with what is known of the message."""
    assert spool("cat", ANNA.id, "--envelope") == 0
    shown = json.loads(capsys.readouterr().out)
    recipients = shown.pop("recipients")
    assert [
        (item["recipient"], item["state"], item["outcome"], item["num_attempts"]) for item in recipients
    ] == [
        ("u0@a.test", "settled", "Accepted", 1),
        ("u1@a.test", "waiting", "Deferred", 2),
        ("u2@a.test", "settled", "Failed", 2),
    ]
    assert recipients[1]["response"]["content"] == "later\nplease"
    assert recipients[1]["peer_address"] == {"name": "mx.a.test", "addr": "192.0.2.2:25"}
    assert (shown["sender"], shown["is_queued"], shown["size"]) == ("bounces@shop.test", True, ANNA.size)
    assert (shown["place"], shown["segment"]) == ("1:64:0", "segments/00000001-00001eef.segment")
    assert shown["meta"] == ANNA.meta
    assert shown["reception"]["ehlo_domain"] == "c.test" and shown["dsn"]["ret"] == "HDRS"


def test_an_envelope_knows_what_was_before_a_copy(
    spool: Command, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As long as the older segment is there; after that only the state."""
    assert spool("cat", MOVED.id, "--envelope") == 0
    (recipient,) = json.loads(capsys.readouterr().out)["recipients"]
    assert (recipient["state"], recipient["outcome"]) == ("waiting", "Deferred")
    next((root / "segments").glob("00000001-*")).unlink()
    assert spool("cat", MOVED.id, "--envelope") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["recipients"] == [{"recipient": "u0@a.test", "state": "waiting"}]
    assert shown["num_attempts"] == 1


def test_an_envelope_of_what_is_gone_says_so(spool: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Expired, with the reply that the event has; and where a large content is."""
    assert spool("cat", GONE.id, "--envelope") == 0
    captured = capsys.readouterr()
    shown = json.loads(captured.out)
    assert (shown["is_queued"], shown["recipients"][0]["outcome"]) == (False, "Expired")
    assert "not queued any more" in captured.err
    assert spool("cat", DORA.id, "--envelope") == 0
    assert json.loads(capsys.readouterr().out)["body_file"] == "bodies/dora.body"


@pytest.mark.parametrize(
    ("name", "words"),
    [("0" * 32, "no message '00000"), ("x" * 500, "no message 'xxx")],
)
def test_a_message_that_is_not_there_is_told(
    name: str, words: str, spool: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    """With exit status 1, and where to look instead."""
    assert spool("cat", name) == 1
    err = capsys.readouterr().err
    assert words in err and "penstock events tail" in err and len(err) < 400


def test_no_octet_of_a_damaged_message_is_given_out(
    spool: Command, root: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """In a segment, and in a body file."""
    for record, path, offset in (
        (BEN, next((root / "segments").glob("00000001-*")), _offset_of(2) - 20),
        (DORA, root / "bodies" / "dora.body", 1_000_000),
    ):
        octets = bytearray(path.read_bytes())
        octets[offset] ^= 1
        path.write_bytes(octets)
        assert spool("cat", record.id) == 1
        captured = capfdbinary.readouterr()
        assert captured.out == b""
        assert b"checksum" in captured.err
    (root / "bodies" / "dora.body").unlink()
    assert spool("cat", DORA.id) == 1
    assert b"could not be read" in capfdbinary.readouterr().err


def test_an_envelope_that_cannot_be_read_is_listed(
    spool: Command, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the index has is shown, with what is wrong; the others as ever."""
    path = next((root / "segments").glob("00000001-*"))
    octets = bytearray(path.read_bytes())
    octets[64] ^= 1
    path.write_bytes(octets)
    assert spool("ls", "--json") == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["id"] for line in lines] == [MOVED.id, None, BEN.id, CLEO.id, DORA.id]
    assert (lines[1]["fault"], lines[1]["queue"]) == ("no frame begins here", "spring:shop@a.test")
    assert spool("ls") == 0
    assert "(1:64:0)" in capsys.readouterr().out


def test_a_list_follows_messages_that_are_moved_meanwhile(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server copies one out of the oldest segment and delivers another, then removes it, between the look and the reading."""
    looks = []

    def look_then_reclaim(files: ReadOnlyFiles, *arguments: Any) -> Any:
        view = look(files, *arguments)
        looks.append(view)
        if len(looks) == 1:
            _reclaim(root)
        return view

    monkeypatch.setattr(spool_list, "look", look_then_reclaim)
    assert app(["ls", "--json", "--spool", str(root)], result_action="return_value") == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [line["id"] for line in lines] == [MOVED.id, ANNA.id, CLEO.id, DORA.id]
    assert lines[1]["place"].startswith("3:")
    assert "1 messages left the spool" in captured.err
    assert len(looks) > 1


def _reclaim(root: Path) -> None:
    files = fresh()
    three = segment(files, 3)
    add(three, encode_copy([ANNA], [State(Place(1, 64, 0), (1,), 2, NOW)]))
    three.flush()
    (root / three.path).write_bytes(files.octets[three.path])
    next((root / "segments").glob("00000001-*")).unlink()


def test_check_is_quiet_about_a_whole_spool(spool: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit status 0, and one line that says what was read."""
    assert spool("check") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("Nothing is damaged. 2 segments and 1 body files were read, ")
    assert line.endswith("; 5 messages are queued.")


def test_check_tells_damage_first(spool: Command, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """File, offset, what it is, what it means for mail, what to do; exit status 1."""
    (root / "bodies" / "dora.body").unlink()
    (root / "a\x1b[2Jnote").touch()
    assert spool("check") == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "damage: bodies/dora.body: the file is missing"
    assert lines[1] == "    for mail: 1 queued messages cannot be sent"
    assert lines[2].startswith("    to do: look into the kernel's log")
    assert lines[3] == "note: a?[2Jnote: it is no file of a spool"
    assert lines[-1].startswith("1 findings of damage. ")
    assert spool("check", "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert [item["kind"] for item in found["findings"]] == ["foreign-file", "missing-body"]
    assert set(found["findings"][0]) == set(Finding.__struct_fields__)


def test_check_says_when_it_could_not_read_everything(
    spool: Command, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, with what could be found."""
    (root / "bodies" / "dora.body").unlink()
    (root / "bodies" / "dora.body").symlink_to("/etc/hostname")
    assert spool("check") == 2
    assert "Not everything could be read." in capsys.readouterr().out


@pytest.mark.parametrize(("name", "status"), [("ls", 1), ("stats", 1), ("check", 2)])
def test_what_is_no_spool_is_told(
    name: str, status: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A directory that is missing or empty, a newer format: what is wrong and what to do; nothing is made."""
    missing = tmp_path / "missing"
    assert app([name, "--spool", str(missing)], result_action="return_value") == status
    assert "no such file or directory" in capsys.readouterr().err
    assert not missing.exists()
    missing.mkdir()
    assert app([name, "--spool", str(missing)], result_action="return_value") == status
    assert "holds no spool" in capsys.readouterr().err
    files = fresh()
    identity = Identity(1, 5)
    files.create(segment_path(identity)).write([SegmentHeader(identity, WallTime(1.0), 9).to_bytes()], 0)
    put_on_disk(files, tmp_path / "newer")
    assert app([name, "--spool", str(tmp_path / "newer")], result_action="return_value") == status
    assert "has format 9" in capsys.readouterr().err


def test_a_spool_of_another_user_is_told(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose it is, and as whom to come again. As nobody where the tests are root's."""
    monkeypatch.chdir(root.parent)
    is_root = os.getuid() == 0
    root.chmod(0o700 if is_root else 0)
    if is_root:
        os.seteuid(65534)
    try:
        status = app(["ls", "--spool", "spool"], result_action="return_value")
    finally:
        if is_root:
            os.seteuid(0)
        root.chmod(0o700)
    assert status == 1
    err = capsys.readouterr().err
    assert (
        f"permission denied (EACCES); run this as {user_name(os.getuid())}, whose the spool is, or as root"
        in err
    )


def test_stats_show_shares_and_the_disk(spool: Command, capsys: pytest.CaptureFixture[str]) -> None:
    """By tenant, campaign and domain, the largest first; segments with their live share; body files."""
    assert spool("stats") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("5 messages in 5 queues, 5 recipients waiting, 1 MiB, the oldest ")
    rows = [line.split() for line in lines]
    assert ["shop", "3", "3", "99", "B"] in [row[:5] for row in rows]
    assert ["(no", "tenant)", "1", "1"] in [row[:4] for row in rows]
    assert ["spring:bank", "1", "1", "1", "MiB"] in [row[:5] for row in rows]
    assert any(row[:1] == ["segments/00000002-00003dde.segment"] and row[-1] == "open" for row in rows)
    assert "1 body files with 1 MiB" in lines[-1]


def test_stats_can_be_json_and_short(spool: Command, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The rest is summed up."""
    assert spool("stats", "--json", "--limit", "1") == 0
    found = json.loads(capsys.readouterr().out)
    octets = sum(item.size for item in LIVE)
    assert (found["total"]["messages"], found["total"]["octets"], found["queues"]) == (5, octets, 5)
    assert found["total"]["oldest_time"] == "2023-11-14T22:13:20.000000Z"
    (shown,) = found["tenants"]["shown"]
    assert (shown["name"], shown["messages"]) == ("shop", 3)
    assert (found["tenants"]["others"], found["tenants"]["rest"]["messages"]) == (2, 2)
    assert found["body_octets"] == len(DORA.content)
    sizes = [path.stat().st_size for path in (root / "segments").iterdir()]
    assert found["disk_octets"] == sum(sizes) + len(DORA.content)
    assert found["amplification"] == found["disk_octets"] / octets
    first, second = found["segments"]
    assert 0 < first["live_octets"] < first["used_octets"] < first["octets"]
    assert (first["is_sealed"], second["is_sealed"], second["messages"]) == (True, False, 3)


def test_an_empty_spool_has_nothing_to_show(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No table without a row, and no division by nothing."""
    put_on_disk(fresh(), tmp_path / "spool")
    assert app(["stats", "--spool", str(tmp_path / "spool")], result_action="return_value") == 0
    assert capsys.readouterr().out.splitlines() == [
        "0 messages in 0 queues, 0 recipients waiting, 0 B",
        "On disk: 0 B: 0 segments with 0 B, 0 body files with 0 B",
    ]
    assert app(["ls", "--json", "--spool", str(tmp_path / "spool")], result_action="return_value") == 0
    assert capsys.readouterr().out == ""


def test_a_reader_that_has_seen_enough_ends_the_command(root: Path) -> None:
    """As in ``penstock spool ls | head -1``: no traceback, and nothing on stderr."""
    reading, writing = os.pipe()
    os.close(reading)
    ran = subprocess.run(
        [sys.executable, "-m", "penstock", "spool", "ls", "--spool", str(root)],
        stdout=writing, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    os.close(writing)
    assert (ran.returncode, ran.stderr) == (0, b"")


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_shown_after_a_while() -> None:
    """Not of short work; on a terminal in one line that is cleared at the end, in a file now and then."""
    for file, expected in (
        (
            Terminal(),
            "\r\x1b[Ks: 1 of 9 segments\r\x1b[Kb: 2 KiB of 4 KiB\r\x1b[K2000 messages looked at\r\x1b[K",
        ),
        (io.StringIO(), "s: 1 of 9 segments\n"),
    ):
        times = iter([0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
        progress = Progress(file, times.__next__)
        progress.segments("s", 0, 9)
        progress.segments("s", 1, 9)
        progress.octets("b", 2048, 4096)
        progress.frames(999)
        progress.frames(1001)
        progress.close()
        progress.close()
        assert file.getvalue() == expected


def test_quantities_are_for_people() -> None:
    """In the two largest units, and in one; a time that no calendar has is none."""
    assert [shown_span(item) for item in (-5, 0, 61, 90_000.5)] == ["0s", "0s", "1m 1s", "1d 1h"]
    assert [shown_size(item) for item in (0, 1023, 2048, 5 << 20, 3 << 30)] == [
        "0 B",
        "1023 B",
        "2 KiB",
        "5 MiB",
        "3.0 GiB",
    ]
    assert rfc3339(0.5) == "1970-01-01T00:00:00.500000Z"
    assert [rfc3339(item) for item in (float("inf"), float("nan"), 1e300)] == [None, None, None]


def test_the_null_reverse_path_is_an_empty_sender(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And more recipients than a line should hold are counted."""
    files = fresh()
    writer = segment(files, 1)
    put(writer, msgspec.structs.replace(message(9, QueueName("a.test"), 7), reverse_path=None))
    put(
        writer,
        msgspec.structs.replace(message(8, QueueName("b.test")), reverse_path=Address("x\x1b[2J", "a")),
    )
    writer.flush()
    put_on_disk(files, tmp_path / "spool")
    assert app(["ls", "--spool", str(tmp_path / "spool")], result_action="return_value") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "<>  u0@a.test, u1@a.test, u2@a.test, u3@a.test, u4@a.test and 2 more" in lines[2]
    assert "<x?[2J@a>" in lines[1]


def test_every_kind_of_finding_is_documented() -> None:
    """docs/spool.md has a row for each that there can be, and no other; and it names every command and option."""
    page = (Path(__file__).parents[2] / "docs" / "spool.md").read_text()
    section = page.partition("## What check finds")[2]
    rows = re.findall(r"^\| `([a-z-]+)` \|", section, re.MULTILINE)
    tree = ast.parse(Path(findings.__file__).read_text())
    calls = [
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Finding"
    ]
    first = [node for call in calls for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
    assert sorted(rows) == sorted({str(node.value) for node in first})
    for name in ("ls", "cat", "check", "stats"):
        assert f"penstock spool {name}" in page
    for option in (
        "--spool",
        "--queue",
        "--tenant",
        "--campaign",
        "--domain",
        "--limit",
        "--json",
        "--envelope",
        "--place",
    ):
        assert f"`{option}" in page


def test_selection_of_nothing_is_everything() -> None:
    """But not what has no name any more."""
    selection = Selection.of((), (), (), ())
    assert selection.is_wanted(QueueName("a"))
    assert not selection.is_wanted(None)


def test_a_message_that_is_moved_meanwhile_is_found_again(
    root: Path, capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server copies it forward and removes its segment between the look and the reading."""
    looks = []

    def look_then_reclaim(files: ReadOnlyFiles, *arguments: Any) -> Any:
        view = look(files, *arguments)
        looks.append(view)
        if len(looks) == 1:
            _reclaim(root)
        return view

    monkeypatch.setattr(spool_message, "look", look_then_reclaim)
    assert app(["cat", ANNA.id, "--spool", str(root)], result_action="return_value") == 0
    assert capfdbinary.readouterr().out == ANNA.added_header + ANNA.content
    assert len(looks) == 2


def test_a_settled_recipient_stays_settled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a later record says of it, as one that was written again."""
    files = fresh()
    writer = segment(files, 1)
    (place,) = put(writer, ANNA)
    for attempts, verdict in ((1, Verdict.ACCEPTED), (2, Verdict.DEFERRED)):
        add(writer, encode_attempt(samples.attempt(ANNA, attempts, (0, verdict), due=NOW), place))
    writer.flush()
    put_on_disk(files, tmp_path / "spool")
    arguments = ["cat", ANNA.id, "--envelope", "--spool", str(tmp_path / "spool")]
    assert app(arguments, result_action="return_value") == 0
    first = json.loads(capsys.readouterr().out)["recipients"][0]
    assert (first["state"], first["outcome"], first["num_attempts"]) == ("settled", "Accepted", 1)


def test_what_is_held_is_shown_as_held(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the list instead of a due time, with the lane that it came from; in the envelope, and among the figures."""
    files = fresh()
    writer = segment(files, 1)
    held, gone = message(1, QueueName("a.test")), message(2, QueueName("a.test"))
    state = State(NOWHERE, (0,), 0, None, 0.0, Move("3", MessageId("7" * 32), 0))
    add(writer, encode_copy([held], [state]))
    (place,) = put(writer, gone)
    record = MovedRecord(gone.queue, WallTime(NOW), Move("1", MessageId("8" * 32), 0), 1, is_in=False)
    add(writer, encode_forget(record, place, 0, (0,), LogPosition(0, 0)))
    writer.flush()
    put_on_disk(files, tmp_path / "spool")
    spool = ["--spool", str(tmp_path / "spool")]
    assert app(["ls", *spool], result_action="return_value") == 0
    assert re.search(rf"^{held.id} .* held .*<bounces@shop.test>", capsys.readouterr().out, re.MULTILINE)
    assert app(["ls", "--json", *spool], result_action="return_value") == 0
    line = json.loads(capsys.readouterr().out)
    assert (line["is_held"], line["held_from"]) == (True, "3")
    assert app(["cat", "--envelope", held.id, *spool], result_action="return_value") == 0
    assert json.loads(capsys.readouterr().out)["held_from"] == "3"
    assert app(["cat", "--envelope", gone.id, *spool], result_action="return_value") == 0
    (recipient,) = json.loads(capsys.readouterr().out)["recipients"]
    assert (recipient["state"], recipient["outcome"], recipient["lane"]) == ("settled", "Moved", "1")
    assert app(["stats", *spool], result_action="return_value") == 0
    assert "1 of them are held" in capsys.readouterr().out
    assert app(["check", *spool], result_action="return_value") == 0


def test_what_orders_did_is_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A message is listed in the queue that it was put into; those that were taken out are told, by which action and with which reply."""
    files = fresh()
    writer = segment(files, 1)
    sent = msgspec.structs.replace(samples.message(7, recipients=3), schedule=samples.SCHEDULE)
    (place,) = put(writer, sent)
    add(writer, encode_rebind(samples.rebind(sent), place))
    add(writer, encode_removal(samples.removal(sent, 0), place, samples.OTHER))
    add(writer, encode_removal(samples.removal(sent, 1, order=samples.DELETE), place, samples.OTHER))
    writer.flush()
    put_on_disk(files, tmp_path / "spool")
    spool = ["--spool", str(tmp_path / "spool")]
    for tenant, count in (("other", 1), ("shop", 0)):
        assert app(["ls", "--json", "--tenant", tenant, *spool], result_action="return_value") == 0
        assert len(capsys.readouterr().out.splitlines()) == count
    assert app(["cat", "--envelope", sent.id, *spool], result_action="return_value") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["queue"], shown["tenant"], shown["schedule"]["window"]["zone"]) == (
        "other@a.test",
        "other",
        "Europe/Vienna",
    )
    outcomes = [(item["state"], item.get("outcome")) for item in shown["recipients"]]
    assert outcomes == [("settled", "Bounced"), ("settled", "Deleted"), ("waiting", None)]
    assert shown["recipients"][0]["response"]["code"] == 551
    assert app(["check", *spool], result_action="return_value") == 0
