"""Whom the server runs as: ``node.user``, once it has what only root can take."""

from __future__ import annotations

import contextlib
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

from penstock.mail.problem import ConfigError, Problem


class User:
    """Who the server is to be. ConfigError if this process cannot become that user; ``root`` is the file that names it."""

    def __init__(self, name: str | None, root: str | Path) -> None:
        self._entry: pwd.struct_passwd | None = None
        if name is None:
            return
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            what = f"there is no user {name} on this host"
            raise ConfigError(
                [Problem(str(root), "node.user", what, f"make it: useradd --system {name}")]
            ) from None
        if entry.pw_uid == os.geteuid():
            return
        if os.geteuid() != 0:
            what = f"only root can become {name}"
            hint = f"start the server as root or as {name}, or leave node.user out"
            raise ConfigError([Problem(str(root), "node.user", what, hint)])
        self._entry = entry

    @contextlib.contextmanager
    def acting(self) -> Iterator[None]:
        """Be that user for a while: what is made belongs to it, and what it may not touch is refused."""
        entry = self._entry
        if entry is None:
            yield
            return
        groups, group, user = os.getgroups(), os.getegid(), os.geteuid()
        os.setgroups(os.getgrouplist(entry.pw_name, entry.pw_gid))
        os.setegid(entry.pw_gid)
        os.seteuid(entry.pw_uid)
        try:
            yield
        finally:
            os.seteuid(user)
            os.setegid(group)
            os.setgroups(groups)

    def become(self) -> None:
        """Be that user from now on, without a way back."""
        entry = self._entry
        if entry is not None:
            os.setgroups(os.getgrouplist(entry.pw_name, entry.pw_gid))
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
            os.environ.update(HOME=entry.pw_dir, USER=entry.pw_name, LOGNAME=entry.pw_name)

    def own(self, directory: Path) -> None:
        """Make a directory for that user, if it is not there. OSError."""
        entry = self._entry
        if entry is None or directory.exists():
            return
        directory.mkdir(mode=0o700, parents=True)
        os.chown(directory, entry.pw_uid, entry.pw_gid)
