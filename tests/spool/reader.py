"""A reader of spools written from ``docs/spool-format.md`` alone: it imports nothing of Penstock, and shares no thought with it.

It is slow, reads whole files, and gives plain dictionaries and lists.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any
from zlib import crc32

import msgspec


def unpack(octets: bytes) -> Any:
    """What msgpack says."""
    return msgspec.msgpack.decode(octets)


def seed(number: int, salt: int, offset: int) -> int:
    """What the checksums of a frame begin with."""
    return crc32(struct.pack("<III", number, salt, offset))


def header_of(data: bytes) -> dict[str, Any] | None:
    """A segment's header; None if it is damaged."""
    if len(data) < 64 or data[:8] != b"PENSTOCK" or crc32(data[:60]) != struct.unpack_from("<I", data, 60)[0]:
        return None
    version, _, number, salt, created = struct.unpack_from("<HHIIq", data, 8)
    return {"format": version, "number": number, "salt": salt, "created": created}


def frame_at(data: bytes, number: int, salt: int, offset: int) -> dict[str, Any] | None:
    """The frame at an offset; its payload is None if only its header is right; None if not even that."""
    head = data[offset : offset + 20]
    if len(head) < 20 or head[:2] != b"\xf5\x9e":
        return None
    kind, version, length, synced, check, payload_check = struct.unpack("<BBIIII", head[2:])
    if crc32(head[:12], seed(number, salt, offset)) != check:
        return None
    payload: bytes | None = data[offset + 20 : offset + 20 + length]
    if payload is None or len(payload) != length or crc32(payload, check) != payload_check:
        payload = None
    end = offset + (20 + length + 15) // 16 * 16
    return {
        "type": kind,
        "version": version,
        "offset": offset,
        "end": end,
        "synced": synced,
        "payload": payload,
    }


def frames(data: bytes, number: int, salt: int, limit: int) -> Iterator[dict[str, Any]]:
    """The frames that are right and count, damaged ones left out."""
    offset = 64
    while offset < min(len(data), limit):
        frame = frame_at(data, number, salt, offset)
        if frame is None:
            offset += 16
            continue
        if frame["type"] == 7 or frame["end"] > limit:
            return
        if frame["payload"] is not None:
            yield frame
        offset = frame["end"]


def record_of(frame: dict[str, Any]) -> Any:
    """A frame's payload as plain values."""
    payload = frame["payload"]
    if frame["type"] not in (1, 2, 8):
        return unpack(payload)
    (length,) = struct.unpack_from("<I", payload)
    return [*unpack(payload[4 : 4 + length]), payload[4 + length :]]


def says_older_are_stored(data: bytes, number: int, salt: int, limit: int) -> bool:
    """Whether a frame was written when some of its own segment was on stable storage."""
    return any(frame["synced"] for frame in frames(data, number, salt, limit))


def index_of(data: bytes, number: int, salt: int, limit: int, *, is_sure: bool) -> tuple[Any, int] | None:
    """The index of a sealed segment, and where its SEAL frame is."""
    footer, at = data[-16:], len(data) - 16
    if len(data) < 80 or footer[:4] != b"SEAL":
        return None
    if crc32(footer[:12], seed(number, salt, at)) != struct.unpack_from("<I", footer, 12)[0]:
        return None
    (place,) = struct.unpack_from("<I", footer, 4)
    frame = frame_at(data, number, salt, place)
    if place > limit or frame is None or frame["type"] != 7 or frame["payload"] is None:
        return None
    if not is_sure and frame["synced"] < place:
        return None
    return unpack(frame["payload"]), place


def columns(blobs: list[bytes], formats: str) -> list[tuple[Any, ...]]:
    """Columns of little-endian numbers."""
    return [
        struct.unpack(f"<{len(blob) // struct.calcsize('<' + kind)}{kind}", blob)
        for blob, kind in zip(blobs, formats, strict=True)
    ]


