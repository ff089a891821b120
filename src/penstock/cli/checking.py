"""``penstock check``, and what it shares with ``serve``: every problem of a configuration at once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cyclopts import Parameter

from penstock import policy
from penstock.cli.outlook import outlook
from penstock.config import Examined, Loaded, check_data_dir, examine, find_config
from penstock.config.disk import read_file
from penstock.config.refusal import Refused
from penstock.mail.configuration import Configuration, Endpoint
from penstock.mail.problem import ConfigError, Problem
from penstock.net.addresses import check_addresses
from penstock.net.clock import SystemClock
from penstock.net.tls import check_authorities, check_certificates

#: Below what fits into one frame of a bus.
_EPOCH_LIMIT: Final = 15 * 1024 * 1024


class Prepared(msgspec.Struct, frozen=True):
    """A configuration that can be used, and its policy, loaded; None if it has none."""

    configuration: Configuration
    policy: policy.Policy | None


def checked(path: Path, epoch: int = 1) -> Configuration:
    """As ``prepared``, the configuration alone."""
    return prepared(path, epoch).configuration


def prepared(path: Path, epoch: int = 1) -> Prepared:
    """The configuration of a file, with everything in it that can be checked without taking anything; ConfigError otherwise."""
    loaded: policy.Policy | None = None
    examined = examine(path)
    problems = _problems(path, examined)
    if examined.outline.policy is not None:
        try:
            loaded = policy.load(examined.outline.policy, named_by="node.policy")
        except ConfigError as error:
            problems += error.problems
    if problems or examined.loaded is None:
        raise ConfigError(problems)
    return Prepared(msgspec.structs.replace(examined.loaded.configuration, epoch=epoch), loaded)


def read_epoch(path: Path) -> Loaded:
    """As ``prepared``, with the octets of all files, those of the policy too, which is not run: whoever goes by the epoch does that."""
    examined = examine(path)
    problems = _problems(path, examined)
    files = dict(examined.loaded.files) if examined.loaded is not None else {}
    name = examined.outline.policy
    if name is not None:
        try:
            files[name] = read_file(Path(name))
        except Refused as error:
            problems += [
                Problem(name, "", fault.what, fault.hint or "node.policy names it") for fault in error.faults
            ]
    size = sum(map(len, files.values()))
    if size > _EPOCH_LIMIT:
        what = f"all files together have {size} octets"
        problems.append(Problem(str(path), "", what, f"a configuration has at most {_EPOCH_LIMIT >> 20} MiB"))
    if problems or examined.loaded is None:
        raise ConfigError(problems)
    return Loaded(examined.loaded.configuration, files)


def _problems(path: Path, examined: Examined) -> list[Problem]:
    """Those of the files, and of what they touch of this host, but for the policy."""
    outline = examined.outline
    problems: list[Problem] = list(examined.problems)
    if outline.data_dir is not None:
        problems += check_data_dir(outline.data_dir, path)
    problems += check_addresses(outline.listen, str(path))
    problems += check_certificates(outline.tls_files, str(path), SystemClock().wall())
    if outline.tls_ca_file is not None or _verifies(examined):
        problems += check_authorities(outline.tls_ca_file, str(path))
    return problems


def _verifies(examined: Examined) -> bool:
    """Whether other hosts' certificates are going to be verified."""
    loaded = examined.loaded
    return loaded is not None and loaded.configuration.shaping.default.enable_tls.is_verified


def data_dir_of(path: Path) -> Path:
    """The data directory that a configuration names; ConfigError if it names none rightly.

    Other mistakes are told on stderr and do not stand in the way: a server may run by an earlier, right version of the file.
    """
    examined = examine(path)
    if examined.outline.data_dir is None:
        raise ConfigError(examined.problems)
    for problem in examined.problems:
        print(f"penstock: warning: {problem}", file=sys.stderr)
    return Path(examined.outline.data_dir)


def endpoints(configuration: Configuration) -> Iterator[tuple[Endpoint, str]]:
    """Every address to listen on with its key path, the SMTP listeners' first."""
    smtp = [("smtp", number, item.listen) for number, item in enumerate(configuration.smtp_listeners)]
    http = [("http", number, item.listen) for number, item in enumerate(configuration.http_listeners)]
    for kind, number, listen in smtp + http:
        for place, endpoint in enumerate(listen):
            yield endpoint, f"listener.{kind}[{number}].listen[{place}]"


def complain(error: ConfigError) -> None:
    """Print every problem, one a line, on stderr."""
    for problem in error.problems:
        print(f"penstock: {problem}", file=sys.stderr)
    count = len(error.problems)
    print(f"penstock: {count} problem{'s' if count > 1 else ''} found", file=sys.stderr)


def check(*, config: Annotated[str | None, Parameter(name=["--config", "-c"])] = None) -> int:
    """Say everything that is wrong with the configuration, and how it would be right; start nothing.

    Exit codes: 0 nothing is wrong; 2 something is.

    Parameters
    ----------
    config
        The configuration file. Default: $PENSTOCK_CONFIG, or /etc/penstock/penstock.toml.
    """
    try:
        path = find_config(config, os.environ)
        configuration = checked(path)
    except ConfigError as error:
        complain(error)
        return 2
    listening = ", ".join(str(endpoint) for endpoint, _ in endpoints(configuration))
    tenants = len(configuration.queues.tenants)
    print(f"{path}: no problem found. Listens on {listening}; {tenants} tenant{'s' if tenants != 1 else ''}.")
    for line in outlook(configuration):
        print(line)
    return 0
