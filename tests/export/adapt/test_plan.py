"""The stages as recipes: which there are, what each starts from, what they share. Nothing is read."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from dmn_export.adapt.bound import bound_words, parse_bound
from dmn_export.adapt.defaults import (
    ADAPTATION,
    BUDGETS,
    DISTILLATION,
    DRAWN,
    MOST_FOREGROUND,
    PHANTOM_SHAPE,
    PHANTOM_SHARE,
)
from dmn_export.adapt.made_up import phantom_words
from dmn_export.adapt.plan import Plan, Stage, file_name, plan_stages
from dmn_export.adapt.shared_keys import working_nm
from dmn_export.adapt.source_files import SourceFiles
from dmn_export.adapt.volumes import Volumes
from dmn_export.adapt.wishes import AdaptWishes
from dmn_runtime.errors import RecipeError, UsageError
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.recipe import PlacedRecipe, parse_recipe

SOURCE = SourceFiles("/d/image.tif", "/d/mask.tif")
VOLUMES = Volumes(SOURCE, (20, 300, 300), (5.0, 5.0, 5.0), "/d/t.tif", (30, 400, 400), (50.0, 4.6, 4.6))
WISHES = AdaptWishes("/d", "/d/t.tif")


def plan(wishes: AdaptWishes = WISHES, volumes: Volumes = VOLUMES, base: Any = None) -> Plan:
    return plan_stages(wishes, volumes, "mito", Path("/w"), base)


def run_of(spec: NetworkSpec, slices: list[int] | None = None, image: str = "/d/image.tif") -> Any:
    values: dict[str, Any] = {
        "name": "r",
        "working_voxel_nm": 8.0,
        "class_name": "vesicle",
        "network": {"base": spec.base, "levels": spec.levels, "context_slices": spec.context_slices},
        "data": {"source": {"image": image, "mask": "/d/mask.tif", "voxel_nm": [5.0, 5.0, 5.0]}},
        "normalisation": {"clip": 3.0},
    }
    if slices:
        values["validate"] = {"slices": slices}
    placed = PlacedRecipe(parse_recipe(values, "r"), Path("/r"))
    return SimpleNamespace(spec=spec, placed=placed, class_name="vesicle")


def test_by_default_a_base_run_is_adapted_and_nothing_is_distilled() -> None:
    made = plan()
    assert [stage.name for stage in made.stages] == ["base", "adapt"]
    assert (made.adapted, made.final, made.distils) == (Path("/w/adapt"), Path("/w/adapt"), False)
    base, adapt = (stage.placed.recipe for stage in made.stages)
    assert (base.method.name, base.data.target, base.init) == ("source_only", (), None)
    assert adapt.method.name == ADAPTATION["name"]
    assert adapt.init is not None
    assert made.stages[1].placed.locate(adapt.init.run) == "/w/base"
    assert [target.image for target in adapt.data.target] == ["/d/t.tif"]
    assert adapt.data.target[0].voxel_nm == (50.0, 4.6, 4.6)
    assert base.network.spec == adapt.network.spec == NetworkSpec(16, 3, 0)
    assert base.working_voxel_nm == adapt.working_voxel_nm == 10.0
    assert (base.name, adapt.name) == ("mito-base", "mito")


def test_a_small_student_is_taught_by_the_adapted_network() -> None:
    made = plan(replace(WISHES, student="s8"))
    assert [stage.name for stage in made.stages] == ["base", "adapt", "distil"]
    assert (made.adapted, made.final, made.distils) == (Path("/w/adapt"), Path("/w/distil"), True)
    base, adapt, distil = (stage.placed.recipe for stage in made.stages)
    assert [one.network.spec.base for one in (base, adapt, distil)] == [16, 16, 8]
    assert distil.method.distil is not None
    assert made.stages[2].placed.locate(distil.method.distil.teacher) == "/w/adapt"
    assert (distil.init, adapt.name, distil.name) == (None, "mito-adapted", "mito")
    assert distil.method.distil.views == DISTILLATION["views"]


@pytest.mark.parametrize(
    ("phantoms", "statistics", "recalibrated"), [(True, "shared", 0), (False, "own", 256)]
)
def test_a_source_of_many_kinds_shares_statistics_with_the_target(
    phantoms: bool, statistics: str, recalibrated: int
) -> None:
    wishes = replace(WISHES, student="s8", phantoms=phantoms)
    base, adapt, distil = (stage.placed.recipe.method for stage in plan(wishes).stages)
    assert (base.statistics, adapt.statistics, distil.statistics) == ("own", statistics, statistics)
    assert distil.distil is not None
    assert distil.distil.recalibrate_crops == recalibrated


def test_a_large_student_is_adapted_itself() -> None:
    made = plan(replace(WISHES, student="s32"))
    assert [stage.placed.recipe.network.spec.base for stage in made.stages] == [32, 32]


@pytest.mark.parametrize("budget", BUDGETS)
def test_a_budget_is_steps(budget: Any) -> None:
    stages = plan(replace(WISHES, budget=budget, student="s8")).stages
    found = [
        (s.placed.recipe.loop.steps, s.placed.recipe.loop.batch, s.placed.recipe.optimiser.lr) for s in stages
    ]
    spent = [BUDGETS[budget].base, BUDGETS[budget].adapt, BUDGETS[budget].distil]
    assert found == [(one.steps, one.batch, one.lr) for one in spent]


def test_a_run_to_begin_from_takes_the_first_stages_place() -> None:
    wishes = replace(WISHES, init=Path("/r/run"))
    made = plan(wishes, base=run_of(NetworkSpec(16, 3, 1), slices=[10, 14]))
    (adapt,) = made.stages
    recipe = adapt.placed.recipe
    assert recipe.init is not None
    assert adapt.placed.locate(recipe.init.run) == "/r/run"
    assert (recipe.network.spec, recipe.working_voxel_nm) == (NetworkSpec(16, 3, 1), 8.0)
    assert (recipe.normalisation.clip, recipe.class_name) == (3.0, "vesicle")
    assert recipe.validate_ is not None
    assert recipe.validate_.slices == (10, 14)
    other = plan(wishes, base=run_of(NetworkSpec(16, 3, 1), slices=[10, 14], image="/other/image.tif"))
    assert other.stages[0].placed.recipe.validate_ is None


def test_a_student_of_such_a_run_has_its_levels_and_slices() -> None:
    wishes = replace(WISHES, init=Path("/r/run"), student="s8")
    made = plan(wishes, base=run_of(NetworkSpec(32, 2, 1)))
    assert [s.placed.recipe.network.spec for s in made.stages] == [
        NetworkSpec(32, 2, 1),
        NetworkSpec(8, 2, 1),
    ]
    with pytest.raises(UsageError, match=r"--student is larger .base 8. than the network of --init"):
        plan(wishes, base=run_of(NetworkSpec(4, 2, 1)))


@pytest.mark.parametrize(("count", "held_out"), [(9, None), (10, (9, 10)), (25, (23, 25)), (200, (192, 200))])
def test_the_last_slices_of_the_source_are_held_out(count: int, held_out: tuple[int, int] | None) -> None:
    made = plan(volumes=replace(VOLUMES, source_shape=(count, 300, 300)))
    validate = made.stages[0].placed.recipe.validate_
    assert (None if validate is None else validate.slices) == held_out


@pytest.mark.parametrize(
    ("source", "target", "working"), [(5.0, 4.6, 10.0), (5.0, 16.0, 16.0), (20.0, 4.0, 20.0)]
)
def test_the_network_works_at_10_nm_or_the_coarser_volume(
    source: float, target: float, working: float
) -> None:
    made = replace(VOLUMES, source_nm=(50.0, source, source), target_nm=(99.0, target, target))
    assert working_nm(made) == working


def test_overrides_are_laid_over_every_stage() -> None:
    made = plan(replace(WISHES, student="s8", seed=3, overrides=("loop.batch=2",)))
    assert {(s.placed.recipe.loop.batch, s.placed.recipe.loop.seed) for s in made.stages} == {(2, 3)}
    with pytest.raises(RecipeError, match=r"the recipe of stage base: unknown key loop\.bath"):
        plan(replace(WISHES, overrides=("loop.bath=2",)))


def stage_values(key: str, *overrides: str) -> list[object]:
    """Return a key's value in the recipes of base, adapt and distil; None where there is no such table."""

    def value(stage: Stage) -> object:
        found: Any = stage.placed.recipe.as_json()
        for part in key.split("."):
            found = None if found is None else found[part]
        return found

    return [value(stage) for stage in plan(replace(WISHES, student="s8", overrides=overrides)).stages]


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("method.dismemnet.memory.kind=none", [None, "none", None]),
        ("method.dismemnet.labels.keep=0.25", [None, 0.25, None]),
        ("method.name=mean_teacher", ["source_only", "mean_teacher", "distil"]),
        ("method.distil.views=4", [None, None, 4]),
        ("method.statistics=own", ["own", "own", "own"]),
        ("method.histogram_matching=0.5", [0.0, 0.5, 0.5]),
        ("select.rule=entropy", ["last", "entropy", "entropy"]),
        ("select.rule=held_out", ["held_out"] * 3),
        ("select.keep=2", [2, 2, 2]),
        ("select.target_slices=3", [6, 3, 3]),
        ("select.most_foreground=0.25", [None, 0.25, 0.25]),
        ("optimiser.lr=0.25", [0.25] * 3),
    ],
)
def test_an_override_is_laid_where_the_recipe_can_have_it(override: str, expected: list[object]) -> None:
    assert stage_values(override.partition("=")[0], override) == expected


