"""Every name that a recipe may say has its method, and its options reach it."""

from typing import Any, get_args

import pytest

from dmn_runtime.errors import RecipeError
from dmn_train.methods.adabn import AdaBN
from dmn_train.methods.base import Method
from dmn_train.methods.coral import Coral
from dmn_train.methods.dann import Dann
from dmn_train.methods.dismemnet import Dismemnet
from dmn_train.methods.distil import Distil
from dmn_train.methods.isc import Isc
from dmn_train.methods.mean_teacher import MeanTeacher
from dmn_train.methods.mmd import Mmd
from dmn_train.methods.source_only import SourceOnly
from dmn_train.methods.table import make_method
from dmn_train.methods.ynet import Ynet
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.recipe import Recipe, parse_recipe
from dmn_train.sections import MethodName
from dmn_train.student.teacher_run import TeacherRun

KINDS = {
    "source_only": SourceOnly,
    "adabn": AdaBN,
    "mmd": Mmd,
    "coral": Coral,
    "dann": Dann,
    "ynet": Ynet,
    "isc": Isc,
    "mean_teacher": MeanTeacher,
    "dismemnet": Dismemnet,
    "distil": Distil,
}


def recipe(name: str, options: dict[str, Any] | None = None) -> Recipe:
    method = {"name": name} if options is None else {"name": name, name: options}
    source = {"image": "i.tif", "mask": "m.tif"}
    data = {"source": source, "target": {"image": "t.tif"}}
    values = {"name": "r", "network": {"base": 2, "levels": 2}, "data": data, "method": method}
    return parse_recipe(values, "r")


def test_the_names_are_those_of_the_recipe() -> None:
    assert set(get_args(MethodName)) == set(KINDS)


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_a_recipe_names_it(name: str, kind: type[Method]) -> None:
    options = {"teacher": "t"} if name == "distil" else None
    teacher = TeacherRun(UNet(NetworkSpec(2, 2, 0)), {})
    assert type(make_method(recipe(name, options), 0.1, teacher)) is kind


@pytest.mark.parametrize(
    ("options", "count"), [(None, 3), ({"encoder_levels": 1}, 1), ({"weight": 0.0, "decoder_weight": 1.0}, 2)]
)
def test_options_reach_the_method(options: dict[str, Any] | None, count: int) -> None:
    method = make_method(recipe("dann", options), 0.1)
    assert isinstance(method, Dann)
    assert len(method.discriminators) == count


@pytest.mark.parametrize("name", ["mean_teacher", "dismemnet"])
@pytest.mark.parametrize(
    ("bound", "share"), [(0.2, 0.2), ("1.5x", 0.15), ("2x", 0.2), ("20x", None), (None, None)]
)
def test_a_bound_in_times_of_the_source_reaches_the_method(
    name: str, bound: float | str | None, share: float | None
) -> None:
    options = {} if bound is None else {"labels": {"most_foreground": bound}}
    method = make_method(recipe(name, options), 0.1)
    assert isinstance(method, MeanTeacher | Dismemnet)
    assert (method.ceiling is None) == (share is None)
    if method.ceiling is not None:
        assert method.ceiling.most == pytest.approx(share)


@pytest.mark.parametrize(
    "bound", [0.0, 1.0, 8.0, 8, True, [0.1], "0x", "x", "-1x", "8%", "0.08", "1.5 x", "\u0663x"]
)
def test_what_bounds_nothing_is_refused(bound: object) -> None:
    with pytest.raises(
        RecipeError, match=r'wanted a share above 0 and below 1, or times the source.s, as "1.5x"'
    ):
        recipe("mean_teacher", {"labels": {"most_foreground": bound}})
