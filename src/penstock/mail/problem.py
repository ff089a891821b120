"""What is wrong with a configuration, in words that say where and what would be right."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One thing wrong: the file, the key's path in it (``""`` if it is the file itself), what is wrong, and what would be right."""

    file: str
    key: str
    what: str
    hint: str

    def __str__(self) -> str:
        where = f"{self.file}: {self.key}" if self.key else self.file
        return f"{where}: {self.what}; {self.hint}" if self.hint else f"{where}: {self.what}"


class ConfigError(Exception):
    """A configuration that cannot be used, with every problem that was found. Nothing of it has taken effect."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