def test_patience_goes_with_the_rule_that_it_needs() -> None:
    assert stage_values("select.patience", "select.rule=solidity", "select.patience=3") == [0, 3, 3]
    assert stage_values("select.patience", "select.patience=3", "select.rule=held_out") == [3, 3, 3]


def test_tables_go_where_their_keys_go() -> None:
    assert stage_values("select.rule", 'select={rule="entropy", keep=2}') == ["last", "entropy", "entropy"]
    assert stage_values("method.name", 'method={name="dann"}') == ["source_only", "dann", "distil"]


@pytest.mark.parametrize(
    ("phantoms", "said", "recalibrated"), [(True, "own", 256), (False, "shared", 0), (False, "own", 256)]
)
def test_statistics_that_are_wished_for_decide_what_is_taken_anew(
    phantoms: bool, said: str, recalibrated: int
) -> None:
    wishes = replace(WISHES, student="s8", phantoms=phantoms, overrides=(f"method.statistics={said}",))
    _, adapt, distil = (stage.placed.recipe.method for stage in plan(wishes).stages)
    assert (adapt.statistics, distil.statistics) == (said, said)
    assert distil.distil is not None
    assert distil.distil.recalibrate_crops == recalibrated


def test_a_table_for_what_adapts_says_nothing_of_the_students_statistics() -> None:
    table = 'method={name="mean_teacher",statistics="own"}'
    wishes = replace(WISHES, student="s8", phantoms=True, overrides=(table,))
    _, adapt, distil = (stage.placed.recipe.method for stage in plan(wishes).stages)
    assert (adapt.statistics, distil.statistics) == ("own", "shared")
    assert distil.distil is not None
    assert distil.distil.recalibrate_crops == 0


