"""Recipes: what is read, and one sentence for each thing that can be wrong."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dmn_runtime.errors import RecipeError
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.recipe import PlacedRecipe, load_recipe, parse_recipe

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
GOOD: dict[str, Any] = {
    "name": "good",
    "network": {"name": "s8"},
    "data": {"source": {"image": "i.tif", "mask": "m.tif", "voxel_nm": [5, 5, 5]}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    values = copy.deepcopy(GOOD)
    *sections, key = path.split(".")
    table = values
    for section in sections:
        table = table.setdefault(section, {})
    table[key] = value
    return values


def test_defaults_are_filled_in_and_read_back() -> None:
    recipe = parse_recipe(GOOD, "r")
    assert recipe.network.spec == NetworkSpec(base=8, levels=3, context_slices=0)
    assert recipe.data.source.voxel_nm == (5.0, 5.0, 5.0)
    assert (recipe.loop.steps, recipe.loop.batch, recipe.optimiser.schedule) == (2000, 8, "cosine")
    assert recipe.class_name == "mitochondrion"
    assert parse_recipe(recipe.as_json(), "r") == recipe


@pytest.mark.parametrize("name", ["x", "synaptic vesicle", "Zellkern µ", "x" * 60])
def test_the_class_may_be_called_anything_short(name: str) -> None:
    assert parse_recipe(changed("class_name", name), "r").class_name == name


def test_a_named_network_takes_context_slices() -> None:
    recipe = parse_recipe(changed("network", {"name": "s16", "context_slices": 1}), "r")
    assert recipe.network.spec == NetworkSpec(base=16, levels=3, context_slices=1)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        ("loop.stpes", 3, "r: unknown key loop.stpes; did you mean loop.steps?"),
        ("lop", {}, "r: unknown key lop; did you mean loop?"),
        ("data.source.imgae", "x", "r: unknown key data.source.imgae; did you mean data.source.image?"),
        ("validate.slics", [1, 2], "r: unknown key validate.slics; did you mean validate.slices?"),
        ("log.zzz", 1, "r: unknown key log.zzz; known here: every, overlays, tensorboard"),
        ("loop.steps", "3", 'r: loop.steps is "3", wanted a valid integer'),
        ("loop.steps", 2.5, "r: loop.steps is 2.5, wanted a valid integer"),
        ("loop.steps", 0, "r: loop.steps is 0, wanted greater than or equal to 1"),
        ("loop", 3, "r: loop is 3, wanted an object"),
        ("loop.crop_px", 100, "r: loop.crop_px is 100, wanted a multiple of 8 for 3 levels"),
        ("loop.device", "tpu", "r: loop.device is \"tpu\", wanted 'auto', 'cpu' or 'cuda'"),
        ("optimiser.lr", float("nan"), "r: optimiser.lr is NaN, wanted a finite number"),
        ("optimiser.lr", -1, "r: optimiser.lr is -1, wanted greater than 0"),
        ("network.name", "s9", "r: network.name is \"s9\", wanted 's8', 's16' or 's32'"),
        ("network.base", 4, "r: network: wanted either name or both base and levels"),
        ("network", {"base": 4}, "r: network: wanted either name or both base and levels"),
        ("network", {}, "r: network: wanted either name or both base and levels"),
        ("data.source.voxel_nm", [5, 5], "r: data.source.voxel_nm.2 is missing, add it"),
        ("data.source.voxel_nm", [5, 5, 0], "r: data.source.voxel_nm.2 is 0, wanted greater than 0"),
        ("data.source", {"image": "i"}, "r: data.source: wanted both image and mask, or phantom"),
        ("data.source.phantom", {}, "r: data.source: phantom stands alone: remove the keys beside it"),
        ("data.source.slices", [4, 4], "r: data.source: slices must be [first, one past the last]"),
        ("data", {}, "r: data.source is missing, add it"),
        ("validate", {}, "r: validate: wanted either slices or phantoms"),
        ("validate.slices", [3, 1], "r: validate: slices must be [first, one past the last]"),
        (
            "validate.phantoms",
            2,
            "r: validate must hold phantoms for a phantom source and slices for any other",
        ),
        (
            "method.name",
            "magic",
            "r: method.name is \"magic\", wanted 'source_only', 'adabn', 'mmd', 'coral', 'dann', 'ynet', "
            "'isc', 'mean_teacher', 'dismemnet' or 'distil'",
        ),
        (
            "method.histogram_matching",
            0.5,
            "r: method.histogram_matching needs data.target: name the volume, or change that key",
        ),
        (
            "method.statistics",
            "shared",
            'r: method: method source_only has no shared statistics: set statistics to "own"',
        ),
        ("augment.warp", 1.5, "r: augment.warp is 1.5, wanted less than or equal to 1"),
        ("name", "a b", "r: name: 'a b' names no file, wanted letters, digits, dots, dashes and underscores"),
        *(
            (
                "class_name",
                name,
                f"r: class_name: {name!r} names no class, wanted 1 to 60 printable characters without spaces "
                "around them",
            )
            for name in ("", " ", "cell ", "a\nb", "x" * 61)
        ),
        ("class_name", 3, "r: class_name is 3, wanted a valid string"),
    ],
)
def test_one_sentence_for_each_fault(path: str, value: Any, sentence: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(changed(path, value), "r")
    assert str(caught.value) == sentence


def test_a_missing_file_and_bad_toml(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    with pytest.raises(RecipeError, match=r"r\.toml cannot be read \(No such file or directory\)"):
        load_recipe(path)
    path.write_text("[loop\n")
    with pytest.raises(RecipeError, match=r"r\.toml is not TOML: "):
        load_recipe(path)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match=r"r\.toml cannot be read \(not UTF-8 text\)"):
        load_recipe(path)


def test_overrides_are_toml_values_or_bare_words(placed: Callable[..., PlacedRecipe]) -> None:
    recipe = placed(
        "loop.steps=9", "optimiser.schedule=poly", 'description = "a b"', "log.tensorboard=true"
    ).recipe
    assert (recipe.loop.steps, recipe.optimiser.schedule) == (9, "poly")
    assert (recipe.description, recipe.log.tensorboard) == ("a b", True)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("loop.steps", "--set got 'loop.steps', wanted KEY=VALUE as in --set loop.steps=100"),
        ("loop..steps=1", "--set got 'loop..steps=1', wanted KEY=VALUE as in --set loop.steps=100"),
        ("name.x=1", "--set name.x=1: name is a value, not a section"),
    ],
)
def test_overrides_that_make_no_sense(
    placed: Callable[..., PlacedRecipe], override: str, sentence: str
) -> None:
    with pytest.raises(RecipeError) as caught:
        placed(override)
    assert str(caught.value) == sentence


def test_paths_start_at_the_recipe_and_keep_their_dataset(
    placed: Callable[..., PlacedRecipe], folder: Path
) -> None:
    assert placed().locate("../a.h5::raw/b") == str(folder.parent / "a.h5::raw" / "b")
    assert placed().locate("/data/x.tif") == "/data/x.tif"


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_the_recipes_of_the_repository_are_valid(path: Path) -> None:
    assert load_recipe(path).recipe.name


ADAPTS = {"data": {**GOOD["data"], "target": {"image": "t.tif"}}}


def adapting(**sections: Any) -> dict[str, Any]:
    return {**copy.deepcopy(GOOD), **copy.deepcopy(ADAPTS), **sections}


@pytest.mark.parametrize(
    "name", ["adabn", "mmd", "coral", "dann", "ynet", "isc", "mean_teacher", "dismemnet"]
)
def test_a_method_that_adapts_wants_a_target(name: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(changed("method.name", name), "r")
    assert str(caught.value) == "r: method.name needs data.target: name the volume, or change that key"
    assert parse_recipe(adapting(method={"name": name}), "r").method.name == name


def test_a_missing_table_of_options_is_filled_in_and_read_back() -> None:
    recipe = parse_recipe(adapting(method={"name": "dann", "dann": {"encoder_levels": 1}}), "r")
    assert recipe.method.dann is not None
    assert (recipe.method.dann.encoder_levels, recipe.method.mmd) == (1, None)
    bare = parse_recipe(adapting(method={"name": "mmd"}), "r")
    assert bare.method.mmd is not None
    assert parse_recipe(bare.as_json(), "r") == bare
    assert parse_recipe(recipe.as_json(), "r") == recipe


def test_one_target_or_several() -> None:
    assert [one.image for one in parse_recipe(adapting(), "r").data.target] == ["t.tif"]
    several = changed("data.target", [{"image": "t.tif"}, {"image": "u.tif", "slices": [0, 4]}])
    assert [one.image for one in parse_recipe(several, "r").data.target] == ["t.tif", "u.tif"]


@pytest.mark.parametrize(
    ("sections", "sentence"),
    [
        (
            {"method": {"name": "mmd", "dann": {}}},
            "r: method: [method.dann] has no meaning for method mmd: remove it",
        ),
        (
            {"method": {"name": "mmd", "mmd": {"widhts": [1.0]}}},
            "r: unknown key method.mmd.widhts; did you mean method.mmd.widths?",
        ),
        (
            {"method": {"name": "mmd", "mmd": {"rise": 0.5}}},
            "r: method.mmd.rise is 0.5, wanted greater than or equal to 1",
        ),
        (
            {"method": {"name": "dann", "dann": {"weight": -1.0}}},
            "r: method.dann.weight is -1.0, wanted greater than or equal to 0",
        ),
        (
            {"method": {"name": "mean_teacher", "mean_teacher": {"views": {"hidden_share": 0.0}}}},
            "r: method.mean_teacher: views changes nothing, so the masked view is the strong one again: set "
            "masked_weight to 0, or change views.hidden_share, views.hole_px or views.mix",
        ),
        (
            {"method": {"name": "mean_teacher", "mean_teacher": {"dann": {}}}},
            'r: method.mean_teacher: dann has no meaning without align = "dann": remove it, or set align',
        ),
        (
            {"method": {"name": "isc", "isc": {"dann": {}}}},
            'r: method.isc: dann has no meaning without align = "dann": remove it, or set align',
        ),
        (
            {"method": {"name": "isc", "isc": {"gap_nm": 0.0}}},
            "r: method.isc.gap_nm is 0.0, wanted greater than 0",
        ),
        (
            {"method": {"name": "mean_teacher", "mean_teacher": {"teacher": {"decai": 0.9}}}},
            "r: unknown key method.mean_teacher.teacher.decai; did you mean "
            "method.mean_teacher.teacher.decay?",
        ),
        (
            {
                "method": {
                    "name": "dismemnet",
                    "dismemnet": {"stages": {"translation": 0.5, "bank": 0.5}},
                }
            },
            "r: method.dismemnet.stages: translation and bank take the whole run: let their sum be below 1",
        ),
        (
            {"method": {"name": "dismemnet", "dismemnet": {"translation": {"until": 0.2}}}},
            "r: method.dismemnet: translation.until lies before the end of stages.translation: let the "
            "generator learn at least to the end of its stage",
        ),
        (
            {"data": {**GOOD["data"], "target": {"image": "t.tif", "mask": "m.tif"}}},
            "r: unknown key data.target.0.mask; known here: image, voxel_nm, slices, columns",
        ),
        (
            {"data": {**GOOD["data"], "target": {"image": "t.tif", "columns": [4, 4]}}},
            "r: data.target.0: columns must be [first, one past the last]",
        ),
        (
            {"select": {"rule": "held_out"}},
            'r: select.rule "held_out" needs a [validate] section: add it, or change the rule',
        ),
        (
            {"select": {"patience": 3}},
            'r: select: patience needs a score: set rule to "held_out", "solidity" or "entropy"',
        ),
        (
            {"loss": {"cross_entropy": 0.0, "dice": 0.0}},
            "r: loss: every term of the loss has weight 0: give one of them a weight",
        ),
        ({"init": {}}, "r: init.run is missing, add it"),
    ],
)
def test_one_sentence_for_each_fault_of_an_adaptation(sections: dict[str, Any], sentence: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(adapting(**sections), "r")
    assert str(caught.value) == sentence


@pytest.mark.parametrize("rule", ["solidity", "entropy"])
def test_a_rule_that_looks_at_the_target_wants_one(rule: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(changed("select.rule", rule), "r")
    assert str(caught.value) == "r: select.rule needs data.target: name the volume, or change that key"


@pytest.mark.parametrize(("key", "value"), [("data.extra", {}), ("loop.extra_share", 0.5)])
def test_made_up_volumes_and_their_share_go_together(key: str, value: Any) -> None:
    with pytest.raises(RecipeError, match=r"data\.extra and loop\.extra_share go together"):
        parse_recipe(changed(key, value), "r")
