"""Which places of an image a bank learns from."""

import torch

from dmn_train.memory.vectors import as_rows, balanced


def test_rows_keep_their_places() -> None:
    vectors = torch.arange(12.0).view(2, 3, 1, 2)
    assert as_rows(vectors).tolist() == [[0, 2, 4], [1, 3, 5], [6, 8, 10], [7, 9, 11]]


def test_each_class_of_each_image_has_at_most_so_many_places() -> None:
    classes = torch.full((2, 1, 20, 20), 3)
    classes[0, 0, :2, :] = 0
    classes[1, 0, 0, :5] = 1
    classes[1, 0, 1, :] = -1
    kept = balanced(classes, 4, most=30)
    assert [[int((image == number).sum()) for number in range(4)] for image in kept] == [
        [30, 0, 0, 30],
        [0, 5, 0, 30],
    ]
    assert ((kept == classes) | (kept == -1)).all()
    assert torch.equal(kept, balanced(classes, 4, most=30))


def test_the_places_are_spread_over_the_image() -> None:
    kept = balanced(torch.zeros(1, 1, 40, 40, dtype=torch.int64), 2, most=64)
    quarters = kept.view(2, 20, 2, 20).eq(0).sum(dim=(1, 3))
    assert quarters.sum() == 64
    assert quarters.min() >= 12