def test_a_method_of_new_statistics_alone_has_them_from_the_target() -> None:
    for phantoms in (True, False):
        wishes = replace(WISHES, phantoms=phantoms, overrides=("method.name=adabn",))
        method = plan(wishes).stages[1].placed.recipe.method
        assert (method.name, method.statistics) == ("adabn", "own")


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "method.distil.views=8",
            "--set method.distil.views=8 is for the teaching of a student, and none is",
        ),
        ("method.name=distil", "--set method.name=distil: a student is taught by a stage of its own"),
        (
            "method.dismemnet.labels.kep=1",
            "the recipe of stage adapt: unknown key method.dismemnet.labels.kep",
        ),
        ("method.distil", "--set got 'method.distil', wanted KEY=VALUE"),
        ("init.run=other", "--set init.run=other names a volume or a run: say it with --source, --target or"),
        ("data.source.mask=/d/truth.tif", "--set data.source.mask=/d/truth.tif names a volume or a run"),
        ('data.source={image="t.tif"}', "names a volume or a run: say it with --source, --target or --init"),
        ("data.target.image=other.tif", "--set data.target.image=other.tif names a volume or a run"),
        ("method.distil.teacher=other", "--set method.distil.teacher=other names a volume or a run"),
    ],
)
def test_an_override_that_no_stage_can_have_is_refused(override: str, sentence: str) -> None:
    with pytest.raises(RecipeError) as caught:
        plan(replace(WISHES, overrides=(override,)))
    assert sentence in str(caught.value)


