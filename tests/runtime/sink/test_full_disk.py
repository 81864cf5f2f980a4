"""A disk that really is full: a small tmpfs, where mounting is allowed."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from dmn_runtime.errors import OutputError
from dmn_runtime.sink.base import SinkSpec
from dmn_runtime.sink.ledger import Ledger, LedgerHeader, block_crc
from dmn_runtime.sink.open import Start, open_sink, prepare_output

from .conftest import SHAPE, blocks_of, make_probability, tree

HEADER = LedgerHeader("input", "package", {"block": [4, 256, 256]}, "0.1")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a disk of 1 MiB."""
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def consume(steps: Iterator[None]) -> None:
    for _ in steps:
        pass


def make_room(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=16m", str(disk)], check=True)


def test_full_disk_is_one_sentence_and_the_run_can_be_resumed(small_disk: Path, make_spec) -> None:
    probability, header = make_probability(SHAPE), HEADER

    def run(spec: SinkSpec, *, resume: bool) -> frozenset[int]:
        sink = open_sink(spec, resume=resume)
        ledger = Ledger.resume(spec.path, header) if resume else Ledger.create(spec.path, header)
        try:
            for index, region in enumerate(blocks_of(spec)):
                if index not in ledger.done:
                    p = probability[region.slices]
                    sink.write(region, p, p // 128)
                    ledger.record(index, block_crc(p, p // 128))
            sink.finish()
            ledger.remove()
        finally:
            sink.close()
            ledger.close()
        return ledger.done

    spec = make_spec(small_disk / "out.ome.zarr")
    with pytest.raises(OutputError, match=r"the disk is full: free space, then run again with --resume"):
        run(spec, resume=False)
    assert not spec.path.exists()

    make_room(small_disk)
    assert prepare_output(spec.path, overwrite=False, resume=True) is Start.RESUME
    resumed_from = run(spec, resume=True)
    assert {0} <= resumed_from < set(range(12))
    whole = make_spec(small_disk / "whole.ome.zarr")
    run(whole, resume=False)
    assert tree(spec.path) == tree(whole.path)


def test_tiff_that_does_not_fit_is_refused_before_it_is_begun(small_disk: Path, make_spec) -> None:
    with pytest.raises(OutputError, match=r"needs 1.8 MB and its disk has 1.0 MB free"):
        open_sink(make_spec(small_disk / "out.tif"), resume=False)

    assert list(small_disk.iterdir()) == []


def test_tiff_whose_disk_fills_up_says_so(small_disk: Path, make_spec) -> None:
    spec = make_spec(small_disk / "out.tif", shape=(5, 256, 300), block=(4, 256, 256))
    sink = open_sink(spec, resume=False)
    (small_disk / "ballast").write_bytes(bytes(600_000))

    ones = np.ones(SHAPE, np.uint8)

    with closing(sink), pytest.raises(OutputError, match="the disk is full"):
        consume(sink.write(region, ones[region.slices], ones[region.slices]) for region in blocks_of(spec))


def test_ledger_on_a_full_disk_stays_whole(small_disk: Path) -> None:
    output = small_disk / "out.ome.zarr"
    ledger = Ledger.create(output, HEADER)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1024 * 1024 - 4096 * 2))
    recorded: list[int] = []
    with pytest.raises(OutputError, match="the disk is full"):
        consume(recorded.append(index) for index in range(10_000) if ledger.record(index, 1) is None)

    ballast.unlink()
    ledger.record(10_000, 1)
    ledger.close()
    with closing(Ledger.resume(output, HEADER)) as resumed:
        assert resumed.done == {*recorded, 10_000}
