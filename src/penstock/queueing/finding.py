"""The row of a message whose position in the spool is known: looked for among all rows, in steps.

No map of positions is kept, which a million messages would pay for all the time; a look through all of them takes a few hundredths of a second.
"""

from __future__ import annotations

from penstock.queueing.rows import FREE, Rows


class Finding:
    """A row being looked for. ``step`` until it says that there is no more to do; then ``row`` is the message's, None if it is not queued.

    A row is good until the next call of the scheduler.
    """

    __slots__ = ("_at", "_position", "_rows", "row")

    def __init__(self, rows: Rows, position: int) -> None:
        self._rows = rows
        self._position = position
        self._at = 0
        self.row: int | None = None

    def step(self, budget: int = 20_000) -> bool:
        """Look at ``budget`` rows; whether there are more to look at. 20,000 take about a third of a millisecond."""
        positions, state = self._rows.position, self._rows.state
        end = min(self._at + budget, len(positions))
        while self._at < end:
            try:
                row = positions.index(self._position, self._at, end)
            except ValueError:
                break
            if state[row] != FREE:
                self.row = row
                return False
            self._at = row + 1
        self._at = end
        return end < len(positions)
