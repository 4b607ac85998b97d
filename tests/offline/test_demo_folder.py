"""The demo's bag and logs: an earlier demo's are removed, whatever else is there is refused."""

import pytest

from smap_ros.errors import InputError
from smap_ros.offline.demo_folder import clear, refuse_clip

NODES = ("camera_node", "recorder_node")
OURS = ("bag/bag.mcap", "bag/metadata.yaml", "logs/recorder_node.log", "logs/camera_node.failure")


def make(out, names):
    for name in names:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("written")


@pytest.mark.parametrize("missing", [None, "bag/metadata.yaml", "bag/bag.mcap"])
def test_what_a_demo_left_whole_or_stopped_is_removed(tmp_path, missing):
    make(tmp_path, [name for name in OURS if name != missing])
    (tmp_path / "notes.txt").write_text("mine")
    clear(tmp_path, NODES, "recorder_node")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("more", "folder"),
    [
        ("bag/bag_0.mcap", "bag"),
        ("bag/notes.txt", "bag"),
        ("bag/deep/bag.mcap", "bag"),
        ("logs/robot.log", "logs"),
        ("logs/deep/camera_node.log", "logs"),
    ],
)
def test_what_somebody_else_left_is_refused_and_kept(tmp_path, more, folder):
    make(tmp_path, [*OURS, more])
    with pytest.raises(
        InputError, match=f"{folder} isn't what an earlier demo left.*another --out"
    ):
        clear(tmp_path, NODES, "recorder_node")
    assert all((tmp_path / name).is_file() for name in (*OURS, more))


def test_a_bag_without_the_demos_logs_or_elsewhere_is_somebody_elses(tmp_path):
    make(tmp_path, ["one/bag/bag.mcap", "one/bag/metadata.yaml", "two/logs/recorder_node.log"])
    (tmp_path / "two" / "bag").symlink_to(tmp_path / "one" / "bag")
    for name in ("one", "two"):
        with pytest.raises(InputError, match="bag isn't what an earlier demo left"):
            clear(tmp_path / name, NODES, "recorder_node")
    assert (tmp_path / "one" / "bag" / "bag.mcap").is_file()


@pytest.mark.parametrize("name", ["bag/clip.mp4", "logs/clip.mp4", "bag/../bag/deep/clip.mp4"])
def test_a_clip_where_the_demo_writes_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="which the demo writes anew; move the clip"):
        refuse_clip(tmp_path, tmp_path / name)
    refuse_clip(tmp_path, tmp_path / "bags" / "clip.mp4")
