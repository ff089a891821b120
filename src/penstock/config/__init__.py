"""Reads configuration files into checked records, and reports every problem at once.

``load`` reads ``penstock.toml`` and the files it lists, each exactly once, and gives a ``Configuration`` of ``penstock.mail`` or raises
``ConfigError`` with all that is wrong, each problem with file, key, what is wrong and what would be right. ``load_whole`` also gives the octets
that were read: they are what an epoch is. Nothing here writes, listens or asks the network.

How it fits together, and where to add an option:

- ``root_file``, ``queues_file``, ``shaping_file``: what may be in each file, as declarations (``schema``): a key, its kind, the field it fills.
  A new option is a line there, a field in ``penstock.mail.configuration``, and a row in ``docs/configuration.md``.
- ``numbers``, ``texts``, ``hosts``, ``kinds``: what values look like; functions from a TOML value to ours that raise ``Refused``.
- ``disk`` reads octets, ``syntax`` makes TOML of them, ``reading`` holds TOML against a schema, and the result is a ``tree``: it knows where each
  value came from.
- ``checks`` is for what only shows across tables and files; ``assembly`` makes the records; ``loading`` calls them all in order.
- ``find`` and ``data_dir`` answer what a command asks around it: which file, and can the server live there.

Unsupported is never ignored: a key that Penstock will know, or KumoMTA's files know, is refused by name.
"""

from penstock.config.data_dir import check_data_dir
from penstock.config.find import find_config
from penstock.config.loading import Examined, Loaded, examine, load, load_whole

__all__ = ["Examined", "Loaded", "check_data_dir", "examine", "find_config", "load", "load_whole"]
