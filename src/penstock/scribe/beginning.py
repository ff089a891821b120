"""What a start finds: how far an earlier scribe came, by its checkpoint, and which later events are written all the same."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from penstock.events import checkpoint
from penstock.events.checkpoint import Checkpoint, CheckpointError, LanePlace, Mark
from penstock.events.log import EventLog
from penstock.events.survey import Survey
from penstock.events.totals import Totals
from penstock.scribe.writing import NOTHING, Known, fingerprint, unpacked

LOG = logging.getLogger(__name__)


class Beginning:
    """Reads the checkpoint of a log that is open. ``lanes`` are the names of those that have a spool; others are forgotten.

    ``places`` are those of the checkpoint, None if there is none; ``mark`` is where the events may be that it does not tell of. After
    ``steps``, ``known`` are those events, ``is_partial`` whether there may be more, and ``totals`` what all events add up to.
    """

    def __init__(self, log: EventLog, lanes: Iterable[str], id_limit: int) -> None:
        self._log = log
        self._id_limit = id_limit
        found: Checkpoint | None = None
        try:
            found = checkpoint.load(log.files, log.directory)
        except CheckpointError as error:
            LOG.warning(
                "the checkpoint of the event log cannot be used: %s; all spools are read from their beginning",
                error,
            )
        there = set(lanes)
        self.places: dict[str, LanePlace] | None = None
        self.mark: Mark | None = None
        self._from_checkpoint: Known = NOTHING
        if found is not None:
            self.places = {name: place for name, place in found.lanes.items() if name in there}
            self.mark = found.mark
            self._from_checkpoint = unpacked(found.known)
        self.known: Known = NOTHING
        self.is_partial = False
        self.totals = Totals()

    def sync(self) -> None:
        """A process that was killed has not synced its last lines, and the next checkpoint relies on them. Blocks. OSError."""
        files, directory = self._log.files, self._log.directory
        for path in self._new_survey().old_files():
            files.sync_old(path)
        files.sync_directory(directory)

    def steps(self) -> Iterator[None]:
        """Look what is there, some hundred lines with each step. OSError: it may be tried again."""
        survey = self._new_survey()
        yield from survey.steps()
        self.known = frozenset([fingerprint(event_id) for event_id in survey.ids]) | self._from_checkpoint
        self.is_partial = survey.is_partial
        self.totals = survey.totals

    def _new_survey(self) -> Survey:
        return Survey(self._log.directory, self.mark, self._id_limit)
