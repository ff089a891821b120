"""Why mail does not move, or could: what a gate answers when it is asked.

Gates, in the order in which they are tested: ``expiry``, ``bounce``, ``suspension``, ``schedule`` (the sender's hours), ``retry``, ``options`` (only
while the policy has not said them), ``queue-rate``, ``campaign-rate``, ``tenant-rate``, ``spool``, ``route``, ``source``, ``path``, ``path-rate``,
``connection``, ``lane``.
"""

from __future__ import annotations

import msgspec

from penstock.mail.duration import WallTime


class Reason(msgspec.Struct, frozen=True):
    """One gate's answer. ``text`` is for people, whole: who reads only that knows what there is to know.

    ``value`` is where it stands and ``limit`` where it ends, as the operator writes them, "" where that means nothing. ``until`` is when it opens;
    None with ``is_holding`` is when ``awaits`` happens. ``origin`` is what has set it: a file and key, such as
    ``queues.toml: queue.'gmail.com'.max_age``, or the id of a directive.
    """

    gate: str
    is_holding: bool
    text: str
    value: str = ""
    limit: str = ""
    since: WallTime | None = None
    until: WallTime | None = None
    awaits: str = ""
    origin: str = ""
