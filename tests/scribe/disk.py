"""The files of an event log on a disk that can lose power after any operation, refuse to write, or fail to sync."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from pathlib import Path

from penstock.events.files import SystemFiles


class PowerCut(BaseException):
    """The power is gone, or the process is killed, at this operation."""


class LosingFiles(SystemFiles):
    """The system's files, without the system's syncs: what was not synced is lost by ``lose``.

    ``cut_at``: the operation, counted from 0, in which a PowerCut is raised, half of it done. ``broken`` is what every write answers, ``failing``
    what every sync does, as errnos; ``room`` are the octets left, None for enough.
    """

    def __init__(self, cut_at: int | None = None) -> None:
        self.operations = 0
        self.cut_at = cut_at
        self.broken: int | None = None
        self.failing: int | None = None
        self.room: int | None = None
        self.saving: int | None = None
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, int] = {}
        self._unnamed: set[Path] = set()
        #: names that something else had before, until the directory is synced
        self._renamed: dict[Path, bytes | None] = {}

    def _step(self, half: Callable[[], object] = lambda: None) -> None:
        self.operations += 1
        if self.operations - 1 == self.cut_at:
            half()
            raise PowerCut

    def create(self, path: Path) -> int:
        """A new file, whose name is not on stable storage yet."""
        self._step()
        if path.name == "checkpoint.new" and self.saving is not None:
            raise OSError(self.saving, os.strerror(self.saving))
        descriptor = super().create(path)
        self._paths[descriptor] = path
        self._synced[path] = 0
        self._unnamed.add(path)
        return descriptor

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write what there is room for."""
        self._step(lambda: os.write(descriptor, data[: len(data) // 2]))
        if self.broken is not None:
            raise OSError(self.broken, os.strerror(self.broken))
        if self.room is not None:
            if self.room == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            data = data[: self.room]
            self.room -= len(data)
        return super().write(descriptor, data)

    def truncate(self, descriptor: int, size: int) -> None:
        """Cut the file; that is on stable storage at once."""
        self._step()
        super().truncate(descriptor, size)
        path = self._paths[descriptor]
        self._synced[path] = min(self._synced[path], size)

    def sync(self, descriptor: int) -> None:
        """What was written before is safe from now on."""
        self._step()
        if self.failing is not None:
            raise OSError(self.failing, os.strerror(self.failing))
        self._synced[self._paths[descriptor]] = os.fstat(descriptor).st_size

    def sync_old(self, path: Path) -> None:
        """So is this file."""
        self._step()
        self._synced[path] = path.stat().st_size

    def sync_directory(self, directory: Path) -> None:
        """So are these names."""
        self._step()
        self._unnamed = {path for path in self._unnamed if path.parent != directory}
        self._renamed = {path: old for path, old in self._renamed.items() if path.parent != directory}

    def rename(self, old: Path, new: Path) -> None:
        """Another name, not on stable storage yet."""
        self._step()
        self._renamed.setdefault(new, new.read_bytes() if new.exists() else None)
        super().rename(old, new)
        self._synced[new] = self._synced.pop(old)
        self._unnamed.discard(old)

    def remove(self, path: Path) -> None:
        """A name less."""
        self._step()
        super().remove(path)

    def next_run(self, *, power: random.Random | None, cut_at: int | None = None) -> LosingFiles:
        """The disk as the next process finds it: after a kill nothing is lost, after a power cut what chance takes of what was not synced."""
        for descriptor in self._paths:
            self.close(descriptor)
        after = LosingFiles(cut_at)
        if power is None:
            after._synced, after._unnamed, after._renamed = self._synced, self._unnamed, self._renamed
            return after
        for path, old in self._renamed.items():
            if power.random() < 0.5:
                if old is None:
                    path.unlink(missing_ok=True)
                else:
                    path.write_bytes(old)
                    self._synced[path] = len(old)
        for path, synced in self._synced.items():
            if path.exists():
                self._lose(path, synced, power)
        return after

    def _lose(self, path: Path, synced: int, chance: random.Random) -> None:
        if path in self._unnamed and chance.random() < 0.5:
            path.unlink()
            return
        content = bytearray(path.read_bytes())
        if len(content) > synced:
            del content[chance.randint(synced, len(content)) :]
            if chance.random() < 0.5 and len(content) > synced:
                begin = chance.randint(synced, len(content))
                end = chance.randint(begin, len(content))
                content[begin:end] = bytes(end - begin)
            path.chmod(0o600)
            path.write_bytes(content)