def test_a_valid_mask_goes_along() -> None:
    files = replace(VOLUMES.source, valid="/d/valid.tif")
    recipe = plan(volumes=replace(VOLUMES, source=files)).stages[1].placed.recipe
    assert recipe.data.source.valid == "/d/valid.tif"


@pytest.mark.parametrize(("name", "file"), [("mito", "mito"), ("_my mito", "my-mito"), ("é", "adapted")])
def test_any_package_names_its_runs(name: str, file: str) -> None:
    assert file_name(name) == file


def extras(wishes: AdaptWishes, volumes: Volumes = VOLUMES, base: Any = None) -> list[int]:
    """Return how many made-up volumes each stage draws."""
    recipes = [stage.placed.recipe for stage in plan(wishes, volumes, base).stages]
    return [0 if recipe.data.extra is None else recipe.data.extra.count for recipe in recipes]


def test_most_crops_are_made_up_and_adapted_ones_lie_anywhere() -> None:
    for stage in plan(replace(WISHES, student="s8")).stages:
        recipe, drawn = stage.placed.recipe, DRAWN[stage.name]
        assert recipe.data.extra is not None
        assert (recipe.data.extra.count, recipe.data.extra.shape) == (drawn.phantoms, PHANTOM_SHAPE)
        assert recipe.loop.extra_share == PHANTOM_SHARE
        assert recipe.loop.foreground_share == drawn.foreground_share
    assert [DRAWN[name].foreground_share for name in ("base", "adapt", "distil")] == [0.5, 0.0, 0.0]


@pytest.mark.parametrize(
    ("overrides", "nm"), [((), 16.0), (("working_voxel_nm=8",), 8.0), (("data.extra.voxel_nm=7.0",), 7.0)]
)
def test_made_up_volumes_lie_on_the_working_grid(overrides: tuple[str, ...], nm: float) -> None:
    coarse = replace(VOLUMES, target_nm=(50.0, 16.0, 16.0))
    recipe = plan(replace(WISHES, overrides=overrides), coarse).stages[0].placed.recipe
    assert recipe.data.extra is not None
    assert recipe.data.extra.voxel_nm == nm


@pytest.mark.parametrize(
    ("keys", "counts", "words"),
    [
        ({}, [80, 24], "the class is mitochondrion: 80% of the crops to learn from are of made-up volumes"),
        ({"phantoms": False}, [0, 0], "the class is mitochondrion: no made-up volumes"),
        ({"class_name": "synapse"}, [0, 0], "the class is synapse: no made-up volumes, since these hold"),
        ({"overrides": ("class_name=synapse",)}, [0, 0], "the class is synapse: no made-up volumes, since"),
        ({"class_name": "mito", "phantoms": True}, [80, 24], "the class is mito: 80% of the crops to learn"),
    ],
)
def test_made_up_volumes_are_for_the_class_that_they_hold(
    keys: dict[str, Any], counts: list[int], words: str
) -> None:
    wishes = replace(WISHES, **keys)
    assert extras(wishes) == counts
    assert phantom_words(plan(wishes).stages[0].placed.recipe, wishes.phantoms).startswith(words)


