"""Records about messages that are not where they say.

Most are as they should be: the message was settled, and its segment has gone from the old end of the log. But nothing goes from the middle.
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.spool.inspection import findings
from penstock.spool.inspection.findings import Finding
from penstock.spool.inspection.read_only import Tree
from penstock.spool.inspection.view import Miss, View, look


def settle_doubts(tree: Tree, view: View) -> Iterator[Finding]:
    """Segments and messages that should be there; looks a second time if there seem to be any, for the spool may have moved on. As ``look``."""
    doubtful = [number for number in view.misses if _is_doubtful(view, number)]
    if not doubtful:
        return
    again = look(tree)
    paths = {segment.identity.number: segment.path for segment in again.segments}
    for number in doubtful:
        if number not in again.misses or not _is_doubtful(again, number):
            continue
        miss = next(_suspects(again, number))
        count = again.missed[number]
        if number in paths:
            yield findings.missing_message(
                paths[miss.segment], miss.offset, miss.place, is_copy=miss.is_copy, others=count - 1
            )
        else:
            yield findings.missing_segment(number, count, paths[miss.segment])


def _is_doubtful(view: View, number: int) -> bool:
    """Whether a segment that is named should have the messages: it is not gone from the old end of the log, nor known to be damaged."""
    oldest = min((segment.identity.number for segment in view.segments), default=0)
    if number < oldest or number in view.gone or next(_suspects(view, number), None) is None:
        return False
    seen = view.segment(number)
    if seen is not None:
        return not seen.damages
    return not any(_number_of(path) == number for path, _ in (*view.unusable, *view.renamed))


def _suspects(view: View, number: int) -> Iterator[Miss]:
    """The records about messages that should be in a segment: those before where it was abandoned."""
    limit = view.limits.get(number)
    return (miss for miss in view.misses[number] if limit is None or miss.place.offset < limit)


def _number_of(path: str) -> int:
    return int(path.rpartition("/")[2][:8], 16)