class Spool:
    """A spool's files, by path. ``live``: what waits, by place. ``contents`` and ``records`` by place, of scanned segments alone."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.messages: dict[tuple[int, int, int], dict[str, Any]] = {}
        self.contents: dict[tuple[int, int, int], bytes] = {}
        self.sealed: list[int] = []
        self.copies: dict[Any, Any] = {}
        names = sorted(path for path in files if path.startswith("segments/"))
        segments = []
        for path in names:
            number, salt = (int(part, 16) for part in path[9:26].split("-"))
            header = header_of(files[path])
            if header is None or (header["number"], header["salt"]) == (number, salt):
                segments.append((number, salt, bytes(files[path])))
        limits = self._limits(segments)
        sure: dict[int, bool] = {}
        is_sure = False
        for number, salt, data in reversed(segments):
            sure[number] = is_sure
            is_sure = is_sure or says_older_are_stored(data, number, salt, limits.get(number, 2**32))
        for number, salt, data in segments:
            self._read(number, salt, data, limits.get(number, 2**32), is_sure=sure[number])
        self.live = {place: item for place, item in self.messages.items() if item["waiting"]}

    def _limits(self, segments: list[tuple[int, int, bytes]]) -> dict[int, int]:
        limits: dict[int, int] = {}
        for number, salt, data in reversed(segments):
            for frame in frames(data, number, salt, limits.get(number, 2**32)):
                if frame["type"] != 6:
                    break
                about, offset = unpack(frame["payload"])
                limits[about] = min(offset, limits.get(about, 2**32))
        return limits

    def _read(self, number: int, salt: int, data: bytes, limit: int, *, is_sure: bool) -> None:
        index = index_of(data, number, salt, limit, is_sure=is_sure)
        if index is not None:
            self.sealed.append(number)
            self._apply_index(number, index[0])
            return
        for frame in frames(data, number, salt, limit):
            self._apply(number, frame)

    def _apply(self, number: int, frame: dict[str, Any]) -> None:
        record = record_of(frame)
        if frame["type"] in (1, 2, 8):
            _, messages, _, body, states, content = record
            if body is not None:
                # once no message waits it may be gone
                content = bytes(self.files.get(f"bodies/{body[0]}.body", bytes(body[1])))
                assert len(content) == body[1] and (crc32(content) == body[2] or not any(content))
            for part, message in enumerate(messages):
                place = (number, frame["offset"], part)
                self.contents[place] = message[4] + content
                self.messages[place] = {
                    "queue": message[1],
                    "created": message[5],
                    "size": len(message[4]) + len(content),
                    "waiting": set(range(len(message[3]))),
                    "attempts": 0,
                    "due": None,
                    "held": False,
                    "schedule": message[9] if len(message) > 9 else None,
                }
                if states:
                    replaces, waiting, attempts, due, *more = states[part]
                    self.messages[place]["created"] += more[0] if more else 0.0
                    self.messages[place]["held"] = len(more) > 1 and more[1] is not None
                    self._copied(place, tuple(replaces), set(waiting), attempts, due)
        elif frame["type"] == 3:
            place, _, attempts, _, _, _, outcomes, due, *_ = record
            settled = {item[0] for item in outcomes if item[1] != 1}
            self._change(tuple(place), settled, attempts, due, keep_due=False)
        elif frame["type"] == 10:
            place, _, _, attempts, _, recipients, *_ = record
            self._change(tuple(place), set(recipients), attempts, None, keep_due=True)
        elif frame["type"] == 9:
            place, _, attempts, _, _, recipients, _ = record
            self._change(tuple(place), set(recipients), attempts, None, keep_due=True)
        elif frame["type"] == 11:
            place, _, attempts, _, _, recipients, dropped = record
            self._change(tuple(place), set(recipients if dropped else ()), attempts, None, keep_due=True)
            self._release(tuple(place))
        elif frame["type"] == 4 or frame["type"] == 12:
            place, _, attempts, _, recipients, *_ = record
            self._change(tuple(place), set(recipients), attempts, None, keep_due=True)
        elif frame["type"] == 13:
            place, _, attempts, _, queue, due, *_ = record
            self._change(tuple(place), set(), attempts, due, keep_due=due is None)
            self._rebind(tuple(place), queue)
        elif frame["type"] == 14:
            place, _, attempts, _, due, *_ = record
            self._change(tuple(place), set(), attempts, due, keep_due=False)

    def _change(self, place: Any, settled: set[int], attempts: int, due: Any, *, keep_due: bool) -> None:
        message = self.messages.get(self._now(place))
        if message is None:
            return
        message["waiting"] -= settled
        message["attempts"] = attempts
        if not keep_due:
            message["due"] = due

    def _release(self, place: Any) -> None:
        message = self.messages.get(self._now(place))
        if message is not None:
            message["held"] = False

    def _rebind(self, place: Any, queue: list[Any]) -> None:
        message = self.messages.get(self._now(place))
        if message is not None:
            message["queue"] = queue

    def _copied(self, place: Any, replaces: Any, waiting: set[int], attempts: int, due: Any) -> None:
        message = self.messages[place]
        message.update(attempts=attempts, due=due)
        message["waiting"] &= waiting
        replaces = self._now(replaces)
        old = self.messages.pop(replaces, None)
        if old is not None:
            self.copies[replaces] = place
            message["waiting"] &= old["waiting"]

    def _now(self, place: Any) -> Any:
        while place in self.copies:
            place = self.copies[place]
        return place

    def _apply_index(self, number: int, index: Any) -> None:
        message_columns, arrays, _, copy_columns, change_columns, _, *more = index
        schedules, rebind_columns = more or ([], [b"", b""])
        timed = {row: schedule for array in schedules for row, schedule in array}
        queues = [queue for array in arrays for queue in array]
        copies = [(row, place) for row, *place in zip(*columns(copy_columns[:4], "IIIH"), strict=True)]
        rows = list(zip(*columns(message_columns[:6], "IHdQII"), strict=True))
        places = [(number, row[0], row[1]) for row in rows]
        rebinds = dict(zip(*columns(rebind_columns[:2], "II"), strict=True))
        for row, (place, (_, _, created, size, recipients, queue)) in enumerate(
            zip(places, rows, strict=True)
        ):
            self.messages[place] = {
                "queue": queues[queue],
                "created": created,
                "size": size,
                "waiting": set(range(recipients)),
                "attempts": 0,
                "due": None,
                "held": False,
                "schedule": timed.get(row),
            }
        *fixed, settled = columns(change_columns[:9], "IBIIHIdII")
        replaced = iter(copies)
        begin = 0
        for change, (_, kind, *about, attempts, due, count) in enumerate(zip(*fixed, strict=True)):
            given = set(settled[begin : begin + count])
            begin += count
            due = None if math.isnan(due) else due
            if kind in (2, 8):
                row, replaces = next(replaced)
                self.messages[places[row]]["held"] = kind == 8
                waiting = self.messages[places[row]]["waiting"] - given
                self._copied(places[row], tuple(replaces), waiting, attempts, due)
            else:
                self._change(
                    tuple(about),
                    given,
                    attempts,
                    due,
                    keep_due=kind in (4, 9, 10, 11, 12) or (kind == 13 and due is None),
                )
                if kind == 13:
                    self._rebind(tuple(about), queues[rebinds[change]])
                if kind == 11:
                    self._release(tuple(about))
