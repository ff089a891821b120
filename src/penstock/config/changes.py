"""What of a configuration cannot change while the server runs."""

from __future__ import annotations

from pathlib import Path

from penstock.mail.configuration import Configuration
from penstock.mail.problem import Problem

_HINT = "restart the server for this change"


def unchangeable(old: Configuration, new: Configuration, root: str | Path) -> list[Problem]:
    """What differs between two configurations and cannot take effect without a restart; ``root`` is the file that says it."""
    problems = [
        Problem(str(root), key, "cannot change while the server runs", _HINT)
        for key, before, after in (
            ("node.hostname", old.node.hostname, new.node.hostname),
            ("node.data_dir", old.node.data_dir, new.node.data_dir),
            ("node.workers", old.node.workers, new.node.workers),
            ("node.user", old.node.user, new.node.user),
            ("node.memory_limit", old.node.memory_limit, new.node.memory_limit),
            ("listener.http", old.http_listeners, new.http_listeners),
            ("spool.durability", old.spool.durability, new.spool.durability),
            ("events", old.events, new.events),
            ("lane", old.lanes, new.lanes),
        )
        if before != after
    ]
    if [item.listen for item in old.smtp_listeners] != [item.listen for item in new.smtp_listeners]:
        what = "addresses cannot change while the server runs"
        problems.append(Problem(str(root), "listener.smtp.listen", what, _HINT))
    return problems


def unchangeable_by_upgrade(
    data_dir: str, user: str | None, new: Configuration, root: str | Path
) -> list[Problem]:
    """What cannot even be changed by an upgrade, in which the server keeps its mail, its control socket and its user."""
    return [
        Problem(str(root), key, "cannot change by an upgrade", _HINT)
        for key, before, after in (
            ("node.data_dir", data_dir, new.node.data_dir),
            ("node.user", user, new.node.user),
        )
        if before != after
    ]
