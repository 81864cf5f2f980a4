"""Which dataset of a store."""

import pytest

from dmn_runtime.errors import VolumeError
from dmn_runtime.volume.inner_path import listing, only_volume


def test_the_only_volume() -> None:
    assert only_volume([("mean", (5, 6)), ("raw", (4, 5, 6)), ("slice", (1, 5, 6))], "a.h5") == "raw"


@pytest.mark.parametrize("datasets", [[("a", (5, 6))], [("a", (4, 5, 6)), ("b", (4, 5, 6))]])
def test_no_volume_or_several(datasets: list[tuple[str, tuple[int, ...]]]) -> None:
    with pytest.raises(VolumeError, match=r"^a\.h5 holds .*\(as a\.h5::name\)$"):
        only_volume(datasets, "a.h5")


def test_long_lists_are_cut() -> None:
    text = listing([(f"d{i}", (2, 3)) for i in range(25)])
    assert text.startswith("the datasets d0 (2x3), d1 (2x3), ")
    assert text.endswith("d19 (2x3) and 5 more")
