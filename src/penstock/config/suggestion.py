"""Near misses: what somebody who wrote an unknown name may have meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

#: Longer names are no slip of the finger, and comparing them is slow.
_LONGEST: Final = 64
#: difflib's ratio: "defualt" and "default" have 0.86, "lisen" and "listen" 0.91, "relay" and "relay_hosts" 0.63.
_CUTOFF: Final = 0.7


def suggest(written: str, names: Iterable[str]) -> str | None:
    """The one of ``names`` that is most like ``written``, capitals and ``-`` for ``_`` forgiven; None if none is near."""
    if len(written) > _LONGEST:
        return None
    folded = {_fold(name): name for name in names}
    near = difflib.get_close_matches(_fold(written), folded, n=1, cutoff=_CUTOFF)
    return folded[near[0]] if near else None


def _fold(name: str) -> str:
    return name.lower().replace("-", "_")
