"""Run by test_frame.py in a process of its own: whole frames on the driver that stands in."""

from __future__ import annotations

import ctypes
import os
import threading

import numpy as np
import pytest

from smap_ros.association.cuda import layout
from smap_ros.bundles.bundle import load_bundle
from smap_ros.camera import Camera
from smap_ros.engines import cuda_layers
from smap_ros.errors import EngineError
from smap_ros.estimators import create_estimator
from smap_ros.sources import open_source
from tests.conftest import outputs_of

LAYER = os.environ["LAYER"]
FAKE = ctypes.CDLL("libcuda.so.1")


@pytest.fixture(autouse=True)
def nothing_is_left(monkeypatch):
    monkeypatch.setattr(cuda_layers, "LAYERS", {LAYER: cuda_layers.LAYERS[LAYER]})
    yield
    FAKE.fake_work()
    assert FAKE.fake_live() == 0
    assert FAKE.fake_depth() == 0


@pytest.fixture
def near(scene_maker, make_bundle, scene_onnx):
    """Somebody whose pelvis is below the picture beside somebody whole; necks and errors told."""
    scene = scene_maker([[-0.5, 0.6, 0.95], [1.2, 0.2, 3.5]])
    labels = {**scene.maps(), "pose": scene.poses(), **scene.necks()}
    spread = np.array([0.1, 0.2], np.float32)[None, :, None, None]
    labels["depth_spread"] = np.broadcast_to(spread, (1, 2, *labels["maps"].shape[2:])).copy()
    return scene, make_bundle(scene, scene_onnx(labels), outputs=outputs_of(labels))


def on_gpu(bundle, **options):
    return create_estimator(bundle, "tensorrt", association="cuda", **options)


def assert_same(bundle, images, camera, **options):
    """To the last bit what the CPU's estimator says, several frames in turn."""
    # The stand-in runs networks on ONNX Runtime with one thread.
    plain = create_estimator(bundle, "onnxruntime", 1, **options)
    gpu = on_gpu(bundle, **options)
    people = 0
    for image in images:
        expected, got = plain.estimate(image, camera), gpu.estimate(image, camera)
        assert len(got.bodies) == len(expected.bodies) and got.dropped == expected.dropped
        for mine, theirs in zip(got.bodies, expected.bodies, strict=True):
            for name in ("joints_3d", "joints_2d", "scores"):
                np.testing.assert_array_equal(getattr(mine, name), getattr(theirs, name))
            np.testing.assert_array_equal(
                (mine.score, mine.depth_std), (theirs.score, theirs.depth_std)
            )
        people += len(got.bodies)
    notes = gpu.about.notes
    gpu.close()
    plain.close()
    return people, notes


@pytest.mark.parametrize("flip_test", [False, True])
def test_scenes_are_those_of_the_cpu(scene, make_bundle, flip_test):
    images = [scene.image(value) for value in (250, 128, 0, 250)]  # people, nobody, NaN, people
    people, notes = assert_same(make_bundle(scene), images, scene.camera, flip_test=flip_test)
    assert notes == ()
    assert people >= (0 if flip_test else 2 * len(scene.joints))


@pytest.mark.parametrize("flip_test", [False, True])
@pytest.mark.parametrize("necks", [False, True])
def test_people_from_necks_and_the_error_of_depths(near, necks, flip_test):
    scene, bundle = near
    images = [scene.image(value) for value in (250, 0, 250)]
    options = {"necks": necks, "flip_test": flip_test}
    people, notes = assert_same(bundle, images, scene.camera, **options)
    assert notes == ()
    assert flip_test or people == (4 if necks else 2)


def test_the_shipped_model_on_the_demo():
    frames = open_source("config/demo/clip.mp4")
    images = [frame.image for frame, _ in zip(frames, range(8), strict=False)][::4]
    camera = Camera.for_image(images[0], fov_deg=60)
    people, notes = assert_same(load_bundle("smap_lite"), images, camera, refine=False)
    assert people > 0 and notes == ()


