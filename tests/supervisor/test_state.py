"""What ``state.db`` keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.mail.duration import WallTime
from penstock.supervisor.state import EPOCHS_KEPT, State, StateError, StoredEpoch

NOW = WallTime(1_800_000_000.0)


def test_the_epoch_that_was_kept_last_is_there_after_a_restart(tmp_path: Path) -> None:
    """Number and octets, whatever is in them; the first start finds none."""
    state = State(tmp_path)
    assert state.epoch() is None
    first = StoredEpoch(1, {"/etc/penstock.toml": b"[node]\n"})
    second = StoredEpoch(
        3, {"/etc/penstock.toml": b"[node]\n", "/etc/policy.py": b"\xff\x00", "/etc/empty": b""}
    )
    state.keep_epoch(first, NOW, "1.0")
    state.keep_epoch(second, NOW, "1.0")
    state.close()
    again = State(tmp_path)
    assert again.epoch() == second
    assert (tmp_path / "state.db").stat().st_mode & 0o077 == 0
    again.close()


def test_an_epoch_of_a_number_that_is_taken_changes_nothing(tmp_path: Path) -> None:
    """Numbers name epochs for ever; half of another one is not left behind."""
    state = State(tmp_path)
    state.keep_epoch(StoredEpoch(1, {"a": b"first"}), NOW, "1.0")
    with pytest.raises(StateError, match=r"state\.db"):
        state.keep_epoch(StoredEpoch(1, {"b": b"second"}), NOW, "1.0")
    assert state.epoch() == StoredEpoch(1, {"a": b"first"})
    state.close()


def test_old_epochs_go_with_their_files(tmp_path: Path) -> None:
    """A server that is reloaded every minute does not fill the disk."""
    state = State(tmp_path)
    for number in range(1, EPOCHS_KEPT + 11):
        state.keep_epoch(StoredEpoch(number, {"a": b"%d" % number}), NOW, "1.0")
    rows = state.connection.execute("SELECT count(*), min(number) FROM epoch_file").fetchone()
    assert rows == (EPOCHS_KEPT, 11)
    state.close()


def test_a_placement_is_replaced_whole(tmp_path: Path) -> None:
    """What is not in the new one is not there any more."""
    state = State(tmp_path)
    state.keep_placement({"mx.a.test": "0", "mx.b.test": "slow"})
    state.keep_placement({"mx.b.test": "1"})
    state.close()
    again = State(tmp_path)
    assert again.placement() == {"mx.b.test": "1"}
    again.close()


def test_a_file_that_is_no_database_is_told_with_what_to_do(tmp_path: Path) -> None:
    """Nothing is overwritten."""
    (tmp_path / "state.db").write_bytes(b"this is no database, and long enough to be looked at as one" * 20)
    with pytest.raises(StateError, match="move it away"):
        State(tmp_path)
    assert (tmp_path / "state.db").read_bytes().startswith(b"this is no database")
