"""Numbers in sentences."""

import pytest

from dmn_runtime.words import counted, ordinal


@pytest.mark.parametrize(
    ("count", "words"), [(0, "0 tiles"), (1, "1 tile"), (2, "2 tiles"), (11, "11 tiles"), (101, "101 tiles")]
)
def test_one_is_singular(count: int, words: str) -> None:
    assert counted(count, "tile") == words


@pytest.mark.parametrize(
    ("number", "word"),
    [
        *((0, "0th"), (1, "1st"), (2.0, "2nd"), (3, "3rd"), (4, "4th"), (10, "10th")),
        *((11, "11th"), (12, "12th"), (13, "13th"), (21, "21st"), (99.0, "99th"), (100, "100th")),
        *((0.5, "0.5th"), (1.5, "1.5th"), (99.1, "99.1th")),
    ],
)
def test_ordinals(number: float, word: str) -> None:
    assert ordinal(number) == word
