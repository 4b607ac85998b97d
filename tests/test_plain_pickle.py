"""Pickles of other people are read as data."""

import os
import pickle

import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_ros.plain_pickle import Stored, read_plain_pickle

PLAIN = {
    "array": np.arange(6.0).reshape(2, 3),
    "columns": np.asfortranarray(np.ones((2, 3), np.float32)),
    "number": np.float64(2.5),
    "objects": np.array(["x", None, np.ones(2)], object),
    "set": {1, 2},
    "tuple": (1, "é", b"\xff", 1j, None, True),
}

# What Python 2 wrote for {'a': np.array([1., 2.])}; its text is bytes.
PYTHON_2 = (
    b"\x80\x02}q\x00U\x01aq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00"
    b"\x85q\x04U\x01bq\x05\x87q\x06Rq\x07(K\x01K\x02\x85q\x08cnumpy\ndtype\nq\tU\x02f8q\nK\x00K\x01"
    b"\x87q\x0bRq\x0c(K\x03U\x01<q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x10\x00\x00"
    b"\x00\x00\x00\x00\xf0?\x00\x00\x00\x00\x00\x00\x00@q\x0ftq\x10bs."
)


class Point:
    def __init__(self, x):
        self.x = x


def stand_in(module, name):
    return Stored if name == "Point" else None


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_objects_are_read_as_their_attributes_where_asked_for(tmp_path, protocol):
    path = tmp_path / "point.pkl"
    path.write_bytes(pickle.dumps({"a": Point(np.ones(2))}, protocol))
    stored = read_plain_pickle(path, stand_in)["a"]
    assert isinstance(stored, Stored)
    np.testing.assert_array_equal(stored.attributes["x"], [1, 1])
    with pytest.raises(InputError, match="holds pickled Python code"):
        read_plain_pickle(path)


@pytest.mark.parametrize(
    "gadget",
    [
        b"cbuiltins\neval\n(V1\ntR.",
        b"ccopyreg\n_reconstructor\n(cbuiltins\nobject\ncbuiltins\nobject\nNtR.",
    ],
)
def test_a_stand_in_lets_nothing_else_in(tmp_path, gadget):
    (tmp_path / "code.pkl").write_bytes(gadget)
    with pytest.raises(InputError, match="holds pickled Python code"):
        read_plain_pickle(tmp_path / "code.pkl", stand_in)


class Runs:
    def __reduce__(self):
        return os.system, ("exit 1",)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_plain_data_are_read(tmp_path, protocol):
    path = tmp_path / "plain.pkl"
    path.write_bytes(pickle.dumps(PLAIN, protocol))
    got = read_plain_pickle(path)
    np.testing.assert_array_equal(got["array"], PLAIN["array"])
    np.testing.assert_array_equal(got["columns"], PLAIN["columns"])
    np.testing.assert_array_equal(got["objects"][2], [1, 1])
    assert {k: got[k] for k in ("number", "set", "tuple")} == {
        k: PLAIN[k] for k in ("number", "set", "tuple")
    }


def test_those_of_python_2_are_read(tmp_path):
    (tmp_path / "old.pkl").write_bytes(PYTHON_2)
    np.testing.assert_array_equal(read_plain_pickle(tmp_path / "old.pkl")["a"], [1.0, 2.0])


@pytest.mark.parametrize("content", [Runs(), {"a": [print]}, np.testing, os.PathLike])
def test_code_is_refused(tmp_path, content):
    path = tmp_path / "code.pkl"
    try:
        path.write_bytes(pickle.dumps(content))
    except TypeError:  # a module can't be pickled: name it by hand
        path.write_bytes(b"cnumpy.testing\nmeasure\n.")
    with pytest.raises(InputError, match="holds pickled Python code"):
        read_plain_pickle(path)


@pytest.mark.parametrize(
    "data",
    [b"", b"hello", pickle.dumps(PLAIN)[:50], b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f."],
)
def test_damage_is_told(tmp_path, data):
    (tmp_path / "bad.pkl").write_bytes(data)
    with pytest.raises(InputError, match="can't be read as a pickle"):
        read_plain_pickle(tmp_path / "bad.pkl")
