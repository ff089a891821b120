"""Which file is the root file, what reading a file can meet, and whether the server can live in its data directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from penstock import config
from penstock.config.disk import SIZE_LIMIT, read_file
from penstock.config.refusal import Refused
from penstock.mail.problem import ConfigError


def test_the_option_wins_over_the_environment_and_that_over_the_usual_place(tmp_path: Path) -> None:
    """Each is used without looking whether it is there: reading says so."""
    usual = tmp_path / "usual.toml"
    usual.touch()
    environ = {"PENSTOCK_CONFIG": "env.toml"}
    assert config.find_config("given.toml", environ, usual) == Path("given.toml")
    assert config.find_config(None, environ, usual) == Path("env.toml")
    assert config.find_config(None, {}, usual) == usual
    assert config.find_config(None, {"PENSTOCK_CONFIG": ""}, usual) == usual


def test_without_any_configuration_all_three_ways_are_told(tmp_path: Path) -> None:
    """A newcomer learns how to give one."""
    usual = tmp_path / "usual.toml"
    with pytest.raises(ConfigError) as caught:
        config.find_config(None, {}, usual)
    for way in ("-c FILE", "$PENSTOCK_CONFIG", str(usual)):
        assert way in str(caught.value)


def test_a_file_of_the_greatest_size_is_read_and_one_octet_more_is_not(tmp_path: Path) -> None:
    """The bound is exact."""
    path = tmp_path / "file"
    path.write_bytes(b"#" * SIZE_LIMIT)
    assert len(read_file(path)) == SIZE_LIMIT
    path.write_bytes(b"#" * (SIZE_LIMIT + 1))
    with pytest.raises(Refused, match="too big"):
        read_file(path)


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    """A check of the configuration never hangs."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Refused, match="no regular file"):
        read_file(tmp_path / "pipe")


def test_a_symbolic_link_is_followed_and_one_to_itself_is_told(tmp_path: Path) -> None:
    """Configurations are often linked."""
    (tmp_path / "file").write_text("x = 1")
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to("loop")
    assert read_file(tmp_path / "link") == b"x = 1"
    with pytest.raises(Refused, match="leads back to itself"):
        read_file(tmp_path / "loop")


def test_a_path_that_the_system_does_not_take_is_told(tmp_path: Path) -> None:
    """As is whatever else it says."""
    with pytest.raises(Refused, match="path that is too long"):
        read_file(tmp_path / ("x" * 300))


@contextmanager
def anybody() -> Iterator[None]:
    """As a user whom permissions bind: root for a while is somebody else."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_of_somebody_else_is_told() -> None:
    """Permission is named as the reason."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "file"
        path.touch(mode=0)
        Path(directory).chmod(0o755)
        with anybody(), pytest.raises(Refused, match="permission denied"):
            read_file(path)


def test_a_data_directory_that_can_be_made_has_no_problem_and_is_not_made(tmp_path: Path) -> None:
    """``check`` changes nothing."""
    assert config.check_data_dir(tmp_path / "a" / "b" / "c") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("blocked", ["data", "data/spool", "data/events", "data/run"])
def test_a_file_where_a_directory_has_to_be_is_a_problem(tmp_path: Path, blocked: str) -> None:
    """The directory itself, and those that the server keeps in it."""
    path = tmp_path / blocked
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    (problem,) = config.check_data_dir((tmp_path / "data"), "etc/penstock.toml")
    assert str(problem).startswith(f"etc/penstock.toml: node.data_dir: {path} is no directory; ")


def test_a_dangling_link_is_no_place_for_a_data_directory(tmp_path: Path) -> None:
    """Making a directory through it would fail."""
    (tmp_path / "data").symlink_to("nowhere")
    (problem,) = config.check_data_dir(tmp_path / "data")
    assert "data is no directory" in problem.what


def test_a_directory_that_is_not_writable_is_a_problem(tmp_path: Path) -> None:
    """Whether it is there, or would have to be made; what the server keeps there is not looked at any more."""
    here = config.check_data_dir((tmp_path), may_write=lambda directory: False)
    assert [problem.what for problem in here] == [f"{tmp_path} is not writable"]
    below = config.check_data_dir((tmp_path / "data"), may_write=lambda directory: False)
    assert [problem.what for problem in below] == [
        f"{tmp_path / 'data'} cannot be made: {tmp_path} is not writable"
    ]


def test_a_directory_in_the_data_directory_that_is_not_writable_is_a_problem(tmp_path: Path) -> None:
    """Each is asked for itself."""
    (tmp_path / "events").mkdir()
    (problem,) = config.check_data_dir((tmp_path), may_write=lambda directory: directory == tmp_path)
    assert problem.what == f"{tmp_path / 'events'} is not writable"


def test_a_path_that_cannot_be_looked_at_is_a_problem(tmp_path: Path) -> None:
    """No name of a directory makes the check fail."""
    (problem,) = config.check_data_dir(tmp_path / ("x" * 300))
    assert "cannot be" in problem.what
