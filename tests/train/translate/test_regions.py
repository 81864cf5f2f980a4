"""The band, the inside and elsewhere, by hand."""

import torch

from dmn_train.translate.regions import find_regions, on_grid, outline_band


def square() -> torch.Tensor:
    """Return 24 x 24 px with foreground from 6 to 17."""
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., 6:18, 6:18] = 1.0
    return mask


def test_a_row_through_a_square_is_elsewhere_band_inside_band_elsewhere() -> None:
    # The outline are the pixels of either class at the edge: 5 and 6, 17 and 18; the band goes 3 px further.
    row = find_regions(square()).weight[0, 0, 11]
    expected = torch.tensor([0.3] * 2 + [1.0] * 8 + [0.7] * 4 + [1.0] * 8 + [0.3] * 2)
    assert torch.equal(row, expected)


def test_the_band_is_round() -> None:
    mask = torch.zeros(1, 1, 21, 21)
    mask[..., 10, 10] = 1.0
    rows, columns = torch.meshgrid(torch.arange(21) - 10, torch.arange(21) - 10, indexing="ij")
    # The outline is the pixel and its 4 neighbours.
    near = torch.stack(
        [(rows - dy) ** 2 + (columns - dx) ** 2 for dy, dx in ((0, 0), (0, 1), (1, 0), (0, -1), (-1, 0))]
    )
    assert torch.equal(outline_band(mask)[0, 0], near.amin(0) <= 9)


def test_probabilities_count_from_a_half_on() -> None:
    belief = 0.49 + 0.01 * square()
    assert torch.equal(find_regions(belief).weight, find_regions(square()).weight)
    assert torch.equal(find_regions(0.49 * square()).weight, torch.full((1, 1, 24, 24), 0.3))


def test_the_border_to_unlabelled_pixels_is_no_outline() -> None:
    valid = torch.ones(1, 1, 24, 24)
    valid[..., :12] = 0.0
    row = find_regions(square(), valid).weight[0, 0, 11]
    assert torch.equal(row[:14], torch.tensor([0.3] * 12 + [0.7] * 2))
    assert torch.equal(row[14:], torch.tensor([1.0] * 8 + [0.3] * 2))


def test_a_cell_has_the_largest_weight_of_its_pixels() -> None:
    weight = torch.full((1, 1, 8, 8), 0.3)
    weight[0, 0, 5, 2] = 1.0
    weight[0, 0, 0, 7] = 0.7
    assert torch.equal(on_grid(weight, 2, 2), torch.tensor([[[0.3, 0.7], [1.0, 0.3]]]))
    assert torch.equal(on_grid(weight, 8, 8), weight[:, 0])
