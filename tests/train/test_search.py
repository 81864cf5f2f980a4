"""`dmn search`: grid, folds, plan, tables and the runs themselves."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st

import dmn_train.search.execute
from dmn_runtime.cli import main
from dmn_runtime.errors import DmnError, UsageError
from dmn_train.recipe import PlacedRecipe, load_recipe
from dmn_train.run import load_run
from dmn_train.search.folds import phantom_folds, slice_folds
from dmn_train.search.grid import Axis, Point, parse_axis, points_of
from dmn_train.search.plan import plan_search
from dmn_train.search.table import Result, as_csv, as_markdown, ranked
from dmn_train.sections import PhantomSection

PHANTOM = """
name = "made-up"
[network]
base = 2
levels = 2
[data.source.phantom]
count = 2
shape = [1, 32, 32]
seed = 40
"""


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("optimiser.lr=1e-3, 3e-3", (0.001, 0.003)),
        ("loop.batch=2", (2,)),
        ("augment.flip=true,false", (True, False)),
        ("optimiser.schedule=\"poly\",'step'", ("poly", "step")),
        ("optimiser.schedule=poly, step", ("poly", "step")),
        ("method.mmd.widths=[0.5,1],[1.0]", ((0.5, 1), (1.0,))),
        ("init.run=a b,3", ("a b", 3)),
    ],
)
def test_axes(text: str, values: tuple[Any, ...]) -> None:
    assert parse_axis(text) == Axis(text.partition("=")[0], values)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("loss.dice", "wanted KEY=VALUE,VALUE"),
        ("=1", "wanted KEY=VALUE,VALUE"),
        ("loss..dice=1", "wanted KEY=VALUE,VALUE"),
        ("loss.dice= ", "wanted KEY=VALUE,VALUE"),
        ("loss.dice=1,0,1.0", "the value 1.0 comes twice"),
        ("optimiser.schedule=poly,,step", "wanted numbers, strings"),
        ("init={run = 'a'}", "wanted numbers, strings"),
        ("name=2020-01-01", "wanted numbers, strings"),
        ("validate.slices=[0,1]", "the folds are cut from validate"),
        ("data.source.fraction=0.1", "the folds are cut from data.source"),
        ("data.source=1", "the folds are cut from data.source"),
    ],
)
def test_faults_of_an_axis(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=r"--grid") as caught:
        parse_axis(text)
    assert sentence in str(caught.value)


def test_points_are_the_product() -> None:
    a, b = Axis("a", (1, 2)), Axis("b", ("x", "y"))
    assert [point.settings for point in points_of((a, b))] == [
        (("a", 1), ("b", "x")),
        (("a", 1), ("b", "y")),
        (("a", 2), ("b", "x")),
        (("a", 2), ("b", "y")),
    ]
    assert points_of(()) == (Point(()),)
    with pytest.raises(UsageError, match="names a twice"):
        points_of((a, b, a))


def test_the_names_of_points_are_readable_and_theirs_alone() -> None:
    one = Point((("optimiser.lr", 0.001), ("init.run", "../a/b")))
    assert one.folder_name.startswith("init.run=..-a-b+optimiser.lr=0.001-")
    assert one.folder_name == Point(one.settings[::-1]).folder_name
    assert one.folder_name != Point((("optimiser.lr", 0.001), ("init.run", "..-a-b"))).folder_name
    assert Point(()).folder_name == "recipe"
    assert len(Point((("init.run", "x" * 300),)).folder_name) < 100


def test_overrides_are_read_back(placed: Callable[..., PlacedRecipe]) -> None:
    point = Point((("optimiser.lr", 1e-05), ("optimiser.schedule", "poly"), ("augment.flip", False)))
    recipe = placed(*point.overrides).recipe
    assert (recipe.optimiser.lr, recipe.optimiser.schedule, recipe.augment.flip) == (1e-05, "poly", False)


def test_blocks_of_slices() -> None:
    folds = slice_folds((10, 17), 3)
    assert [fold.held_out for fold in folds] == ["slices 10:12", "slices 12:14", "slices 14:17"]
    assert folds[2].overrides == ("validate.slices=[14, 17]",)
    assert [fold.name for fold in folds] == ["fold0of3", "fold1of3", "fold2of3"]


@given(st.integers(0, 50), st.integers(2, 40), st.integers(2, 12))
def test_every_slice_is_held_out_once(first: int, extent: int, count: int) -> None:
    if extent < count:
        with pytest.raises(UsageError, match="take fewer folds"):
            slice_folds((first, first + extent), count)
        return
    spans = [
        fold.held_out.removeprefix("slices ").split(":")
        for fold in slice_folds((first, first + extent), count)
    ]
    slices = [z for a, b in spans for z in range(int(a), int(b))]
    assert slices == list(range(first, first + extent))
    lengths = [int(b) - int(a) for a, b in spans]
    assert max(lengths) - min(lengths) <= 1


def test_folds_of_phantoms_share_no_seed() -> None:
    folds = phantom_folds(PhantomSection(count=2, seed=40), 3, 2)
    assert [fold.held_out for fold in folds] == ["phantoms 100040:100043", "phantoms 100043:100046"]
    assert folds[1].overrides == ("data.source.phantom.seed=43", "validate.phantoms=3")
    assert phantom_folds(PhantomSection(count=2, seed=40), None, 2)[1].held_out == "phantoms 100042:100044"


@pytest.mark.parametrize(("count", "sentence"), [(1, "wanted 2 or more"), (50_001, "100000 seeds")])
def test_too_few_or_too_many_folds(count: int, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        phantom_folds(PhantomSection(count=2), None, count)


def test_a_plan_goes_through_all_points_before_the_next_fold(folder: Path) -> None:
    plan = plan_search(folder / "recipe.toml", ("loop.steps=2",), (Axis("loss.dice", (0, 1)),), 3)
    assert [(job.placed.recipe.loss.dice, job.fold.held_out) for job in plan.jobs] == [
        (0, "slices 0:2"),
        (1, "slices 0:2"),
        (0, "slices 2:4"),
        (1, "slices 2:4"),
        (0, "slices 4:6"),
        (1, "slices 4:6"),
    ]
    first = plan.jobs[0].placed.recipe
    assert first.validate_ is not None
    assert (first.validate_.slices, first.loop.steps) == ((0, 2), 2)
    assert len({job.folder for job in plan.jobs}) == 6
    assert plan.jobs[0].folder.name == "fold0of3"


def test_folds_stay_inside_the_recipes_slices(folder: Path) -> None:
    plan = plan_search(folder / "recipe.toml", ("data.source.slices=[1,5]",), (), 2)
    assert [fold.held_out for fold in plan.folds] == ["slices 1:3", "slices 3:5"]


def test_a_plan_of_phantoms(tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(PHANTOM)
    plan = plan_search(tmp_path / "r.toml", (), (), 2)
    seeds = [job.placed.recipe.data.source.phantom for job in plan.jobs]
    assert [phantom.seed for phantom in seeds if phantom] == [40, 42]


@pytest.mark.parametrize(
    ("overrides", "axis", "sentence"),
    [
        ((), Axis("optimiser.lrr", (1.0,)), "did you mean optimiser.lr?"),
        ((), Axis("loop.steps", (2, "many")), 'loop.steps is "many"'),
        (("select.rule=held_out",), Axis("loss.dice", (0, 1)), "search with --set select.rule=last"),
        ((), Axis("select.rule", ("last", "held_out")), "search with --set select.rule=last"),
        (("loop.devices=2",), Axis("loss.dice", (0, 1)), "search with --set loop.devices=1"),
        (("data.source.image=no.tif",), Axis("loss.dice", (0, 1)), "no.tif does not exist"),
    ],
)
def test_faults_are_found_before_the_first_step(
    folder: Path, overrides: tuple[str, ...], axis: Axis, sentence: str
) -> None:
    with pytest.raises(DmnError) as caught:
        plan_search(folder / "recipe.toml", overrides, (axis,), 2)
    assert sentence in str(caught.value)


def made_up_results(folder: Path, ious: list[float]) -> tuple[Result, ...]:
    plan = plan_search(folder / "recipe.toml", (), (Axis("loss.dice", (0, 1)),), 2)
    return tuple(Result(job, iou, 1.0) for job, iou in zip(plan.jobs, ious, strict=False))


def test_the_ranked_table(folder: Path) -> None:
    results = made_up_results(folder, [0.5, 0.4, 0.5, 0.8])
    assert as_markdown(ranked(results)) == (
        "| rank | loss.dice | held-out IoU | sd | n |\n"
        "| --- | --- | --- | --- | --- |\n"
        "| 1 | 1 | 0.6000 | 0.2828 | 2 |\n"
        "| 2 | 0 | 0.5000 | 0.0000 | 2 |\n"
    )
    assert as_csv(results[:1]) == (
        "loss.dice,fold,held_out,held_out_iou,wall_s,run\n"
        f"0,fold0of2,slices 0:3,0.500000,1.0,{results[0].job.folder.as_posix()}\n"
    )


def test_points_with_fewer_folds_come_last(folder: Path) -> None:
    results = made_up_results(folder, [0.5, 0.9, 0.5])
    assert [(one.mean, one.sd, one.n) for one in ranked(results)] == [(0.5, 0.0, 2), (0.9, None, 1)]


def search(folder: Path, *words: str) -> int:
    return main(
        ["search", str(folder / "recipe.toml"), "-o", str(folder / "out"), "--set", "loop.steps=2", *words]
    )


def test_a_search_from_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--grid", "optimiser.lr=1e-3,1e-2", "--folds", "2"]
    assert search(folder, *words) == 0
    told = capsys.readouterr()
    table = (folder / "out" / "search.md").read_text()
    assert told.out.startswith(table)
    assert told.out.splitlines()[-1].startswith(
        f"next: dmn train {folder / 'recipe.toml'} --set 'loop.steps=2'"
    )
    assert [line.split()[1] for line in told.err.splitlines()] == ["1/4", "2/4", "3/4", "4/4"]
    rows = [line.split(",") for line in (folder / "out" / "search.csv").read_text().splitlines()]
    assert rows[0] == ["optimiser.lr", "fold", "held_out", "held_out_iou", "wall_s", "run"]
    for lr, fold, held_out, iou, _, place in rows[1:]:
        run = load_run(folder / "out" / place)
        assert run.placed.recipe.optimiser.lr == float(lr)
        assert run.facts["held_out_iou"] == pytest.approx(float(iou), abs=1e-6)
        assert f"slices {run.placed.recipe.validate_.slices[0]}:" in held_out  # type: ignore[union-attr, index]
        assert fold in place


def test_finished_runs_are_not_trained_again(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[str] = []
    most = 3
    real = dmn_train.search.execute.train

    def counted(placed: PlacedRecipe, place: Path, **options: Any) -> object:
        if len(trained) == most:
            raise KeyboardInterrupt
        trained.append(place.name)
        return real(placed, place, **options)

    monkeypatch.setattr(dmn_train.search.execute, "train", counted)
    assert search(folder, "--grid", "optimiser.lr=1e-3,1e-2", "--folds", "2") == 130
    assert trained == ["fold0of2", "fold0of2", "fold1of2"]
    most = 99
    capsys.readouterr()
    assert search(folder, "--folds", "2", "--grid", "optimiser.lr=2e-2,1e-3,1e-2") == 0
    assert trained[3:] == ["fold0of2", "fold1of2", "fold1of2"]
    assert capsys.readouterr().err.count("there already") == 3


def test_an_unfinished_run_is_gone_on_with(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resumed: list[bool] = []
    real = dmn_train.search.execute.train

    def watched(placed: PlacedRecipe, place: Path, *, resume: bool) -> object:
        resumed.append(resume)
        return real(placed, place, resume=resume, tell=stop if len(resumed) == 1 else lambda _: None)

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dmn_train.search.execute, "train", watched)
    assert search(folder, "--folds", "2") == 130
    assert search(folder, "--folds", "2") == 0
    assert resumed == [False, True, False]


def test_runs_of_another_recipe_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(folder, "--folds", "2") == 0
    capsys.readouterr()
    assert search(folder, "--folds", "2", "--set", "loop.batch=2") == 2
    place = folder / "out" / "recipe" / "fold0of2"
    assert capsys.readouterr().err == (
        f"dmn search: {place} holds a run of another recipe: choose another -o, or delete that folder\n"
    )


def test_a_fold_without_foreground_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    mask[4:] = 0
    tifffile.imwrite(folder / "mask.tif", mask)
    assert search(folder, "--folds", "3") == 2
    assert capsys.readouterr().err == (
        "dmn search: slices 4:6 of image.tif, held out by fold2of3, hold no foreground to score on: "
        "take fewer folds\n"
    )
    assert not (folder / "out").exists()


def test_an_output_that_is_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "out").touch()
    assert search(folder, "--folds", "2") == 2
    assert "is a file, wanted a folder for the search" in capsys.readouterr().err


def test_the_recipe_of_the_search_is_the_recipe_of_a_run(folder: Path) -> None:
    plan = plan_search(folder / "recipe.toml", (), (), 2)
    again = load_recipe(folder / "recipe.toml", ("validate.slices=[0,3]",))
    assert plan.jobs[0].placed == again