def test_the_class_of_a_run_to_begin_from_decides() -> None:
    wishes, run = replace(WISHES, init=Path("/r/run")), run_of(NetworkSpec(16, 3, 1))
    assert extras(wishes, base=run) == [0]
    assert extras(replace(wishes, class_name="vesicle", phantoms=True), base=run) == [24]
    with pytest.raises(UsageError, match="--class synapse is not what --init /r/run finds, vesicle"):
        plan(replace(wishes, class_name="synapse"), base=run)


def test_of_a_large_target_parts_are_named() -> None:
    large = replace(VOLUMES, target_shape=(9000, 4096, 4096))
    first, *_, last = plan(volumes=large).stages[1].placed.recipe.data.target
    assert (first.image, first.slices, first.columns) == ("/d/t.tif", (0, 8), None)
    assert (last.slices, last.columns) == ((8992, 9000), None)
    few = plan(replace(WISHES, target_slices=(3, 9))).stages[1].placed.recipe.data.target
    assert [(one.slices, one.columns) for one in few] == [((3, 9), None)]


def bounds(wishes: AdaptWishes) -> list[object]:
    base, adapt, distil = (stage.placed.recipe for stage in plan(wishes).stages)
    assert adapt.method.dismemnet is not None
    labels = adapt.method.dismemnet.labels.most_foreground
    return [labels, *(one.select.most_foreground for one in (base, adapt, distil))]


def test_labels_and_thresholds_are_bounded() -> None:
    wishes = replace(WISHES, student="s8")
    assert bounds(wishes) == [MOST_FOREGROUND, None, MOST_FOREGROUND, MOST_FOREGROUND]
    assert bounds(replace(wishes, most_foreground=0.08)) == [0.08, None, 0.08, 0.08]
    assert bounds(replace(wishes, most_foreground=None)) == [None] * 4


def test_of_another_method_the_threshold_alone_is_bounded() -> None:
    begun = replace(WISHES, init=Path("/r/run"))
    for wishes, base in ((WISHES, None), (begun, run_of(NetworkSpec(16, 3, 0)))):
        wished = replace(wishes, overrides=('method.name="dann"',))
        adapt = plan(wished, base=base).stages[-1].placed.recipe
        assert (adapt.method.name, adapt.select.most_foreground) == ("dann", MOST_FOREGROUND)
        wished = replace(wishes, overrides=("method.name=mean_teacher",))
        adapt = plan(wished, base=base).stages[-1].placed.recipe
        assert adapt.method.mean_teacher is not None
        assert adapt.method.mean_teacher.labels.most_foreground == MOST_FOREGROUND


@pytest.mark.parametrize(("text", "bound"), [("0.08", 0.08), ("2x", "2x"), ("none", None), ("8%", "8%")])
def test_what_a_user_may_say_of_the_bound(text: str, bound: object) -> None:
    assert parse_bound(text) == bound


def test_a_bound_that_nobody_asked_for_is_told() -> None:
    words = bound_words(plan().stages[-1].placed.recipe)
    assert words is not None
    assert words.startswith("at most 1.5 times the source's share of foreground is looked for in the target")
    for bound in (0.08, None):
        assert bound_words(plan(replace(WISHES, most_foreground=bound)).stages[-1].placed.recipe) is None


@pytest.mark.parametrize("override", ["method=dann", "method=3"])
def test_a_method_that_is_no_table_is_refused(override: str) -> None:
    with pytest.raises(RecipeError, match=r"method is .*, wanted"):
        plan(replace(WISHES, overrides=(override,)))


def test_a_working_size_that_is_none_is_refused() -> None:
    for value in ("-1.0", "coarse"):
        with pytest.raises(RecipeError, match="working_voxel_nm"):
            plan(replace(WISHES, overrides=(f"working_voxel_nm={value}",)))
