"""What does not fit into this machine is refused before it is read."""

from dataclasses import replace
from pathlib import Path

import pytest

from dmn_export.adapt.memory import check_memory
from dmn_export.adapt.plan import plan_stages
from dmn_export.adapt.source_files import SourceFiles
from dmn_export.adapt.volumes import Volumes
from dmn_export.adapt.wishes import AdaptWishes
from dmn_runtime.errors import UsageError

TEN = (10.0, 10.0, 10.0)
SOURCE = SourceFiles("/d/image.tif", "/d/mask.tif")
VOLUMES = Volumes(SOURCE, (20, 512, 512), TEN, "/d/t.tif", (9000, 2000, 2000), TEN)
WISHES = AdaptWishes("/d", "/d/t.tif")


def check(wishes: AdaptWishes, volumes: Volumes, present: int) -> None:
    check_memory(plan_stages(wishes, volumes, "mito", Path("/w")), volumes, present)


def test_blocks_of_a_large_target_fit_where_all_its_slices_do_not() -> None:
    check(WISHES, VOLUMES, 8_000_000_000)
    with pytest.raises(UsageError) as caught:
        check(replace(WISHES, target_slices=(0, 9000)), VOLUMES, 8_000_000_000)
    # 1.5 GB of program; 5.2 M voxels of 8 bytes; 36 G voxels of 2 bytes; 4 M pixels of 40 x 16 bytes.
    assert str(caught.value) == (
        "this takes about 76.1 GB of memory (0.0 GB for the source, 72.0 GB for what is read of the target, "
        "2.6 GB for a slice in the network) and this machine has 8.0 GB: name fewer with --target-slices "
        "FIRST,STOP"
    )


@pytest.mark.parametrize(
    ("shape", "advice"),
    [
        ((2000, 2000, 2000), "cut a smaller piece out of the labelled source"),
        ((2, 9000, 9000), "cut narrower slices out of the labelled source, or take a smaller --student"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(shape: tuple[int, int, int], advice: str) -> None:
    with pytest.raises(UsageError, match=advice):
        check(WISHES, replace(VOLUMES, source_shape=shape), 16_000_000_000)


def test_columns_of_the_source_count() -> None:
    wide = replace(VOLUMES, source_shape=(2, 9000, 9000))
    check(replace(WISHES, overrides=("data.source.columns=[0, 1000]",)), wide, 16_000_000_000)
