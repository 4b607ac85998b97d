"""SMAP's unified JSON: the official schema, and every way in which a record can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from smap_ros.errors import InputError
from smap_train.data.layouts.smap_json import open_smap_json, write_smap_json
from smap_train.engine.sampling import BadRecordError

from .bodies import body, entry, picture, write_set


def read(folder: Path, *entries, text: str | None = None, **options):
    path = folder / "annotations.json"
    path.write_text(json.dumps({"root": list(entries)}) if text is None else text)
    return open_smap_json(path, folder, cache=folder / "cache", **options)


def changed(*place_and_value) -> dict:
    """An entry of two people with one number replaced."""
    *place, value = place_and_value
    bodies = np.array([body(), body(1.0)]).tolist()
    bodies[place[0]][place[1]][place[2]] = value
    return {**entry(np.zeros((0, 15, 11))), "bodys": bodies}


def test_the_official_schema_is_read(tmp_path):
    bodies = np.array([body(), body(0.5, 6.0)])
    records = read(
        tmp_path,
        entry(bodies, cam_id=3),
        entry(bodies[:1], isValidation=1, dataset="h36m"),
        {**entry(bodies[1:], dataset="COCO"), "image_id": None},
    )
    assert len(records) == 2
    first = records[0]
    np.testing.assert_array_equal(first.bodies, bodies)  # to the bit
    assert (first.width, first.height, first.dataset, first.validation) == (160, 120, "MUCO", 0)
    assert first.image == tmp_path / "images/a/000001.png"
    assert records[1].dataset == "COCO"
    held_out = read(tmp_path, entry(bodies), entry(bodies[:1], isValidation=1), validation=True)
    assert [len(held_out), len(held_out[0].bodies)] == [1, 1]
    assert list(records.problems()) == []


def test_pictures_are_read_and_checked(tmp_path):
    path = write_set(tmp_path, 3)
    records = open_smap_json(path, tmp_path, cache=tmp_path / "cache")
    image = records[0].read()
    np.testing.assert_array_equal(image, picture(records[0].bodies, 0))
    (tmp_path / "images/000001.png").write_bytes(b"no")
    (tmp_path / "images/000002.png").unlink()
    for number, message in ((1, "is no picture, or it is damaged"), (2, "No such file")):
        with pytest.raises(BadRecordError, match=rf"json, record {number}: img_paths.*{message}"):
            records[number].read()
    for name, kind in (("000003.png", ".png"), ("000003.jpg", ".jpg")):
        whole = cv2.imencode(kind, image)[1].tobytes()
        (tmp_path / "images" / name).write_bytes(whole[: len(whole) // 2])
        cut = read(tmp_path, entry(np.array([body()]), img_paths=f"images/{name}"))
        with pytest.raises(BadRecordError, match=r"record 0: img_paths.*is damaged.*truncated"):
            cut[0].read()
    record = read(tmp_path, entry(np.array([body()]), img_paths="images/000000.png", img_width=9))
    with pytest.raises(BadRecordError, match=r"9x120, but .* has 160x120"):
        record[0].read()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (changed(1, 4, 0, float("nan")), r"bodys\[1\]\[4\]\[0\], x of l_elbow, is nan"),
        (changed(0, 2, 2, float("inf")), r"bodys\[0\]\[2\]\[2\], Z of pelvis, is nan"),
        (changed(0, 2, 2, 1e30), r"\[2\], Z of pelvis, is 1e\+30; expected 0 to 10000 cm"),
        (changed(0, 2, 2, -5.0), "Z of pelvis, is -5; expected 0 to"),
        (changed(1, 0, 6, -2e4), r"\[6\], Z \(camera\) of neck, is -20000"),
        (changed(0, 3, 3, 3), r"v of l_shoulder, is 3; expected 0, 1 or 2"),
        (changed(0, 3, 7, 0), "fx of l_shoulder, is 0; expected a positive"),
        (changed(0, 3, 7, "far"), r"bodys: \[0\]\[3\]\[7\] is 'far'; expected a number"),
        (entry(np.zeros((2, 14, 11))), r"shape \(2, 14, 11\); expected N people x 15 joints x 11"),
        (entry(np.zeros((1, 15, 10))), r"shape \(1, 15, 10\)"),
        (entry(np.zeros((0, 15, 11))), r"shape \(0,\); expected N people .* N at least 1"),
        ({**entry(np.array([body()])), "bodys": [body().tolist(), [[1.0]]]}, r"\[1\] has 1 joints"),
        (entry(np.array([body()]), dataset="MPII"), "dataset is 'MPII'; expected one of COCO, MU"),
        (entry(np.array([body()]), img_width=-3), "img_width is -3; expected a whole number"),
        (entry(np.array([body()]), img_paths=None), "img_paths is None; expected a text"),
        ({"img_paths": "a.jpg"}, "has no img_width"),
        ([1], "is list; expected an object"),
    ],
)  # fmt: skip
def test_a_bad_record_is_named_and_the_others_are_read(tmp_path, wrong, message):
    good = entry(np.array([body()]))
    records = read(tmp_path, good, wrong, good)
    assert len(records[0].bodies) == len(records[2].bodies) == 1
    with pytest.raises(BadRecordError, match=rf"annotations.json, record 1: .*{message}"):
        records[1]
    assert len(list(records.problems())) == 1


def test_texts_with_the_words_of_numbers_stay(tmp_path):
    bodies = np.array([body()])
    records = read(tmp_path, *[entry(bodies, img_paths=f"NaN/Infinity{'x' * k}.jpg")
                               for k in range(40)])  # fmt: skip
    assert records[39].image == tmp_path / f"NaN/Infinity{'x' * 39}.jpg"


def test_a_number_that_is_none_is_found_wherever_the_reader_cuts(tmp_path):
    good, wrong = entry(np.array([body()])), changed(1, 14, 10, float("-inf"))
    for shift in range(0, 70000, 9973):
        records = read(tmp_path, {**good, "note": "x" * shift}, *[wrong] * 30)
        assert len(list(records.problems())) == 30


def test_a_coco_body_needs_no_depth_in_front_of_the_camera(tmp_path):
    flat = body()
    flat[:, [2, 4, 5, 6]] = 0
    assert len(read(tmp_path, entry(np.array([flat]), dataset="COCO"))[0].bodies) == 1


def test_millimetres_are_refused(tmp_path):
    wrong = body()
    wrong[:, [2, 4, 5, 6]] *= 10
    good = entry(np.array([body()]))
    assert len(read(tmp_path, good, good, entry(np.array([wrong])))) == 3  # most are right
    with pytest.raises(InputError, match=r"median depth of the pelvises is 3,929.*Divide X, Y"):
        read(tmp_path, good, entry(np.array([wrong, wrong])))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"images": [], "annotations": []}', "no records under the key 'root'"),
        ("[]", "no records under"),
        ('{"root": [{"img_paths": "a.jpg"}, {"img', "is damaged after 1 records"),
        ("not json", "is damaged after 0 records"),
        ("", "is damaged after 0 records"),
    ],
)
def test_a_file_that_is_none_is_refused(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, text=text)


def test_what_is_written_is_read(tmp_path):
    path = write_set(tmp_path, 4)
    records = open_smap_json(path, Path(), cache=tmp_path / "cache")
    copy = tmp_path / "copy.json"
    assert write_smap_json(copy, (records[k] for k in range(4))) == 4
    again = open_smap_json(copy, Path(), cache=tmp_path / "cache")
    for k in range(4):
        np.testing.assert_array_equal(again[k].bodies, records[k].bodies)
        assert (again[k].image, again[k].dataset) == (records[k].image, "MUCO")


def test_what_could_not_be_read_is_not_written(tmp_path):
    records = open_smap_json(write_set(tmp_path, 2), tmp_path, cache=tmp_path / "cache")
    record = records[0]
    record.bodies[0, 2, 2] = np.nan
    with pytest.raises(InputError, match="Z of pelvis, is nan"):
        write_smap_json(tmp_path / "out.json", [records[1], record])
    assert not (tmp_path / "out.json").exists()