def test_one_graph_and_64_kb_down(scene, make_bundle):
    gpu = on_gpu(make_bundle(scene))
    image = scene.image(250)
    gpu.estimate(image, scene.camera)
    names = ("cuGraphLaunch", "cuLaunchKernel", "bytes down", "bytes up", "cuStreamSynchronize")
    before = {name: FAKE.fake_calls(name.encode()) for name in names}
    for _ in range(3):
        gpu.estimate(image, scene.camera)
    spent = {name: (FAKE.fake_calls(name.encode()) - before[name]) / 3 for name in names}
    up = 0 if "FAKE_INTEGRATED" in os.environ else image.nbytes  # it reads the image where it is
    assert spent == {
        "cuGraphLaunch": 1, "cuLaunchKernel": 0, "bytes down": 65536, "bytes up": up,
        "cuStreamSynchronize": 1,
    }  # fmt: skip
    gpu.close()


def test_more_people_than_come_down_at_once(near, monkeypatch):
    """Those beyond the first 64 KB are asked for; as if already the second person were."""
    scene, bundle = near
    head = layout.RESULT.fields["person"][1]
    monkeypatch.setattr(layout, "FIRST_PEOPLE", 1)
    monkeypatch.setattr(layout, "FIRST_BYTES", head + layout.PERSON.itemsize)
    images = [scene.image(value) for value in (250, 128, 250)]
    people, notes = assert_same(bundle, images, scene.camera)
    assert people == 4 and notes == ()


def test_without_capture_it_launches_plainly(scene, make_bundle):
    FAKE.fake_fail(b"cuGraphInstantiateWithFlags", 0, 801)
    images = [scene.image(250)] * 2
    people, (note,) = assert_same(make_bundle(scene), images, scene.camera)
    assert people == 2 * len(scene.joints) and note.startswith("CUDA graph: ")


def test_images_of_several_sizes(scene, make_bundle):
    gpu, bundle = on_gpu(make_bundle(scene)), make_bundle(scene)
    plain = create_estimator(bundle, "onnxruntime", 1)
    for size in ((1280, 720), (640, 360), (1281, 721), (1280, 720)):
        image = np.full((size[1], size[0], 3), 250, np.uint8)
        camera = scene.camera.resized(*size)
        got, expected = gpu.estimate(image, camera), plain.estimate(image, camera)
        for mine, theirs in zip(got.bodies, expected.bodies, strict=True):
            np.testing.assert_array_equal(mine.joints_3d, theirs.joints_3d)
    gpu.close()


def test_made_in_one_thread_and_run_in_another(scene, make_bundle):
    gpu, found = on_gpu(make_bundle(scene)), []

    def work() -> None:
        found.append(len(gpu.estimate(scene.image(250), scene.camera).bodies))

    for _ in range(2):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    gpu.close()
    assert found == [len(scene.joints)] * 2


def test_fifty_lives(scene, make_bundle):
    """As a node that is configured in one thread, runs in another, and is deactivated.

    Frames take seconds with the GPU's threads as fibres, so only every tenth life has some.
    """
    bundle, image = make_bundle(scene), scene.image(250)
    for life in range(50):
        gpu, found = on_gpu(bundle), []
        if life % 10 == 0:
            thread = threading.Thread(
                target=lambda: found.append(gpu.estimate(image, scene.camera))  # noqa: B023
            )
            thread.start()
            thread.join()
            assert len(found[0].bodies) == len(scene.joints)
        gpu.close()
        gpu.close()
        assert FAKE.fake_live() == 0 and FAKE.fake_depth() == 0


def test_what_the_gpu_can_not_do_is_said(scene, make_bundle):
    bundle = make_bundle(scene)
    many = {"association_settings": {"max_peaks": 500}}
    with pytest.raises(EngineError, match=r"association can't be cuda: max_peaks is 500"):
        on_gpu(bundle, **many)
    gpu = create_estimator(bundle, "tensorrt", **many)
    assert gpu.about.notes[0].startswith("association on the GPU: max_peaks is 500")
    assert len(gpu.estimate(scene.image(250), scene.camera).bodies) == len(scene.joints)
    gpu.close()
    with pytest.raises(EngineError, match=r"the network runs on onnxruntime, not on a GPU"):
        create_estimator(bundle, "onnxruntime", 1, association="cuda")


