"""What is still to come of an adaptation and how long that takes, by doing a little of each part of it."""

from dataclasses import dataclass, replace

from dmn_export.adapt.estimate import Expected, expect_export, expect_quality, expect_training
from dmn_export.adapt.plan import Plan, Stage
from dmn_export.adapt.timing import TILE_PX, Seconds, StagePace, forward_s, stage_pace
from dmn_export.adapt.work import StageState
from dmn_runtime.phantom import REGIMES
from dmn_train.material import Material, load_material, unaugmented
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.recipe import PlacedRecipe, Recipe
from dmn_train.source import load_extra

PHANTOMS_DRAWN = len(REGIMES)  # one of each kind: some are slower to draw than others


@dataclass(frozen=True)
class _Loading:
    """Seconds that it takes to read the volumes, and to draw one made-up volume; how many are drawn."""

    read_s: float
    phantom_s: float
    drawn: int


def foresee(plan: Plan, so_far: list[StageState], seconds: Seconds) -> list[Expected]:
    """Return what is left of an adaptation whose package is not there yet; nothing is written.

    Everything that can be wrong with the volumes' contents is found here.

    Args:
        plan: of the stages.
        so_far: how far each is.
        seconds: the clock.

    Raises:
        VolumeError, RecipeError: as `load_material`.
    """
    left = [(stage, state) for stage, state in zip(plan.stages, so_far, strict=True) if not state.finished]
    last = plan.stages[-1].placed.recipe
    adapted = next(stage for stage in plan.stages if stage.name == "adapt").placed.recipe.network.spec
    final_s = forward_s(last.network.spec, seconds)
    judge_s = forward_s(adapted, seconds)
    if left:
        loading, material = _load(plan.stages[-1].placed, seconds)
        expected = _trainings(left, loading, material, adapted, final_s, seconds)
    else:
        begin = seconds()
        unaugmented(plan.stages[-1].placed, 1)
        loading, expected = _Loading(seconds() - begin, 0.0, 0), []
    return [
        *expected,
        expect_export(final_s, loading.read_s),
        expect_quality(judge_s, final_s, loading.read_s),
    ]


def _load(placed: PlacedRecipe, seconds: Seconds) -> tuple[_Loading, Material]:
    """Load what the last stage reads, which is what any stage does, but few of the made-up volumes."""
    few, drawn, phantom_s = placed, 0, 0.0
    extra = placed.recipe.data.extra
    if extra is not None:
        drawn = min(PHANTOMS_DRAWN, extra.count)
        data = placed.recipe.data.model_copy(update={"extra": extra.model_copy(update={"count": drawn})})
        few = replace(placed, recipe=placed.recipe.model_copy(update={"data": data}))
        begin = seconds()
        load_extra(few)  # remembered, so that they are not drawn again below
        phantom_s = (seconds() - begin) / drawn
    begin = seconds()
    material = load_material(few)
    return _Loading(seconds() - begin, phantom_s, drawn), material


def _trainings(
    left: list[tuple[Stage, StageState]],
    loading: _Loading,
    material: Material,
    adapted: NetworkSpec,
    final_s: float,
    seconds: Seconds,
) -> list[Expected]:
    """Return what is left of each stage; a made-up volume is drawn once, by the first stage that wants it."""
    expected, drawn = [], loading.drawn
    for stage, state in left:
        recipe = stage.placed.recipe
        pace = stage_pace(stage, material, adapted, seconds)
        wanted = 0 if recipe.data.extra is None else recipe.data.extra.count
        expected.append(
            expect_training(
                stage.name,
                pace,
                steps=recipe.loop.steps,
                done=state.done,
                validate_every=recipe.loop.validate_every,
                before_s=loading.read_s + max(0, wanted - drawn) * loading.phantom_s,
                after_s=_recalibration_s(recipe, pace, final_s),
            )
        )
        drawn = max(drawn, wanted)
    return expected


def _recalibration_s(recipe: Recipe, pace: StagePace, tile_s: float) -> float:
    """Return how long a student's statistics are taken anew: forward passes of crops, and one look more."""
    options = recipe.method.distil
    if options is None or options.recalibrate_crops == 0:
        return 0.0
    return options.recalibrate_crops * tile_s * (recipe.loop.crop_px / TILE_PX) ** 2 + pace.look_s
