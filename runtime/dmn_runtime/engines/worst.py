"""Draw the tile on which an engine strays most."""

from collections.abc import Callable
from pathlib import Path

from dmn_runtime.certificate.golden import Golden
from dmn_runtime.certificate.worst_tile import core_of, write_worst_tile
from dmn_runtime.engines.examination import Wish, opened, order_for
from dmn_runtime.engines.trial import Trial, probabilities
from dmn_runtime.errors import DmnError, OutputError
from dmn_runtime.package import Package


def draw_worst(
    package: Package, trial: Trial, tiles: Golden, wish: Wish, path: Path, say: Callable[[str], None]
) -> None:
    """Run the worst tile of a trial once more and write a picture of it.

    Args:
        package: that was examined.
        trial: with parity.
        tiles: that it was examined on.
        wish: of the examination.
        path: PNG to write; its folder is made.
        say: takes sentences for people.

    Raises:
        DmnError: the engine cannot be opened any more, or the picture cannot be written.
    """
    assert trial.parity is not None
    worst, halo = trial.parity.worst_tile, package.contract.halo_px
    runner = opened(trial.candidate, order_for(package, trial.candidate, wish, say))
    if isinstance(runner, DmnError):
        raise runner
    try:
        found = probabilities(runner, tiles.tiles[worst : worst + 1], halo)[0, 0]
    finally:
        runner.close()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {path.parent} cannot be made ({error.strerror}): name another for the pictures"
        ) from error
    thresholds = (package.contract.threshold, trial.threshold)
    write_worst_tile(path, core_of(tiles.tiles[worst], halo), tiles.probability[worst, 0], found, thresholds)
