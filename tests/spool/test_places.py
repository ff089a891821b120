"""Where the spools of lanes are, and that of an earlier version."""

from __future__ import annotations

import fcntl
from pathlib import Path

from penstock.spool.places import is_in_use, settle, spool_of, spools


def make(root: Path) -> Path:
    """A folder that is a spool."""
    (root / "segments").mkdir(parents=True)
    (root / "segments" / "one").write_text(root.name)
    return root


def test_spools_are_found_by_lane_in_their_order(tmp_path: Path) -> None:
    """Numbers as numbers; what is no spool is none."""
    for lane in ("0", "10", "9", "slow"):
        make(spool_of(tmp_path, lane))
    (tmp_path / "spool" / "empty").mkdir()
    assert list(spools(tmp_path)) == ["0", "9", "10", "slow"]
    assert spools(tmp_path / "nowhere") == {}
    assert not settle(tmp_path)


def test_the_spool_of_an_earlier_version_is_found_where_it_is_and_moved_once(tmp_path: Path) -> None:
    """Whole, with all that is in it."""
    old = make(tmp_path / "spool")
    (old / "bodies").mkdir()
    assert spools(tmp_path) == {"0": old}
    assert settle(tmp_path)
    assert spools(tmp_path) == {"0": tmp_path / "spool" / "0"}
    assert (tmp_path / "spool" / "0" / "bodies").is_dir()
    assert not settle(tmp_path)


def test_a_move_that_was_cut_short_is_finished(tmp_path: Path) -> None:
    """At either place: before the new folder was there, and after."""
    for number, has_folder in enumerate((False, True)):
        data = tmp_path / str(number)
        data.mkdir()
        make(data / "spool.moving")
        if has_folder:
            (data / "spool").mkdir()
        assert settle(data)
        assert (data / "spool" / "0" / "segments" / "one").read_text() == "spool.moving"
        assert not (data / "spool.moving").exists()


def test_a_spool_is_in_use_as_long_as_somebody_has_its_lock(tmp_path: Path) -> None:
    """Asking does not take it."""
    root = make(tmp_path / "0")
    assert not is_in_use(root)
    with (root / "lock").open("wb") as lock:
        assert not is_in_use(root)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_in_use(root)
    assert not is_in_use(root)
