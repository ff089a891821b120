"""Which file the configuration is: the one given by option, by the environment, or the usual one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from penstock.mail.problem import ConfigError, Problem

VARIABLE: Final = "PENSTOCK_CONFIG"
USUAL: Final = Path("/etc/penstock/penstock.toml")


def find_config(explicit: str | None, environ: Mapping[str, str], usual: Path = USUAL) -> Path:
    """The path of the root file: ``explicit`` (``-c``), else ``$PENSTOCK_CONFIG``, else ``usual`` if it is there; ConfigError if there is none.

    A file that was named is not looked at here: reading it will say what is wrong with it.
    """
    named = explicit or environ.get(VARIABLE)
    if named:
        return Path(named)
    try:
        exists = usual.exists()
    except OSError:  # a directory that may not be searched: reading will say so
        exists = True
    if exists:
        return usual
    hint = f"name a configuration with -c FILE or in ${VARIABLE}, or write {usual}"
    raise ConfigError([Problem(str(usual), "", "does not exist, and no other configuration was named", hint)])
