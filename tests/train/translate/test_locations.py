"""Places are drawn where they should be, from the given generator alone."""

import torch

from dmn_train.translate.locations import draw_locations, gather


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def likely() -> torch.Tensor:
    """Return a 4 x 5 grid of three likely places, and one without any."""
    grid = torch.zeros(2, 4, 5, dtype=torch.bool)
    grid[0, 1, 2] = grid[0, 1, 3] = grid[0, 3, 4] = True
    return grid


def test_the_first_share_is_likely_and_the_rest_is_anywhere() -> None:
    places = draw_locations(likely(), 400, 0.5, random())
    assert places.shape == (2, 400)
    assert set(places[0, :200].tolist()) == {7, 8, 19}
    assert set(places[0, 200:].tolist()) == set(range(20))
    assert set(places[1, :200].tolist()) == set(range(20))


def test_likely_places_are_drawn_alike() -> None:
    places = draw_locations(likely(), 6000, 0.5, random())
    counts = torch.bincount(places[0, :3000], minlength=20)
    assert all(abs(int(counts[place]) - 1000) < 100 for place in (7, 8, 19))


def test_without_a_share_every_place_is_drawn_anywhere() -> None:
    assert set(draw_locations(likely(), 300, 0.0, random())[0].tolist()) == set(range(20))


def test_half_of_one_place_is_none() -> None:
    drawn = {int(draw_locations(likely(), 1, 0.5, random(seed))[0, 0]) for seed in range(40)}
    assert len(drawn) > 10


def test_the_generator_decides() -> None:
    first, again, other = (draw_locations(likely(), 20, 0.5, random(seed)) for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_numbers_drawn_do_not_depend_on_the_image() -> None:
    one, two = random(), random()
    draw_locations(likely(), 20, 0.5, one)
    draw_locations(~likely(), 20, 0.5, two)
    assert torch.equal(one.get_state(), two.get_state())


def test_vectors_are_those_at_row_times_width_plus_column() -> None:
    feature = torch.arange(2 * 3 * 4 * 5.0).reshape(2, 3, 4, 5)
    vectors = gather(feature, torch.tensor([[7, 0], [19, 19]]))
    assert vectors.shape == (2, 2, 3)
    assert torch.equal(vectors[0, 0], feature[0, :, 1, 2])
    assert torch.equal(vectors[1, 1], feature[1, :, 3, 4])
