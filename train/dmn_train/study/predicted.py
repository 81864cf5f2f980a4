"""What a run's own weights say of a test volume, predicted once for all that is made of it."""

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from dmn_runtime.tiles import grey_threshold
from dmn_train.run import Run
from dmn_train.study.predict import predict
from dmn_train.study.test_volume import TestVolume

Slice = tuple[int, NDArray[np.uint8]]
"""Its z, and its probability, uint8 yx, 255 = certain."""


class Predicted:
    """Probabilities of a finished run's weights on a test volume; predicted when first asked for."""

    def __init__(self, run: Run, test: TestVolume, check: Callable[[], None] = lambda: None) -> None:
        """Predict nothing yet.

        Args:
            run: a finished run.
            test: what it is tested on.
            check: called before and after every slice that is predicted; what it raises ends the prediction.
        """
        self.run = run
        self.test = test
        self.check = check

    @cached_property
    def slices(self) -> dict[int, NDArray[np.uint8]]:
        """Every slice that counts by its z: probability, uint8 yx, 255 = certain."""
        slices = predict(self.run, self.run.network(), self.test, self.test.slices)
        return dict(checked(slices, self.check))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Foreground at the run's threshold, zyx; slices that do not count are background."""
        mask = np.zeros(self.test.image.shape, np.bool_)
        for z, probability in self.slices.items():
            mask[z] = probability >= grey_threshold(self.run.threshold)
        return mask


def checked(slices: Iterator[Slice], check: Callable[[], None]) -> Iterator[Slice]:
    """Yield slices, calling `check` before the first and after each is made."""
    check()
    for one in slices:
        check()
        yield one