def test_out_of_memory_for_the_frame(scene, make_bundle):
    bundle = make_bundle(scene)
    create_estimator(bundle, "tensorrt", association="cpu").close()
    FAKE.fake_fail(b"cuModuleLoadDataEx", 0, 2)
    FAKE.fake_fail(b"cuModuleLoadData", 0, 2)
    with pytest.raises(EngineError, match=r"association can't be cuda: .*out of memory"):
        on_gpu(bundle)
    gpu = create_estimator(bundle, "tensorrt")
    assert "out of memory" in gpu.about.notes[0]
    gpu.close()


TAKING = (
    "cuDevicePrimaryCtxRetain", "cuMemAlloc_v2", "cuMemHostAlloc", "cuMemHostGetDevicePointer_v2",
    "cuStreamCreate", "cuModuleLoadData", "cuModuleGetFunction", "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2", "cuStreamSynchronize",
)  # fmt: skip
OUT_OF_MEMORY = 2


def calls() -> dict[str, int]:
    return {name: FAKE.fake_calls(name.encode()) for name in TAKING}


def test_whatever_fails_half_way_everything_is_given_back(scene, make_bundle):
    """Each call that takes something, in turn; the next estimator is whole."""
    bundle = make_bundle(scene)
    on_gpu(bundle).close()  # its plan is there
    before = calls()
    on_gpu(bundle).close()
    needed = {name: count - before[name] for name, count in calls().items()}
    assert all(needed.values()) and sum(needed.values()) > 40
    for name, count in needed.items():
        for after in range(count):
            FAKE.fake_fail(name.encode(), after, OUT_OF_MEMORY)
            with pytest.raises(EngineError, match="out of memory"):
                on_gpu(bundle)
            FAKE.fake_work()
            assert (FAKE.fake_live(), FAKE.fake_depth()) == (0, 0), (name, after)


def test_without_memory_for_the_frame_what_it_took_is_given_back(scene, make_bundle):
    """``auto`` goes on with the CPU's association, and with no more than the network holds."""
    bundle = make_bundle(scene)
    before = calls()
    plain = create_estimator(bundle, "tensorrt", association="cpu")
    held, taken = FAKE.fake_live(), calls()
    plain.close()
    for name in ("cuMemAlloc_v2", "cuMemHostAlloc"):
        for after in (0, 2, 3):
            FAKE.fake_fail(name.encode(), taken[name] - before[name] + after, OUT_OF_MEMORY)
            gpu = create_estimator(bundle, "tensorrt")
            FAKE.fake_work()
            assert "out of memory" in gpu.about.notes[0] and FAKE.fake_live() == held
            gpu.close()


def test_a_frame_that_fails_is_followed_by_one_that_works(scene, make_bundle):
    gpu, image = on_gpu(make_bundle(scene)), scene.image(250)
    held = FAKE.fake_live()
    names = ["cuMemHostAlloc", "cuMemAlloc_v2", "cuLaunchKernel", "cuStreamSynchronize"]
    if "FAKE_INTEGRATED" in os.environ:  # it reads the image where the host has it
        names.remove("cuMemAlloc_v2")
    for name in names:
        FAKE.fake_fail(name.encode(), 0, OUT_OF_MEMORY)
        for _ in range(3):
            with pytest.raises(EngineError, match="out of memory"):
                gpu.estimate(image, scene.camera)
        FAKE.fake_work()
        assert FAKE.fake_live() <= held + 2  # an image's memory, once
    assert len(gpu.estimate(image, scene.camera).bodies) == len(scene.joints)
    gpu.close()


def test_memory_does_not_grow_with_changes_of_size(scene, make_bundle):
    gpu, held = on_gpu(make_bundle(scene)), set()
    for k in range(4):
        size = ((1280, 720), (640, 360))[k % 2]
        image = np.full((size[1], size[0], 3), 128, np.uint8)
        gpu.estimate(image, scene.camera.resized(*size))
        held.add(FAKE.fake_live())
    assert len(held) == 1
    gpu.close()


def test_two_estimators_in_two_threads(scene, make_bundle):
    bundle, image, found = make_bundle(scene), scene.image(250), []

    def work() -> None:
        gpu = on_gpu(bundle)
        found.extend(len(gpu.estimate(image, scene.camera).bodies) for _ in range(2))
        gpu.close()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [len(scene.joints)] * 4
