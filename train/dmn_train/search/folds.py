"""The folds of a cross-validation: contiguous blocks of the source's slices, or phantoms of other seeds."""

from dataclasses import dataclass
from itertools import pairwise

from dmn_runtime.errors import UsageError
from dmn_runtime.volume.open import open_volume
from dmn_train.recipe import PlacedRecipe
from dmn_train.sections import PhantomSection, SliceRange
from dmn_train.source import VALIDATION_SEED_STEP

LEAST_FOLDS = 2


@dataclass(frozen=True)
class Fold:
    """What one fold holds out.

    Attributes:
        name: "fold0of3", for the run folder.
        held_out: for people, half open: "slices 0:55" or "phantoms 101000:101003".
        overrides: as `load_recipe` takes them.
    """

    name: str
    held_out: str
    overrides: tuple[str, ...]


def source_slices(placed: PlacedRecipe) -> SliceRange:
    """Return the slices of a source of files that a recipe uses, from its keys or the file's header.

    Raises:
        VolumeError: the file cannot be read.
    """
    source = placed.recipe.data.source
    assert source.image is not None
    if source.slices is not None:
        return source.slices
    with open_volume(placed.locate(source.image)) as volume:
        return (0, volume.shape[0])


def slice_folds(slices: SliceRange, count: int) -> tuple[Fold, ...]:
    """Cut slices into `count` contiguous blocks whose lengths differ by 1 at most; each is held out once.

    Blocks, not slices at random: the neighbour of a held-out slice is nearly that slice.

    Raises:
        UsageError: fewer than 2 folds, or fewer slices than folds.
    """
    _check_count(count)
    first, stop = slices
    if stop - first < count:
        raise UsageError(f"--folds is {count}, but the source has {stop - first} slices: take fewer folds")
    edges = [first + (stop - first) * index // count for index in range(count + 1)]
    return tuple(
        Fold(f"fold{index}of{count}", f"slices {a}:{b}", (f"validate.slices=[{a}, {b}]",))
        for index, (a, b) in enumerate(pairwise(edges))
    )


def phantom_folds(section: PhantomSection, held_out: int | None, count: int) -> tuple[Fold, ...]:
    """Give each fold phantoms of seeds of its own, to train on and to hold out.

    Args:
        section: the recipe's phantoms.
        held_out: the recipe's validate.phantoms; None holds out as many as are trained on.
        count: of folds.

    Raises:
        UsageError: fewer than 2 folds, or so many phantoms that a fold trains on what another holds out.
    """
    _check_count(count)
    validated = held_out or section.count
    apart = max(section.count, validated)
    if count * apart > VALIDATION_SEED_STEP:
        raise UsageError(
            f"--folds is {count} with {apart} phantoms each, but there are {VALIDATION_SEED_STEP} seeds in "
            "all: take fewer folds or phantoms"
        )
    folds = []
    for index in range(count):
        seed = section.seed + index * apart
        first = seed + VALIDATION_SEED_STEP
        overrides = (f"data.source.phantom.seed={seed}", f"validate.phantoms={validated}")
        folds.append(Fold(f"fold{index}of{count}", f"phantoms {first}:{first + validated}", overrides))
    return tuple(folds)


def _check_count(count: int) -> None:
    if count < LEAST_FOLDS:
        raise UsageError(f"--folds is {count}, wanted {LEAST_FOLDS} or more")
