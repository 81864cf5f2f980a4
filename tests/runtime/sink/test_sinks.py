"""What both sinks promise: whole blocks, any order, twice is as once, nothing in place before the end."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import pytest

from dmn_runtime.errors import OutputError, ResumeError
from dmn_runtime.geometry import Region
from dmn_runtime.sink.base import Sink, SinkSpec
from dmn_runtime.sink.open import open_sink, partial_path, prepare_output

from .conftest import SHAPE, blocks_of, make_probability, tree


@pytest.fixture
def begin() -> Iterator[Callable[..., Sink]]:
    """Return `open_sink`, whose sinks are closed when the test ends."""
    with ExitStack() as stack:
        yield lambda spec, *, resume: stack.enter_context(closing(open_sink(spec, resume=resume)))


def write_all(sink: Sink, probability: np.ndarray, order: int = 1) -> None:
    for region in list(blocks_of(sink.spec))[::order]:
        write_block(sink, probability, region)


def write_block(sink: Sink, probability: np.ndarray, region: Region) -> None:
    voxels = probability[region.slices]
    sink.write(region, voxels, (voxels >= 128).astype(np.uint8))


def finished(spec: SinkSpec, order: int = 1) -> dict[str, bytes]:
    """Write a whole output and return its bytes; it is removed again."""
    sink = open_sink(spec, resume=False)
    write_all(sink, make_probability(spec.shape), order)
    sink.finish()
    sink.close()
    found = tree(spec.path.parent)
    prepare_output(spec.path, overwrite=True, resume=False)
    for name in found:
        (spec.path.parent / name).unlink()
    return found


def test_nothing_stands_at_the_final_path_before_finish(output: Path, make_spec, begin) -> None:
    sink = begin(make_spec(output), resume=False)
    write_all(sink, make_probability(SHAPE))
    sink.close()

    assert [p.name for p in output.parent.iterdir()] == [output.name + ".partial"]


def test_block_order_and_threads_leave_the_same_bytes(output: Path, make_spec, begin) -> None:
    spec = make_spec(output)
    forwards, backwards = finished(spec), finished(spec, order=-1)

    sink = begin(spec, resume=False)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda region: write_block(sink, make_probability(SHAPE), region), blocks_of(spec)))
    sink.finish()

    assert len(forwards) >= 2
    assert backwards == forwards
    assert tree(output.parent) == forwards


def test_a_block_written_twice_leaves_the_same_bytes(output: Path, make_spec, begin) -> None:
    spec = make_spec(output)
    once = finished(spec)

    sink = begin(spec, resume=False)
    write_all(sink, make_probability(SHAPE, seed=1))
    write_all(sink, make_probability(SHAPE))
    sink.finish()

    assert tree(output.parent) == once


def test_resumed_output_has_the_bytes_of_an_uninterrupted_one(output: Path, make_spec, begin) -> None:
    spec = make_spec(output)
    uninterrupted = finished(spec)
    probability, regions = make_probability(SHAPE), list(blocks_of(spec))

    first = begin(spec, resume=False)
    for region in regions[:5]:
        write_block(first, probability, region)
    first.close()
    second = begin(spec, resume=True)
    for region in regions[4:]:
        write_block(second, probability, region)
    second.finish()

    assert tree(output.parent) == uninterrupted


KILLED = """
import sys
from pathlib import Path
import numpy as np
from dmn_runtime.geometry import Region
from dmn_runtime.sink.base import SinkSpec
from dmn_runtime.sink.open import open_sink

