"""Loads a configuration: every file read once, every problem found, and then records or an exception, nothing in between."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import msgspec

from penstock.config import checks, syntax
from penstock.config.assembly import absolute, assemble
from penstock.config.disk import read_file
from penstock.config.queues_file import QUEUES_FILE
from penstock.config.reading import Reading, empty
from penstock.config.refusal import Refused
from penstock.config.root_file import DATA_DIR, ROOT_FILE
from penstock.config.schema import Table
from penstock.config.shaping_file import SHAPING_FILE
from penstock.config.tree import Place, Tree
from penstock.mail.configuration import Configuration, Endpoint
from penstock.mail.problem import ConfigError, Problem
from penstock.mail.tls import TlsFiles

#: The octets of a file, or ``Refused``.
Read = Callable[[Path], bytes]


class Loaded(msgspec.Struct, frozen=True):
    """A configuration, and the octets that it was made of by path as read: with the same octets ``load_whole`` gives the same again."""

    configuration: Configuration
    files: dict[str, bytes]


class Outline(msgspec.Struct, frozen=True):
    """What a configuration touches outside of itself, as far as its root file says so rightly: for checks of the host.

    ``listen`` are endpoints with their key paths, the SMTP listeners' first; ``tls_files`` are certificates with the key paths of the tables that
    name them. ``data_dir``, ``policy`` and ``tls_ca_file`` are None where not given, or wrong.
    """

    data_dir: str | None = None
    policy: str | None = None
    tls_ca_file: str | None = None
    listen: tuple[tuple[Endpoint, str], ...] = ()
    tls_files: tuple[tuple[TlsFiles, str], ...] = ()


class Examined(msgspec.Struct, frozen=True):
    """All there is to say about a configuration: its problems; what it touches; and itself, None if there is any problem."""

    problems: tuple[Problem, ...]
    outline: Outline
    loaded: Loaded | None


def load(path: str | Path, *, hostname: Callable[[], str] = socket.gethostname) -> Configuration:
    """The configuration whose root file is ``path``; ConfigError with every problem of every file if there is any.

    ``hostname`` is asked for the host's own name if the file gives none.
    """
    return load_whole(path, hostname=hostname).configuration


def load_whole(
    path: str | Path, *, hostname: Callable[[], str] = socket.gethostname, read: Read = read_file
) -> Loaded:
    """As ``load``, with what was read. ``read`` gives the octets of a file, or raises ``Refused``; it is called once for each file."""
    examined = examine(path, hostname=hostname, read=read)
    if examined.loaded is None:
        raise ConfigError(examined.problems)
    return examined.loaded


def examine(
    path: str | Path, *, hostname: Callable[[], str] = socket.gethostname, read: Read = read_file
) -> Examined:
    """As ``load_whole``, without an exception: what is wrong, and also what can be said of a configuration that is wrong somewhere."""
    loading = _Loading(Path(path), read)
    root = loading.document(ROOT_FILE, loading.root, "give the right path with -c, or in $PENSTOCK_CONFIG")
    if root is None:
        return Examined(tuple(loading.problems), Outline(), None)
    queues = loading.data_files(root, "queues", QUEUES_FILE)
    shaping = loading.data_files(root, "shaping", SHAPING_FILE)
    loading.problems += checks.check(root, queues, shaping)
    name = checks.own_name(root, hostname)
    if isinstance(name, Problem):
        loading.problems.append(name)
    outline = _outline(loading.root.parent, root)
    if loading.problems or isinstance(name, Problem):
        return Examined(tuple(loading.problems), outline, None)
    configuration = assemble(loading.root.parent, name, root, queues, shaping)
    return Examined((), outline, Loaded(configuration, loading.files))


def _outline(folder: Path, root: Tree) -> Outline:
    node = root.tables["node"]
    listeners = root.tables["listener"].arrays

    def path(tree: Tree, name: str, otherwise: str | None = None) -> str | None:
        # what was given but refused is not the default
        written = tree.value(name, None if name in tree.written else otherwise)
        return None if written is None else absolute(folder, written)

    def files(tree: Tree) -> TlsFiles:
        if "tls_private_key" in tree.written - tree.given.keys():
            return TlsFiles(client_ca=path(tree, "tls_required_client_ca"))
        names = ("tls_certificate", "tls_private_key", "tls_required_client_ca")
        return TlsFiles(*(path(tree, name) for name in names))

    return Outline(
        data_dir=path(node, "data_dir", DATA_DIR),
        policy=path(node, "policy"),
        tls_ca_file=path(node, "tls_ca_file"),
        listen=tuple(
            (endpoint, f"{listener.place.key}.listen[{number}]")
            for kind in ("smtp", "http")
            for listener in listeners.get(kind, ())
            for number, endpoint in enumerate(listener.value("listen", ()))
        ),
        tls_files=tuple(
            (files(table), table.place.key)
            for listener in listeners.get("smtp", ())
            for table in (listener, *checks.overrides(listener))
        ),
    )


class _Loading:
    """The files read so far, and what is wrong with them."""

    def __init__(self, root: Path, read: Read) -> None:
        self.root = root
        self.files: dict[str, bytes] = {}
        self.problems: list[Problem] = []
        self._read = read

    def document(self, schema: Table, path: Path, hint: str) -> Tree | None:
        """What passed of a file; None if it cannot be read or is no TOML. ``hint``: what to do if it cannot be read."""
        file = str(path)
        try:
            octets = self._read(path)
        except Refused as error:
            self.problems += [Problem(file, "", fault.what, fault.hint or hint) for fault in error.faults]
            return None
        self.files[file] = octets
        toml = syntax.parse(file, octets)
        if isinstance(toml, Problem):
            self.problems.append(toml)
            return None
        return Reading(schema, file, self.problems).read(toml)

    def data_files(self, root: Tree, option: str, schema: Table) -> Tree:
        """The files that ``files.<option>`` lists, laid over one another; all of the schema and nothing in it if there are none."""
        whole = empty(schema, Place(""))
        given = root.tables["files"].given.get(option)
        if given is None:
            return whole
        for name in given.value:
            path = self.root.parent / name
            if str(path) in (*self.files, str(self.root)):
                self.problems.append(given.place.problem(f"{name} is listed already", "list each file once"))
                continue
            tree = self.document(schema, path, _named_by(given.place))
            if tree is not None:
                whole.overlay(tree)
        return whole


def _named_by(place: Place) -> str:
    return f"{place.key} in {place.file} names it"
