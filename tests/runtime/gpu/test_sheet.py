"""The sheet's words, by hand; every core is written once."""

import numpy as np

from dmn_runtime.geometry import Region
from dmn_runtime.gpu.sheet import Slab, lay_sheets, pitch_of, sheet_words
from dmn_runtime.gpu.slabs import cut_slabs
from dmn_runtime.plan import Footprint, Tile


def test_the_words_by_hand() -> None:
    core = Region((4, 10, 21), (5, 20, 37))
    tile = Tile(core, Region((4, 8, 20), (5, 20, 40)))
    slab = Slab(core, Region((3, 2, 14), (6, 26, 45)), (tile,))
    [sheet] = lay_sheets(slab, (9, 50, 60), Footprint(4, 6, 1), batch=2)
    assert sheet.dtype == np.int32
    assert sheet.tolist() == [
        *(3, 2, 14), *(3, 24, 31), *(9, 50, 60), 32, *(1, 10, 16), 1, 0, 0,
        *(4, 2, 14), *(8, 7), *(10, 16), *(0, 0, 0),
        *([0] * 10),
    ]  # fmt: skip


def test_a_batch_more_for_the_tiles_that_are_left() -> None:
    core = Region((0, 0, 0), (3, 8, 8))
    [slab] = cut_slabs(core, (3, 8, 8), Footprint(4, 4, 0), 12, 3)
    sheets = lay_sheets(slab, (3, 8, 8), Footprint(4, 4, 0), batch=5)
    assert [int(sheet[13]) for sheet in sheets] == [5, 5, 2]
    assert [sheet.size for sheet in sheets] == [sheet_words(5)] * 3
    written = np.zeros((3, 8, 8), int)
    for sheet in sheets:
        for row in sheet[16:].reshape(5, 10)[: sheet[13]]:
            z, y, x = row[7:]
            written[z, y : y + row[5], x : x + row[6]] += 1
    assert (written == 1).all()


def test_rows_begin_on_multiples_of_sixteen() -> None:
    assert [pitch_of(width) for width in (1, 16, 17, 1000)] == [16, 16, 32, 1008]
