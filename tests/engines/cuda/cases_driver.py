"""Run by test_driver.py in a process of its own: the driver layer on the driver that stands in."""

from __future__ import annotations

import ctypes
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from smap_ros.association.cuda import layout
from smap_ros.engines.cuda import Gpu
from smap_ros.engines.cuda_layers import LAYERS
from smap_ros.errors import EngineError

LAYER = os.environ["LAYER"]
FAKE = ctypes.CDLL("libcuda.so.1")
OUT_OF_MEMORY = 2
PTX = Path(layout.__file__).with_name("kernels.ptx").read_bytes()


def opened(device: int = 0) -> Gpu:
    return Gpu(device, LAYERS[LAYER]())


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    FAKE.fake_work()
    assert FAKE.fake_live() == 0
    assert FAKE.fake_depth() == 0  # no context stays current


@pytest.fixture
def gpu():
    made = opened()
    yield made
    made.close()


def fail(function: str, after: int = 0, status: int = OUT_OF_MEMORY) -> None:
    FAKE.fake_fail(function.encode(), after, status)


def cleared(gpu: Gpu, stream) -> tuple[np.ndarray, int]:
    """An arena on the device, and what the kernel `clear` makes of it."""
    function = gpu.functions(PTX, ["clear"])["clear"]
    params, arena = gpu.memory(layout.PARAMS.itemsize), gpu.memory(layout.ARENA.itemsize)
    gpu.launch(function, (1, 1), 512, [params, arena], stream)
    out = gpu.pinned((2,), np.int32)
    gpu.download(out, arena, stream)
    gpu.wait(stream)
    return out, arena


def test_it_says_what_the_gpu_is(gpu):
    facts = gpu.facts
    assert (facts.name, facts.capability, facts.processors) == ("Host standing in", "8.7", 16)
    assert (facts.driver, facts.memory, facts.layer) == ("12.6", 8 << 30, LAYER)
    assert facts.integrated == ("FAKE_INTEGRATED" in os.environ)


def test_bytes_go_up_and_come_down(gpu):
    stream = gpu.stream()
    source = np.arange(1000, dtype=np.float32).reshape(10, 100)
    address, target = gpu.memory(source.nbytes), gpu.pinned(source.shape, source.dtype)
    gpu.upload(address, source, stream)
    gpu.download(target, address, stream)
    gpu.wait(stream)
    np.testing.assert_array_equal(target, source)
    assert int(stream) != 0


def test_kernels_run(gpu):
    out, _ = cleared(gpu, gpu.stream())
    assert out.tolist() == [0, 0]


def test_events_tell_times(gpu):
    stream, start, end = gpu.stream(), gpu.event(), gpu.event()
    gpu.record(start, stream)
    gpu.record(end, stream)
    gpu.wait(stream)
    assert 0 <= gpu.elapsed_ms(start, end) < 1e4


def test_mapped_memory_is_seen_by_the_device(gpu):
    stream = gpu.stream()
    array, address = gpu.mapped((4,), np.uint8)
    array[:] = [1, 2, 3, 4]
    out = gpu.pinned((4,), np.uint8)
    gpu.download(out, address, stream)
    gpu.wait(stream)
    np.testing.assert_array_equal(out, array)


def test_a_graph_does_again_what_was_captured(gpu):
    stream = gpu.stream()
    source, target = gpu.pinned((8,), np.int32), gpu.pinned((8,), np.int32)
    address = gpu.memory(source.nbytes)

    def work() -> None:
        gpu.upload(address, source, stream)
        gpu.download(target, address, stream)

    replay = gpu.capture(work, stream)
    for value in (1, 2):
        source[:] = value
        replay()
        gpu.wait(stream)
        assert target.tolist() == [value] * 8


def test_a_capture_that_fails_leaves_the_stream_usable(gpu):
    stream = gpu.stream()
    for work in (lambda: gpu.wait(stream), lambda: gpu.memory(8), lambda: 1 / 0):
        with pytest.raises((EngineError, ZeroDivisionError)):
            gpu.capture(work, stream)
        assert cleared(gpu, stream)[0].tolist() == [0, 0]


def test_two_threads_take_turns(gpu):
    stream, found = gpu.stream(), []

    def work() -> None:
        found.extend(cleared(gpu, stream)[0].tolist() for _ in range(20))
        assert FAKE.fake_depth() == 0

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[0, 0]] * 40


def test_made_in_one_thread_and_closed_in_another():
    made = opened()
    cleared(made, made.stream())
    thread = threading.Thread(target=made.close)
    thread.start()
    thread.join()
    assert FAKE.fake_live() == 0


def test_fifty_lives():
    for _ in range(50):
        made = opened()
        cleared(made, made.stream())
        made.capture(lambda: None, made.stream())
        made.event()
        made.close()
        made.close()  # harmless


def test_closed_is_closed():
    made = opened()
    made.close()
    with pytest.raises(EngineError, match="is closed; create the engine anew"):
        made.memory(1)


@pytest.mark.parametrize(
    ("function", "work", "message"),
    [
        ("cuMemAlloc_v2", lambda g: g.memory(10**6), r"can't give 1\.0 MB of memory: .*out of mem"),
        ("cuMemHostAlloc", lambda g: g.pinned((10,), np.uint8), "can't pin .*out of memory"),
        ("cuStreamCreate", lambda g: g.stream(), "can't make a stream: .*out of memory"),
        ("cuEventCreate", lambda g: g.event(), "can't make an event: .*out of memory"),
        ("cuLaunchKernel", lambda g: cleared(g, g.stream()), "can't start a kernel: .*out of mem"),
        ("cuStreamSynchronize", lambda g: g.wait(g.stream()), "can't finish its work: .*memory"),
        (
            "cuGraphInstantiateWithFlags",
            lambda g: g.capture(lambda: None, g.stream()),
            "can't capture its work: .*cuGraphInstantiateWithFlags failed",
        ),
    ],
)
def test_each_failure_is_a_message(gpu, function, work, message):
    fail(function)
    with pytest.raises(EngineError, match=f"Host standing in {message}"):
        work(gpu)
    assert FAKE.fake_depth() == 0
    FAKE.fake_work()
    work(gpu)  # and the next time it works


def test_what_is_not_a_module_is_refused(gpu):
    with pytest.raises(EngineError, match=r"can't load its kernels: .*invalid"):
        gpu.functions(b"garbage", ["clear"])
    with pytest.raises(EngineError, match="can't load its kernels: "):
        gpu.functions(PTX, ["no_such_kernel"])


@pytest.mark.parametrize("device", [1, 7])
def test_no_such_gpu(device):
    with pytest.raises(EngineError, match=f"GPU {device} can't open: .*nvidia-smi"):
        opened(device)


@pytest.mark.parametrize("function", ["cuDevicePrimaryCtxRetain", "cuDeviceGetAttribute", "cuInit"])
def test_opening_that_fails_leaves_nothing(function):
    fail(function)
    with pytest.raises(EngineError, match=r"GPU 0 can't .*out of memory"):
        opened()
