"""Archives of arrays with any byte changed are refused in words, or are still whole."""

from __future__ import annotations

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_train.files import read_arrays
from smap_train.models.layers.smpl_files import load_mean_parameters

READERS = {
    "ours": lambda path: read_arrays(path, "x", "numbers", "make it again"),
    "mean parameters": load_mean_parameters,
}


@pytest.mark.parametrize("reader", READERS)
def test_a_byte_that_was_changed_is_no_traceback(tmp_path, reader):
    path = tmp_path / "a.npz"
    arrays = {"pose": np.zeros(144), "shape": np.zeros(10), "cam": np.ones(3)}
    np.savez_compressed(path, format="x", **arrays)
    READERS[reader](path)
    whole, refused = path.read_bytes(), 0
    for at in range(len(whole)):
        for change in (0x01, 0x55):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ change]) + whole[at + 1 :])
            try:
                READERS[reader](path)
            except InputError as error:
                refused += str(path) in str(error)
    assert refused > len(whole) / 2
