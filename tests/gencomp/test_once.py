"""A codec that many use: threads at the same moment, copies, processes that fork while it is made."""

import copy
import os
import pickle
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from PIL import Image

import gencomp
from gencomp import codec as codec_module
from gencomp import machine, pillow
from gencomp.bitstream import BitstreamError
from gencomp.codec import Codec, load
from gencomp.image import ImageError
from gencomp.once import making
from gencomp.runtime import onnx

TINY = Path(__file__).parents[1] / "golden" / "tiny.safetensors"
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


def at_once(task: Callable[[], Any], threads: int = 32) -> list[Any]:
    """What a task gives in so many threads that begin at the same moment."""
    begin = threading.Barrier(threads)
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda _: (begin.wait(), task())[1], range(threads)))


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is made: models that are read, sessions that are opened; each takes its time."""
    seen: list[str] = []

    def noting(owner: Any, name: str) -> None:
        real = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            seen.append(name)
            time.sleep(0.05)
            return real(*arguments, **options)

        monkeypatch.setattr(owner, name, call)

    noting(codec_module, "load_model")
    noting(onnx, "_open")
    monkeypatch.setattr(codec_module, "EMBEDDED", str(TINY.with_suffix("")))
    pillow._loaded.cache_clear()
    return seen


def test_threads_load_one_model_whether_by_load_or_by_pillow(made: list[str], tmp_path: Path) -> None:
    assert len({id(codec) for codec in at_once(lambda: load(TINY, device="cpu", runtime="onnx"))}) == 1
    assert made == ["load_model"]
    codec = load(TINY, device="cpu", runtime="onnx")
    assert len({*at_once(lambda: codec.compress(PIXELS))}) == 1
    assert made.count("_open") <= 2  # analysis and hyper analysis
    (tmp_path / "a.gnc").write_bytes(codec.compress(PIXELS))
    made.clear()
    assert len({*at_once(lambda: Image.open(tmp_path / "a.gnc").convert("RGB").tobytes())}) == 1
    assert made.count("load_model") == 1
    pillow._loaded.cache_clear()


def test_a_codec_is_kept_while_somebody_holds_it_and_a_changed_model_read_anew(made: list[str], tmp_path: Path) -> None:
    place = tmp_path / "a.safetensors"
    place.write_bytes(TINY.read_bytes())
    held = load(place, device="cpu")
    assert load(place, device="cpu") is held
    assert load(place, device="cpu", tile=32) is not held
    os.utime(place, ns=(1, 1))
    assert load(place, device="cpu") is not held
    assert made.count("load_model") == 3


@pytest.mark.parametrize("runtime", ["onnx", "torch"])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda codec: pickle.loads(pickle.dumps(codec))])
def test_a_used_codec_can_be_copied_and_sent_to_another_process(copied: Callable[[Codec], Codec], runtime: str) -> None:
    codec = gencomp.load(TINY, device="cpu", runtime=runtime)
    data = codec.compress(PIXELS, effort=1)
    other = copied(codec)
    assert other.compress(PIXELS, effort=1) == data
    assert other.decompress(data).tobytes() == codec.decompress(data).tobytes()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_process_forked_while_another_thread_makes_something_can_make_it_itself() -> None:
    held, done = threading.Event(), threading.Event()

    def hold() -> None:
        with making:
            held.set()
            done.wait(0.3)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    if not (child := os.fork()):
        os._exit(0 if making.acquire(timeout=5) else 1)
    assert os.waitpid(child, 0)[1] == 0
    thread.join()


SAID = [
    "[ONNXRuntimeError] : 1 : FAIL : Non-zero status code returned while running Conv node. bfc_arena.cc:360 "
    "AllocateRawInternal Failed to allocate memory for requested buffer of size 11520000",
    "std::bad_alloc",
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : bad allocation",
    "[enforce fail at alloc_cpu.cpp:118] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.",
    "CUDA out of memory. Tried to allocate 20.00 MiB",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "[Errno 12] Cannot allocate memory",
    "libtorch.so: failed to map segment from shared object",
]


@pytest.mark.parametrize("said", SAID)
def test_memory_that_runs_out_is_named_with_the_image_not_the_model(said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert machine.is_out_of_memory(RuntimeError(said))
    codec = Codec(codec_module.load_model(TINY), "cpu", runtime="onnx")
    data = codec.compress(PIXELS)
    session = SimpleNamespace(get_inputs=list, run=Mock(side_effect=RuntimeError(said)))
    monkeypatch.setattr(onnx, "_open", lambda *_: session)
    codec = copy.deepcopy(codec)  # without its sessions
    with pytest.raises(ImageError, match=r"^not enough memory for an image of 56x40 pixels$"):
        codec.compress(PIXELS)
    with pytest.raises(BitstreamError, match=r"^not enough memory for an image of 56x40 pixels$"):
        codec.decompress(data)