spec = SinkSpec(Path(sys.argv[1]), (8, 512, 512), (8, 256, 256), None, ("mitochondria",), 0.5)
sink = open_sink(spec, resume=False)
voxels = np.random.default_rng(0).integers(0, 256, (8, 256, 256), dtype=np.uint8)
print("begun", flush=True)
while True:
    for y in (0, 256):
        for x in (0, 256):
            sink.write(Region((0, y, x), (8, y + 256, x + 256)), voxels, voxels // 128)
"""


def test_killed_writer_leaves_a_partial_output_that_can_be_resumed(output: Path, make_spec, begin) -> None:
    writer = subprocess.Popen([sys.executable, "-c", KILLED, str(output)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    assert writer.stdout.readline() == "begun\n"
    with pytest.raises(subprocess.TimeoutExpired):
        writer.wait(0.2)
    os.kill(writer.pid, signal.SIGKILL)
    writer.communicate()

    assert [p.name for p in output.parent.iterdir()] == [output.name + ".partial"]
    spec = make_spec(output, shape=(8, 512, 512), block=(8, 256, 256), voxel_nm=None)
    sink = begin(spec, resume=True)
    write_all(sink, make_probability(spec.shape))
    sink.finish()
    resumed = tree(output.parent)
    prepare_output(output, overwrite=True, resume=False)
    for name in resumed:
        (output.parent / name).unlink()
    assert resumed == finished(spec)


def test_finish_replaces_an_old_output_only_when_the_new_one_is_complete(
    output: Path, make_spec, begin
) -> None:
    spec = make_spec(output)
    old, new = make_probability(SHAPE, seed=1), make_probability(SHAPE)
    first = begin(spec, resume=False)
    write_all(first, old)
    first.finish()
    before = tree(output) if output.is_dir() else output.read_bytes()

    prepare_output(output, overwrite=True, resume=False)
    second = begin(spec, resume=False)
    write_all(second, new)
    assert (tree(output) if output.is_dir() else output.read_bytes()) == before
    second.finish()

    assert (tree(output) if output.is_dir() else output.read_bytes()) != before
    assert not [p for p in output.parent.iterdir() if p.name.endswith((".partial", ".replaced"))]


@pytest.mark.parametrize(
    "region",
    [
        Region((0, 0, 0), (4, 256, 255)),
        Region((0, 0, 1), (4, 256, 257)),
        Region((4, 512, 256), (5, 600, 512)),
        Region((8, 0, 0), (12, 256, 256)),
    ],
)
def test_anything_but_a_whole_block_is_a_bug(output: Path, make_spec, region: Region, begin) -> None:
    sink = begin(make_spec(output), resume=False)
    voxels = np.zeros(region.shape, np.uint8)

    with pytest.raises(ValueError, match="is not a block"):
        sink.write(region, voxels, voxels)


def test_arrays_of_another_shape_or_dtype_are_bugs(output: Path, make_spec, begin) -> None:
    sink = begin(make_spec(output), resume=False)
    region = Region((0, 0, 0), (4, 256, 256))
    good = np.zeros(region.shape, np.uint8)

    with pytest.raises(ValueError, match="mask is float32"):
        sink.write(region, good, good.astype(np.float32))
    with pytest.raises(ValueError, match=r"probability is uint8 \(4, 256, 255\)"):
        sink.write(region, good[:, :, :255], good)


def test_second_run_of_the_same_output_is_refused_and_harms_nothing(output: Path, make_spec, begin) -> None:
    sink = begin(make_spec(output), resume=False)
    before = tree(partial_path(output))

    with pytest.raises(OutputError, match="another run is writing"):
        begin(make_spec(output), resume=False)

    assert tree(partial_path(output)) == before
    write_all(sink, make_probability(SHAPE))
    sink.finish()


def test_resume_into_an_output_of_another_shape_is_refused(output: Path, make_spec, begin) -> None:
    begin(make_spec(output), resume=False)

    with pytest.raises(ResumeError, match="this run writes"):
        begin(make_spec(output, shape=(5, 600, 299)), resume=True)


def test_resume_into_a_damaged_output_is_refused(output: Path, make_spec, begin) -> None:
    begin(make_spec(output), resume=False)
    for file in partial_path(output).rglob("*"):
        if file.is_file():
            file.write_bytes(b"not what it was")

    with pytest.raises(ResumeError, match="is damaged"):
        begin(make_spec(output), resume=True)


@pytest.fixture
def small_files():
    """Let this process write no file beyond 64 KiB, which ends a write like a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_too_large_file_is_the_users_error(tmp_path: Path, make_spec, small_files, begin) -> None:
    sink = begin(make_spec(tmp_path / "out.zarr"), resume=False)

    with pytest.raises(OutputError, match="does not allow files this large"):
        write_all(sink, make_probability(SHAPE))

    assert list(partial_path(tmp_path / "out.zarr").rglob("*.partial")) == []


def test_sink_that_cannot_be_begun_leaves_nothing(tmp_path: Path, make_spec, small_files, begin) -> None:
    with pytest.raises(OutputError, match="does not allow files this large"):
        begin(make_spec(tmp_path / "out.tif"), resume=False)

    assert list(tmp_path.iterdir()) == []
