"""Training data that isn't there: one line that names it, before anything is written."""

from __future__ import annotations

import pytest

from smap_ros.errors import InputError
from smap_train.engine.record import data_hash


def test_missing_training_data_is_named(tmp_path):
    there = tmp_path / "there.npz"
    there.write_bytes(b"x")
    with pytest.raises(InputError, match=r"training data .*motion\.npz: No such file.*data\.md"):
        data_hash([there, tmp_path / "motion.npz"])
    with pytest.raises(InputError, match="Is a directory"):
        data_hash([there, tmp_path])
    assert data_hash([there]) != data_hash([])
