"""``docs/spool-format.md`` says what is on the disk: a reader written from it alone finds what recovery finds."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.mail.ports import LogPosition
from penstock.mail.records import MessageRecord, Verdict
from penstock.spool.codec import (
    Body,
    body_of,
    encode_abandon,
    encode_attempt,
    encode_copy,
    encode_expiration,
    encode_forget,
    encode_note,
    encode_release,
    encode_transaction,
)
from penstock.spool.frame import FORMAT, VERSIONS, FrameType, Identity, Place
from penstock.spool.meaning import NOWHERE, Abandoned, State
from penstock.spool.names import body_path, quarantine_path, segment_path
from penstock.spool.orders import encode_flush, encode_rebind, encode_removal
from penstock.spool.recovery import recover
from penstock.spool.segment import SegmentReader
from tests.spool import reader, samples
from tests.spool.writing import add, fresh, live, segment

PAGE = (Path(__file__).parents[2] / "docs" / "spool-format.md").read_text("utf-8")


def test_the_page_names_every_type_and_version() -> None:
    """With its number, and the format's."""
    found = {
        match[2]: (int(match[1]), match[3])
        for match in re.finditer(r"^\| (\d+) \| ([A-Z]+): .* \| ([\d, ]+) \|$", PAGE, re.MULTILINE)
    }
    versions = {number: ", ".join(map(str, range(1, number + 1))) for number in set(VERSIONS.values())}
    assert found == {kind.name: (kind.value, versions[VERSIONS[kind]]) for kind in FrameType}
    assert f"This is format {FORMAT}." in PAGE


def test_the_page_names_every_file() -> None:
    """As they are called."""
    identity = Identity(0xAB, 0xCD)
    for path, pattern in (
        (segment_path(identity), "segments/NNNNNNNN-SSSSSSSS.segment"),
        (body_path("x"), "bodies/NAME.body"),
        (quarantine_path(identity, 64), "quarantine/NNNNNNNN-SSSSSSSS-OOOOOOOO.frame"),
    ):
        assert f"`{pattern}`" in PAGE
        assert re.fullmatch(re.sub("([NSO])\\1{7}", "[0-9a-f]{8}", pattern).replace("NAME", "x"), path)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_a_reader_written_from_the_page_finds_what_recovery_finds(data: st.DataObject) -> None:
    """In spools of all kinds of frames: copied, moved, held, sealed, torn, abandoned, damaged; and every message is as it was written."""
    files = fresh()
    stored: dict[Place, tuple[MessageRecord, Body | None]] = {}
    marks: list[tuple[int, int]] = []
    for number in range(1, data.draw(st.integers(2, 5))):
        writer = segment(files, number)
        if marks and data.draw(st.booleans()):
            add(writer, encode_abandon(Abandoned(*data.draw(st.sampled_from(marks)))))
        for step in range(data.draw(st.integers(0, 6))):
            marks.append((number, writer.end))
            what = data.draw(
                st.sampled_from(
                    [
                        "put",
                        "put",
                        "attempt",
                        "expire",
                        "copy",
                        "copy held",
                        "release",
                        "forget",
                        "note",
                        "remove",
                        "rebind",
                        "flush",
                    ]
                )
            )
            if what == "put" or not stored:
                records = data.draw(samples.transactions())
                body = None
                if data.draw(st.booleans()):
                    body = body_of(f"{number}-{step}", records[0].content)
                    files.create(body_path(body.name)).write([records[0].content], 0)
                offset = writer.append(encode_transaction(records, body))
                stored.update(
                    {Place(number, offset, part): (item, body) for part, item in enumerate(records)}
                )
                continue
            place = data.draw(st.sampled_from(sorted(stored)))
            record, body = stored[place]
            recipient = data.draw(st.integers(0, len(record.recipients)))
            due = data.draw(st.none() | st.floats(0, 1e9))
            if what == "attempt":
                verdict = data.draw(st.sampled_from(Verdict))
                add(writer, encode_attempt(samples.attempt(record, 2, (recipient, verdict), due=due), place))
            elif what == "expire":
                add(writer, encode_expiration(samples.expiration(record, recipient), place))
            elif what == "remove":
                add(writer, encode_removal(samples.removal(record, recipient), place))
            elif what == "rebind":
                queue = data.draw(samples.queues)
                add(writer, encode_rebind(samples.rebind(record, queue, due), place, samples.OTHER))
            elif what == "flush":
                add(writer, encode_flush(samples.flush(record, due or 0.0), place))
            elif what in ("release", "forget"):
                moved = data.draw(samples.moved)
                if what == "release":
                    dropped = data.draw(st.booleans())
                    add(writer, encode_release(moved, place, 3, (recipient,), is_dropped=dropped))
                else:
                    about = data.draw(st.sampled_from([place, NOWHERE]))
                    add(writer, encode_forget(moved, about, 3, (recipient,), LogPosition(1, 64)))
            elif what.startswith("copy"):
                move = data.draw(samples.moves) if what == "copy held" else None
                replaces = NOWHERE if move is not None and data.draw(st.booleans()) else place
                state = State(replaces, (recipient,), 3, due, 0.0, move)
                offset = writer.append(encode_copy([record], [state], body))
                stored[Place(number, offset, 0)] = (record, body)
            else:
                add(writer, encode_note(samples.REJECTION))
        writer.flush()
        if data.draw(st.booleans()):
            writer.mark_synced(writer.end)
            if data.draw(st.booleans()):
                add(writer, encode_note(samples.REJECTION))
        if data.draw(st.booleans()):
            writer.seal()
        elif writer.end > 64 and data.draw(st.booleans()):
            files.octets[writer.path][data.draw(st.integers(64, writer.end - 1))] ^= 0x55
    theirs = reader.Spool({path: bytes(octets) for path, octets in files.octets.items()})
    recovered = recover(files)
    assert live(recovered) == theirs.live
    assert theirs.sealed == [
        item.identity.number for item in recovered.segments if item.index is None and item.size
    ]
    segments = {item.identity.number: item for item in recovered.segments}
    for row in recovered.queued:
        place = recovered.queued.place(row)
        item = segments[place.segment]
        transaction = SegmentReader(files.open(item.path), item.identity, item.path).transaction(place.offset)
        expected, _ = stored[place]
        assert transaction.message(place.part, expected.content) == expected
        if place in theirs.contents:
            assert theirs.contents[place] == expected.added_header + expected.content
