"""Live mode from the outside: whatever comes in whatever order, the output is that of the batch run."""

import errno
import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from dmn_runtime.cli import main
from dmn_runtime.errors import ResumeError, UsageError, VolumeError
from dmn_runtime.inference import Watch, infer
from dmn_runtime.live.layout import LiveOptions
from dmn_runtime.report import Report
from dmn_runtime.setup import Options
from dmn_runtime.sink.paths import ledger_path, partial_path

from .conftest import SHAPE, Microscope, encoded, smooth

Package = Callable[..., Path]
LIVE = LiveOptions(until=13, poll_s=1.0, settle_s=2.0)
GREYS = (20.0, 230.0)


def written(output: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return probability and mask of an output."""
    if output.suffix == ".tif":
        return tifffile.imread(output.with_name(output.stem + ".probability.tif")), tifffile.imread(output)
    group = zarr.open_group(output, mode="r")
    return group["0"][:], group["labels/mask/0"][:]


def batch(package: Path, microscope: Microscope, output: Path, **more: Any) -> Report | None:
    options = Options(str(package), str(microscope.folder), output, engine="cpu", workers=2, **more)
    return infer(options, Watch(lambda _: None, lambda _: None, lambda _: None))


def require_equal_to_batch(package: Path, microscope: Microscope, output: Path, **more: Any) -> None:
    """Hold the voxels of a finished output against the batch run over the folder as it is now."""
    whole = output.with_name(f"batch{output.suffix if output.suffix == '.tif' else '.ome.zarr'}")
    batch(package, microscope, whole, intensity=GREYS, **more)
    for live, wanted in zip(written(output), written(whole), strict=True):
        np.testing.assert_array_equal(live, wanted)
    assert 0 < written(output)[1].mean() < 1
    if output.suffix == ".zarr":
        live_files, batch_files = (
            {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
            for root in (output, whole)
        )
        assert live_files == batch_files
    assert not ledger_path(output).exists()
    assert not partial_path(output).exists()


def name_of(z: int, suffix: str) -> str:
    return f"run7_s{z + 1:03}_10nm{suffix}"


def acquisition(microscope: Microscope, suffix: str, slices: int, seed: int) -> None:
    """Let slices come out of order, some in halves, some by renaming, and one a second time."""
    rng = random.Random(seed)
    order = [*range(2), *rng.sample(range(2, slices), slices - 2)]
    for z in order:
        content, name = encoded(smooth(z), suffix, microscope.scratch), name_of(z, suffix)
        way = rng.choice(["whole", "halves", "renamed"])
        if way == "whole":
            microscope.events.append(partial(microscope.write, name, content))
        elif way == "halves":
            microscope.events.append(partial(microscope.write, name, content[: len(content) // 2]))
            microscope.events += [lambda: None] * rng.choice([0, 6])
            microscope.events.append(partial(microscope.write, name, content))
        else:
            microscope.events.append(partial(microscope.write, name + ".part", content))
            source, target = microscope.folder / (name + ".part"), microscope.folder / name
            microscope.events.append(partial(source.rename, target))


def rewrite(microscope: Microscope, z: int, suffix: str, seed: int) -> None:
    """Let slice `z` come again, in halves, once all that were announced are segmented."""
    content = encoded(smooth(seed), suffix, microscope.scratch)
    microscope.events += [lambda: None] * 6
    microscope.events.append(partial(microscope.write, name_of(z, suffix), content[: len(content) // 3]))
    microscope.events.append(partial(microscope.write, name_of(z, suffix), content))


@pytest.mark.parametrize(
    ("context", "suffix", "kind"), [(0, ".tif", ".png"), (1, ".ome.zarr", ".tif"), (1, ".tif", ".tif")]
)
def test_the_voxels_are_those_of_the_batch_run(
    small_package: Package, microscope: Microscope, tmp_path: Path, context: int, suffix: str, kind: str
) -> None:
    package, output = small_package(context=context), tmp_path / f"seg{suffix}"
    acquisition(microscope, kind, 12, seed=context)
    rewrite(microscope, 1, kind, seed=90)
    microscope.events += [
        lambda: None,
        partial(microscope.write, name_of(12, kind), encoded(smooth(12), kind, tmp_path)),
    ]
    report = microscope.run(package, output, LIVE, intensity=GREYS, block=(4, 32, 48))
    assert report is not None
    assert report.voxels > 13 * SHAPE[0] * SHAPE[1]  # blocks of the slice that came twice were made twice
    assert report.input.shape == (13, *SHAPE)
    assert (report.normalisation.low, report.normalisation.high) == GREYS
    assert report.normalisation.sampled_voxels == 0
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


def interrupt() -> None:
    raise KeyboardInterrupt


def put(microscope: Microscope, slices: range, suffix: str = ".png") -> None:
    """Write slices at once."""
    for z in slices:
        microscope.write(name_of(z, suffix), encoded(smooth(z), suffix, microscope.scratch))


OPEN = LiveOptions(poll_s=1.0, settle_s=2.0)


@pytest.mark.parametrize(("context", "suffix"), [(0, ".ome.zarr"), (1, ".ome.zarr"), (1, ".tif")])
def test_a_run_without_an_end_is_stopped_goes_on_and_is_given_an_end(
    small_package: Package, microscope: Microscope, tmp_path: Path, context: int, suffix: str
) -> None:
    package, output = small_package(context=context), tmp_path / f"seg{suffix}"
    more = {"intensity": GREYS, "block": (4, 32, 48)}
    put(microscope, range(9))
    microscope.events += [*[lambda: None] * 6, interrupt]
    with pytest.raises(KeyboardInterrupt):
        microscope.run(package, output, OPEN, **more)
    assert "go on with --resume --watch" in microscope.said[-1]
    assert not output.exists()
    # While nobody watches, slices come, and one that was used comes anew.
    put(microscope, range(9, 11))
    microscope.write(name_of(2, ".png"), encoded(smooth(77), ".png", tmp_path))
    microscope.events += [*[lambda: None] * 6, interrupt]
    with pytest.raises(KeyboardInterrupt):
        microscope.run(package, output, OPEN, resume=True, **more)
    put(microscope, range(11, 14))
    report = microscope.run(package, output, LIVE, resume=True, **more)
    assert report is not None
    assert report.resumed
    assert report.voxels < 13 * SHAPE[0] * SHAPE[1]
    (microscope.folder / name_of(13, ".png")).unlink()  # one more than the run was to take
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


def test_blocks_that_are_up_to_date_are_not_made_again(
    small_package: Package, microscope: Microscope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmn_runtime.live import feed

    read_slice, decoded = feed.read_slice, []

    def counted(one: Any) -> Any:
        decoded.append(one.path.name)
        return read_slice(one)

    package, output = small_package(context=1), tmp_path / "seg.ome.zarr"
    more = {"intensity": GREYS, "block": (4, 32, 48)}
    put(microscope, range(13))
    microscope.events += [*[lambda: None] * 6, interrupt]
    with pytest.raises(KeyboardInterrupt):
        microscope.run(package, output, OPEN, **more)
    # Touched, not changed: its content counts, not its time. Slice 4 is context of the first slab.
    touched = microscope.folder / name_of(0, ".png")
    touched.write_bytes(touched.read_bytes())
    monkeypatch.setattr(feed, "read_slice", counted)
    microscope.write(name_of(4, ".png"), encoded(smooth(77), ".png", tmp_path))
    report = microscope.run(package, output, LIVE, resume=True, **more)
    assert report is not None
    # Slabs 0 and 1 because of slice 4, slab 3 because the end was not known; slab 2 stays, and what it alone
    # reads is not even decoded.
    assert {name_of(z, ".png") for z in (9, 10)}.isdisjoint(decoded)
    assert len(decoded) == len(set(decoded))
    assert report.voxels == (4 + 4 + 1) * SHAPE[0] * SHAPE[1]
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


@pytest.mark.parametrize("suffix", [".ome.zarr", ".tif"])
def test_an_interrupt_while_blocks_are_under_way_loses_none(
    small_package: Package,
    microscope: Microscope,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
) -> None:
    import threading
    from _thread import interrupt_main

    from dmn_runtime.sink.ledger import Ledger
    from dmn_runtime.stream import _Stream

    package, output = small_package(context=1), tmp_path / f"seg{suffix}"
    more = {"intensity": GREYS, "block": (4, 16, 16)}
    put(microscope, range(13))
    record, fail, told, recorded = Ledger.record, _Stream.fail, threading.Event(), []

    def interrupting(ledger: Ledger, *block: Any) -> None:
        record(ledger, *block)
        recorded.append(block)
        if len(recorded) == 4:
            interrupt_main()
            assert told.wait(5)

    def telling(stream: _Stream, error: BaseException) -> None:
        fail(stream, error)
        told.set()

    with monkeypatch.context() as patched:
        patched.setattr(Ledger, "record", interrupting)
        patched.setattr(_Stream, "fail", telling)
        with pytest.raises(KeyboardInterrupt):
            microscope.run(package, output, LIVE, **more)
    assert 4 <= len(recorded) <= 5
    report = microscope.run(package, output, LIVE, resume=True, **more)
    assert report is not None
    assert 0 < report.voxels < 13 * SHAPE[0] * SHAPE[1]
    require_equal_to_batch(package, microscope, output, block=(4, 16, 16))


def test_a_run_that_is_stopped_before_its_first_block_leaves_nothing(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    put(microscope, range(4))
    microscope.events += [*[lambda: None] * 6, interrupt]
    with pytest.raises(KeyboardInterrupt):
        microscope.run(small_package(), tmp_path / "seg.tif", OPEN)
    assert "nothing is left" in microscope.said[-1]
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith("seg")] == []


@pytest.mark.parametrize("suffix", [".ome.zarr", ".tif"])
def test_an_output_without_an_end_grows(
    small_package: Package,
    microscope: Microscope,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
) -> None:
    from dmn_runtime.live import layout

    monkeypatch.setattr(layout, "FIRST_DEPTH", 4)
    package, output = small_package(context=1), tmp_path / f"seg{suffix}"
    more = {"intensity": GREYS, "block": (2, 48, 70)}
    put(microscope, range(13))
    microscope.events += [*[lambda: None] * 9, interrupt]
    with pytest.raises(KeyboardInterrupt):
        microscope.run(package, output, OPEN, **more)
    report = microscope.run(package, output, LIVE, resume=True, **more)
    assert report is not None
    assert report.voxels == 1 * SHAPE[0] * SHAPE[1]  # the last slice alone depends on the end
    require_equal_to_batch(package, microscope, output, block=(2, 48, 70))


def test_a_backlog_does_not_come_into_memory(
    small_package: Package,
    microscope: Microscope,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import weakref

    from dmn_runtime.live import feed

    alive, most, decoded = 0, 0, 0
    read_slice = feed.read_slice

    def freed() -> None:
        nonlocal alive
        alive -= 1

    def counted(one: Any) -> Any:
        nonlocal alive, most, decoded
        pixels = read_slice(one)
        weakref.finalize(pixels.base if pixels.base is not None else pixels, freed)
        alive, decoded = alive + 1, decoded + 1
        most = max(most, alive)
        return pixels

    monkeypatch.setattr(feed, "read_slice", counted)
    put(microscope, range(40))
    live = LiveOptions(until=40, poll_s=1.0, settle_s=0.0)
    report = microscope.run(small_package(context=1), tmp_path / "seg.tif", live, block=(2, 48, 35))
    assert report is not None
    assert decoded == 40  # each once, however many blocks a slice has
    assert most <= (2 + 2 * 1) + 1  # those of a block, and the one that is being decoded


def test_the_first_slices_give_the_intensities_and_the_batch_run_can_repeat_them(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    package, output = small_package(working_nm=10.0), tmp_path / "seg.ome.zarr"
    acquisition(microscope, ".png", 13, seed=3)
    report = microscope.run(package, output, LIVE, voxel_nm=(50.0, 5.0, 5.0))
    assert report is not None
    low, high = report.normalisation.low, report.normalisation.high
    assert report.normalisation.sampled_voxels >= 4 * SHAPE[0] * SHAPE[1]
    assert f"grey values {low:g} to {high:g} become the network's -1 to 1" in microscope.said
    [line] = [said for said in microscope.said if said.startswith("the same as a batch run: ")]
    words = line.removeprefix("the same as a batch run: dmn ").split()
    assert main(words) == 0
    for live, again in zip(written(output), written(tmp_path / "again-seg.ome.zarr"), strict=True):
        np.testing.assert_array_equal(live, again)
    repeated = json.loads((tmp_path / "again-seg.report.json").read_text())
    assert (repeated["normalisation"]["low"], repeated["normalisation"]["high"]) == (low, high)
    assert repeated["input"]["fingerprint"] == report.input.fingerprint


def test_the_report_says_how_much_the_intensities_were_taken_from(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    put(microscope, range(5))
    microscope.events += [*[lambda: None] * 4, partial(put, microscope, range(5, 13))]
    report = microscope.run(small_package(), tmp_path / "seg.tif", LIVE)
    assert report is not None
    assert report.normalisation.sampled_voxels == 5 * SHAPE[0] * SHAPE[1]
    kept = json.loads((tmp_path / "seg.report.json").read_text())["normalisation"]
    assert kept["sampled_voxels"] == 5 * SHAPE[0] * SHAPE[1]


def test_grey_values_that_move_are_told(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    for z in range(4):
        dark = (smooth(z) // 3).astype(np.uint8)
        microscope.write(name_of(z, ".png"), encoded(dark, ".png", tmp_path))
    microscope.events.append(partial(put, microscope, range(4, 13)))
    live = LiveOptions(until=13, poll_s=1.0, settle_s=0.0)
    report = microscope.run(small_package(), tmp_path / "seg.tif", live)
    assert report is not None
    [moved] = [sentence for sentence in report.drift if sentence.startswith("the grey values moved: ")]
    assert f"warning: {moved}" in microscope.said


def test_a_wrong_slice_is_waited_for(small_package: Package, microscope: Microscope, tmp_path: Path) -> None:
    package, output = small_package(context=1), tmp_path / "seg.tif"
    put(microscope, range(3))
    put(microscope, range(6, 13))
    microscope.write(name_of(3, ".png"), encoded(smooth(3, (48, 71)), ".png", tmp_path))
    microscope.write(name_of(4, ".png"), encoded(smooth(4).astype(np.uint16), ".png", tmp_path))
    content = encoded(smooth(5), ".png", tmp_path)
    microscope.write(name_of(5, ".png"), content[:900])
    microscope.write("else.png", content)
    microscope.write("run7_s014_10nm.tif", content)
    microscope.events += [lambda: None] * 30
    microscope.events += [
        partial(microscope.write, "else.png", content),
        lambda: None,
        lambda: None,
        lambda: None,
    ]
    for z in (3, 4, 5):
        microscope.events.append(
            partial(microscope.write, name_of(z, ".png"), encoded(smooth(z), ".png", tmp_path))
        )
    with pytest.raises(VolumeError, match="files, but slices of one kind"):
        microscope.run(package, output, LIVE, intensity=GREYS, block=(4, 32, 48))
    (microscope.folder / "run7_s014_10nm.tif").unlink()
    with pytest.raises(VolumeError, match="not named alike"):
        microscope.run(package, output, LIVE, intensity=GREYS, block=(4, 32, 48))
    (microscope.folder / "else.png").unlink()
    microscope.events.append((microscope.folder / "else.png").unlink)
    report = microscope.run(package, output, LIVE, intensity=GREYS, block=(4, 32, 48))
    assert report is not None
    warnings = [said for said in microscope.said if "the run waits for it" in said]
    assert len(warnings) == 3
    assert "is 48x71 uint8, but slices of 48x70 uint8 are wanted" in warnings[0]
    assert "is 48x70 uint16, but slices of 48x70 uint8 are wanted" in warnings[1]
    assert "is not a whole PNG" in warnings[2]
    assert len([said for said in microscope.said if "else.png is left aside" in said]) == 1
    assert any("waits for slice 4 (run7_s004_10nm.png cannot be used)" in line for line in microscope.shown)
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


def test_what_makes_no_sense_is_one_sentence_and_leaves_nothing(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    package, output = small_package(), tmp_path / "seg.tif"
    for live, more, sentence in [
        (LiveOptions(until=0), {}, "--until 0 has no slices"),
        (LiveOptions(first=-1), {}, "--first -1"),
        (LiveOptions(poll_s=0), {}, "--poll-s 0"),
        (LiveOptions(settle_s=-1), {}, "--settle-s -1"),
        (LiveOptions(), {"check_seams": True}, "--check-seams wants the whole volume"),
        (LiveOptions(), {"intensity": (200.0, 100.0)}, "is no range of grey values"),
        (LiveOptions(), {"resume": True, "overwrite": True}, "exclude each other"),
    ]:
        with pytest.raises(UsageError, match=sentence):
            microscope.run(package, output, live, **more)
    with pytest.raises(ResumeError, match="nothing to resume"):
        microscope.run(package, output, LIVE, resume=True)
    elsewhere = Microscope(tmp_path / "elsewhere")
    elsewhere.folder.rmdir()
    with pytest.raises(VolumeError, match="does not exist: make the folder first"):
        elsewhere.run(package, output, LIVE)
    elsewhere.folder.write_text("a file")
    with pytest.raises(UsageError, match="leave --watch out"):
        elsewhere.run(package, output, LIVE)
    put(microscope, range(4))
    with pytest.raises(UsageError, match="choose another output"):
        microscope.run(package, microscope.folder / "seg.tif", LIVE)
    with pytest.raises(UsageError, match="--voxel-nm"):
        microscope.run(small_package(working_nm=10.0), output, LIVE)
    assert not list(tmp_path.glob("seg*"))


def test_a_run_is_resumed_only_as_what_it_was(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    package, output = small_package(), tmp_path / "seg.tif"
    more = {"intensity": GREYS, "block": (4, 32, 48)}
    put(microscope, range(13))
    microscope.events += [*[lambda: None] * 6, interrupt]
    with pytest.raises(KeyboardInterrupt):
        microscope.run(package, output, OPEN, **more)
    before = ledger_path(output).read_bytes()
    with pytest.raises(UsageError, match=r"12 slices of .* are segmented already, more than --until 11"):
        microscope.run(package, output, LiveOptions(until=11, poll_s=1.0), resume=True, **more)
    with pytest.raises(ResumeError, match="normalisation"):
        microscope.run(package, output, LIVE, resume=True, intensity=(1.0, 2.0), block=(4, 32, 48))
    with pytest.raises(ResumeError, match="plan's block"):
        microscope.run(package, output, LIVE, resume=True, intensity=GREYS, block=(2, 32, 48))
    with pytest.raises(ResumeError, match="input's fingerprint was --watch"):
        batch(package, microscope, output, resume=True, **more)
    assert ledger_path(output).read_bytes() == before
    assert microscope.run(package, output, LIVE, resume=True, block=(4, 32, 48)) is not None
    assert microscope.run(package, output, LIVE, resume=True, block=(4, 32, 48)) is None
    assert microscope.said[-1] == f"{output} is complete already"
    with pytest.raises(UsageError, match="is finished with 13 slices, not 14"):
        microscope.run(package, output, LiveOptions(until=14), resume=True, block=(4, 32, 48))


def test_a_batch_run_is_not_gone_on_with_as_a_live_one(
    small_package: Package, microscope: Microscope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmn_runtime import inference

    put(microscope, range(5))
    output = tmp_path / "seg.tif"
    monkeypatch.setattr(inference, "write_preview_beside", lambda *_: interrupt())
    with pytest.raises(KeyboardInterrupt):
        batch(small_package(), microscope, output)
    with pytest.raises(ResumeError, match="begun without --watch"):
        microscope.run(small_package(), output, LIVE, resume=True)


@pytest.mark.parametrize("suffix", [".ome.zarr", ".tif"])
def test_a_run_that_ends_before_its_report_goes_on_to_it(
    small_package: Package,
    microscope: Microscope,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    suffix: str,
) -> None:
    from dmn_runtime.live import run

    put(microscope, range(13))
    package, output = small_package(), tmp_path / f"seg{suffix}"
    with monkeypatch.context() as patched:
        patched.setattr(run, "write_preview_beside", lambda *_: interrupt())
        with pytest.raises(KeyboardInterrupt):
            microscope.run(package, output, LIVE)
    assert output.exists()
    report = microscope.run(package, output, OPEN, resume=True)
    assert report is not None
    assert report.voxels == 0
    assert report.resumed
    assert report.normalisation.sampled_voxels == 13 * SHAPE[0] * SHAPE[1]
    assert not ledger_path(output).exists()


def test_a_slice_written_anew_while_the_volume_is_looked_at_is_still_taken(
    small_package: Package, microscope: Microscope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmn_runtime.volume.file_volume import FileVolume

    package, output = small_package(), tmp_path / "seg.tif"
    put(microscope, range(13))
    fingerprint, changed = FileVolume.fingerprint, []

    def changing(volume: FileVolume) -> str:
        found = fingerprint(volume)
        if not changed:
            changed.append(microscope.write(name_of(8, ".png"), encoded(smooth(55), ".png", tmp_path)))
        return found

    monkeypatch.setattr(FileVolume, "fingerprint", changing)
    assert microscope.run(package, output, LIVE, intensity=GREYS) is not None
    require_equal_to_batch(package, microscope, output)


def test_two_files_with_one_number_and_numbers_before_the_first_are_left_aside(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    package, output = small_package(), tmp_path / "seg.tif"
    put(microscope, range(12))
    twin = encoded(smooth(70), ".png", tmp_path)
    microscope.events += [lambda: None] * 8
    microscope.events += [
        partial(microscope.write, "run7_s0003_10nm.png", twin),
        *[lambda: None] * 4,
        (microscope.folder / name_of(2, ".png")).unlink,  # now the other one is slice 2
        *[lambda: None] * 4,
        partial(put, microscope, range(12, 13)),
    ]
    live = LiveOptions(until=12, first=2, poll_s=1.0)
    assert microscope.run(package, output, live, intensity=GREYS, block=(4, 32, 48)) is not None
    assert len([said for said in microscope.said if "have the same number" in said]) == 1
    [aside] = [said for said in microscope.said if "lies before the first one" in said]
    assert name_of(0, ".png") in aside
    (microscope.folder / name_of(0, ".png")).unlink()
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


def test_a_slice_that_goes_is_waited_for_and_need_not_be_segmented_again(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    package, output = small_package(), tmp_path / "seg.tif"
    put(microscope, range(12))
    path, away = microscope.folder / name_of(2, ".png"), tmp_path / "away.png"
    microscope.events += [lambda: None] * 8
    microscope.events += [lambda: path.rename(away) and None, *[lambda: None] * 3]
    microscope.events += [partial(put, microscope, range(12, 13)), *[lambda: None] * 6]
    microscope.events += [lambda: away.rename(path) and None]
    report = microscope.run(package, output, LIVE, intensity=GREYS, block=(4, 32, 48))
    assert report is not None
    assert report.voxels == 13 * SHAPE[0] * SHAPE[1]
    assert microscope.shown[-1].startswith("13 of 13 slices arrived, 13 segmented; lag 0 slices")
    assert any("12 of 13 slices arrived, 9 segmented" in line for line in microscope.shown)


def test_what_lay_there_at_the_start_is_no_rate_of_acquisition(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    put(microscope, range(4))
    # They come while the engine is chosen, say: after the first slices, before the run looks again.
    microscope.events += [lambda: None, partial(put, microscope, range(4, 10))]
    microscope.events += [*[lambda: None] * 5, partial(put, microscope, range(10, 11)), *[lambda: None] * 9]
    microscope.events += [partial(put, microscope, range(11, 12)), *[lambda: None] * 4]
    microscope.events += [partial(put, microscope, range(12, 13))]
    assert microscope.run(small_package(), tmp_path / "seg.tif", LIVE, intensity=GREYS) is not None
    before = [line for line in microscope.shown if line.startswith("11 of 13")]
    assert before
    assert all("acquisition not known yet" in line for line in before)
    assert any("12 of 13 slices arrived" in line and "acquisition 0.1 " in line for line in microscope.shown)


def test_the_command_in_a_real_folder(
    small_package: Package, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import threading

    package = small_package()
    microscope, output = Microscope(tmp_path / "slices"), tmp_path / "seg.ome.zarr"
    acquisition(microscope, ".png", 13, seed=11)

    def expose() -> None:
        for event in microscope.events:
            event()

    words = ["infer", str(package), str(microscope.folder), "-o", str(output), "--engine", "cpu"]
    words += ["--watch", "--until", "13", "--poll-s", "0.005", "--settle-s", "0.02", "--intensity", "20,230"]
    thread = threading.Thread(target=expose)
    thread.start()
    assert main([*words, "--json"]) == 0
    thread.join()
    out, err = capsys.readouterr()
    assert json.loads(out)["voxels"] >= 13 * SHAPE[0] * SHAPE[1]
    assert "slices arrived" in err
    require_equal_to_batch(package, microscope, output)
    assert main([*words, "--resume"]) == 0
    assert "is complete already" in capsys.readouterr().err
    assert main([*words, "--check-seams", "--overwrite"]) == 2
    assert main([word for word in words if word != "--watch"]) == 2
    assert "--until belongs to --watch: give that too, or leave it out" in capsys.readouterr().err


def test_a_block_that_a_kill_caught_in_its_second_writing_is_not_taken_for_the_first(
    small_package: Package, microscope: Microscope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmn_runtime.sink.tiff import TiffSink

    package, output = small_package(), tmp_path / "seg.tif"
    more = {"intensity": GREYS, "block": (4, 32, 48)}
    put(microscope, range(13))
    write = TiffSink.write

    def torn(sink: TiffSink, region: Any, probability: Any, mask: Any) -> None:
        write(sink, region, 255 - probability, mask)
        raise KeyboardInterrupt

    def second() -> None:
        microscope.write(name_of(1, ".png"), encoded(smooth(99), ".png", tmp_path))
        monkeypatch.setattr(TiffSink, "write", torn)

    microscope.events += [*[lambda: None] * 6, second]
    with pytest.raises(KeyboardInterrupt):
        microscope.run(package, output, OPEN, **more)
    monkeypatch.setattr(TiffSink, "write", write)
    put(microscope, range(1, 2))  # as it was when the block was made first
    assert microscope.run(package, output, LIVE, resume=True, **more) is not None
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


def test_a_slice_that_changes_while_it_is_decoded_is_not_used(
    small_package: Package, microscope: Microscope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmn_runtime.live import feed

    package, output = small_package(), tmp_path / "seg.tif"
    read_slice, changed = feed.read_slice, []

    def changing(one: Any) -> Any:
        pixels = read_slice(one)
        if one.path.name == name_of(6, ".png") and not changed:
            changed.append(microscope.write(one.path.name, encoded(smooth(98), ".png", tmp_path)))
        return pixels

    monkeypatch.setattr(feed, "read_slice", changing)
    put(microscope, range(13))
    report = microscope.run(package, output, LIVE, intensity=GREYS, block=(4, 32, 48))
    assert report is not None
    assert report.voxels == 13 * SHAPE[0] * SHAPE[1]  # nothing was made of what it had been
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


def test_a_wrong_slice_is_tried_again_though_its_time_says_nothing(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    import os

    package, output = small_package(), tmp_path / "seg.tif"
    put(microscope, range(13))
    path, content = microscope.folder / name_of(5, ".png"), encoded(smooth(5), ".png", tmp_path)

    def write_at_one_time(data: bytes) -> None:
        path.write_bytes(data)
        os.utime(path, ns=(10**18, 10**18))

    write_at_one_time(content[:1500] + bytes(len(content) - 1500))
    microscope.events += [*[lambda: None] * 8, partial(write_at_one_time, content)]
    report = microscope.run(package, output, LIVE, intensity=GREYS, block=(4, 32, 48))
    assert report is not None
    assert len([said for said in microscope.said if "the run waits for it" in said]) == 1
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


@pytest.mark.parametrize("until", [1, 2, 5])
def test_few_slices_and_a_network_with_context(
    small_package: Package, microscope: Microscope, tmp_path: Path, until: int
) -> None:
    package, output = small_package(context=1), tmp_path / "seg.tif"
    put(microscope, range(until))
    report = microscope.run(package, output, LiveOptions(until=until, poll_s=1.0))
    assert report is not None
    low, high = report.normalisation.low, report.normalisation.high
    batch(package, microscope, tmp_path / "batch.tif", intensity=(low, high))
    for live, wanted in zip(written(output), written(tmp_path / "batch.tif"), strict=True):
        np.testing.assert_array_equal(live, wanted)


@pytest.mark.parametrize("way", ["open", "stat"])
def test_a_slice_that_the_system_does_not_let_be_read_is_tried_again(
    small_package: Package, microscope: Microscope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    package, output = small_package(), tmp_path / "seg.tif"
    put(microscope, range(13))
    method, closed = getattr(Path, way), [name_of(5, ".png")]

    def refused(path: Path, *words: Any, **more: Any) -> Any:
        if path.name in closed:
            raise OSError(errno.EIO, "Input/output error")
        return method(path, *words, **more)

    monkeypatch.setattr(Path, way, refused)
    microscope.events += [*[lambda: None] * 8, closed.clear]
    report = microscope.run(package, output, LIVE, intensity=GREYS, block=(4, 32, 48))
    assert report is not None
    [warning] = [said for said in microscope.said if "the run waits for it" in said]
    assert name_of(5, ".png") in warning
    assert "Input/output error" in warning
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


def test_a_folder_that_is_out_of_sight_for_a_while_is_waited_for(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    def vanish(away: bool) -> None:
        microscope.out_of_sight = away

    package, output = small_package(), tmp_path / "seg.tif"
    vanish(True)
    microscope.events += [lambda: None, partial(vanish, False), partial(put, microscope, range(9))]
    microscope.events += [*[lambda: None] * 8, partial(vanish, True), *[lambda: None] * 5]
    microscope.events += [partial(vanish, False), partial(put, microscope, range(9, 13))]
    report = microscope.run(package, output, LIVE, intensity=GREYS, block=(4, 32, 48))
    assert report is not None
    assert report.voxels == 13 * SHAPE[0] * SHAPE[1]  # what was made of the slices stayed
    assert len([said for said in microscope.said if "is out of sight (Stale file handle)" in said]) == 2
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


def test_a_folder_that_stays_out_of_sight_ends_the_run_which_can_be_resumed(
    small_package: Package, microscope: Microscope, tmp_path: Path
) -> None:
    package, output, live = small_package(), tmp_path / "seg.tif", LiveOptions(until=13, poll_s=10.0)
    put(microscope, range(9))

    def vanish() -> None:
        microscope.out_of_sight = True

    microscope.events += [*[lambda: None] * 3, vanish]
    with pytest.raises(VolumeError, match=r"cannot be watched \(Stale file handle\)"):
        microscope.run(package, output, live, intensity=GREYS, block=(4, 32, 48))
    assert "are kept: go on with --resume" in microscope.said[-1]
    microscope.out_of_sight = False
    put(microscope, range(9, 13))
    assert microscope.run(package, output, live, resume=True, block=(4, 32, 48)) is not None
    require_equal_to_batch(package, microscope, output, block=(4, 32, 48))


def test_a_run_does_not_read_a_backlog_before_it_begins(
    small_package: Package, microscope: Microscope, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dmn_runtime.live import head

    package, output, checked = small_package(), tmp_path / "seg.tif", []
    require_whole = head.require_whole

    def counted(path: Path, kind: str) -> None:
        checked.append(path.name)
        require_whole(path, kind)

    monkeypatch.setattr(head, "require_whole", counted)
    put(microscope, range(40))
    microscope.events += [*[lambda: None] * 6, interrupt]
    with pytest.raises(KeyboardInterrupt):
        microscope.run(package, output, OPEN, block=(8, 48, 70))
    assert len(checked) == 16  # those that are sampled
    checked.clear()
    live = LiveOptions(until=40, poll_s=1.0)
    report = microscope.run(package, output, live, resume=True, block=(8, 48, 70))
    assert report is not None
    assert checked == [name_of(0, ".png")]
    assert report.normalisation.sampled_voxels == 16 * SHAPE[0] * SHAPE[1]


@pytest.mark.parametrize("reported", [True, False])
def test_a_finished_output_whose_slices_are_gone_waits_for_nothing_and_opens_nothing(
    small_package: Package,
    microscope: Microscope,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    reported: bool,
) -> None:
    from dmn_runtime.live import run

    package, output = small_package(), tmp_path / "seg.tif"
    put(microscope, range(13))
    with monkeypatch.context() as patched:
        if not reported:
            patched.setattr(run, "write_preview_beside", lambda *_: interrupt())
        try:
            microscope.run(package, output, LIVE)
        except KeyboardInterrupt:
            assert not reported
    finished_s = microscope.now_s
    monkeypatch.setattr(run, "open_best", lambda *_: pytest.fail("an engine was opened"))
    if reported:
        assert microscope.run(package, output, OPEN, resume=True) is None
        assert microscope.said[-1] == f"{output} is complete already"
    (microscope.folder / name_of(4, ".png")).unlink()
    with pytest.raises(VolumeError, match=r"finished with 13 slices, and .* has no slice 5 of them"):
        microscope.run(package, output, OPEN, resume=True)
    for rest in microscope.folder.iterdir():
        rest.unlink()
    wanted = "has none of them" if reported else "has no slice 1 of them"
    with pytest.raises(VolumeError, match=wanted):
        microscope.run(package, output, OPEN, resume=True)
    assert microscope.now_s == finished_s
