"""What is said of the two volumes before anything is trained."""

from dataclasses import replace

from dmn_export.adapt.source_files import SourceFiles
from dmn_export.adapt.volume_words import volume_words
from dmn_export.adapt.volumes import Volumes
from dmn_runtime.geometry import Spacing


def volumes(target_nm: Spacing) -> Volumes:
    source = SourceFiles("/data/labelled/image.tif", "/data/labelled/mito.tif")
    return Volumes(source, (20, 768, 1024), (5.0, 5.0, 5.0), "/data/stack.tif", (20, 900, 900), target_nm)


def test_both_are_told_with_what_they_were_taken_for() -> None:
    assert list(volume_words(volumes((50.0, 4.6, 4.6)))) == [
        "source: image.tif, 20 x 768 x 1024 voxels (zyx) of 5 x 5 x 5 nm, labels mito.tif",
        "target: stack.tif, 20 x 900 x 900 voxels (zyx) of 50 x 4.6 x 4.6 nm",
    ]


def test_a_volume_within_a_file_is_told_with_the_file() -> None:
    source = SourceFiles("/data/cell.h5::volumes/raw", "/data/cell.h5::volumes/mito")
    first, _ = volume_words(replace(volumes((50.0, 4.6, 4.6)), source=source))
    assert first.startswith("source: cell.h5::volumes/raw, 20 x")
    assert first.endswith("labels cell.h5::volumes/mito")


def test_a_size_in_the_order_xyz_is_asked_about() -> None:
    *_, last = volume_words(volumes((4.6, 4.6, 50.0)))
    assert last == (
        "of the target, the voxels are 4.6 nm high and 50 nm wide in a slice: is the voxel size in the order "
        "z, y, x?"
    )
