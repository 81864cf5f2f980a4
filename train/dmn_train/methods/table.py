"""Which file a recipe's method.name means."""

from typing import TypeVar

from dmn_train.foreground_bound import bounded_share
from dmn_train.methods.adabn import AdaBN
from dmn_train.methods.base import Method
from dmn_train.methods.coral import Coral
from dmn_train.methods.dann import Dann
from dmn_train.methods.dismemnet import Dismemnet
from dmn_train.methods.dismemnet_parts.facts import RunFacts
from dmn_train.methods.distil import Distil
from dmn_train.methods.isc import Isc
from dmn_train.methods.mean_teacher import MeanTeacher
from dmn_train.methods.mmd import Mmd
from dmn_train.methods.source_only import SourceOnly
from dmn_train.methods.ynet import Ynet
from dmn_train.recipe import Recipe
from dmn_train.student.teacher_run import TeacherRun

Options = TypeVar("Options")


def make_method(recipe: Recipe, source_share: float, teacher: TeacherRun | None = None) -> Method:
    """Build the method that a recipe names.

    Args:
        recipe: the whole of it.
        source_share: share of the source's labelled voxels that are foreground.
        teacher: of method distil.
    """
    section, loss, spec = recipe.method, recipe.loss, recipe.network.spec
    match section.name:
        case "source_only":
            return SourceOnly(loss)
        case "adabn":
            return AdaBN(loss)
        case "mmd":
            return Mmd(_given(section.mmd), loss, spec)
        case "coral":
            return Coral(_given(section.coral), loss, spec)
        case "dann":
            return Dann(_given(section.dann), loss, spec)
        case "ynet":
            return Ynet(_given(section.ynet), loss, spec)
        case "isc":
            return Isc(_given(section.isc), loss, spec)
        case "mean_teacher":
            taught = _given(section.mean_teacher)
            most = bounded_share(taught.labels.most_foreground, source_share)
            return MeanTeacher(taught, loss, spec, most)
        case "distil":
            return Distil(_given(section.distil), loss, _given(teacher).network)
        case "dismemnet":
            joint = _given(section.dismemnet)
            most = bounded_share(joint.labels.most_foreground, source_share)
            return Dismemnet(joint, loss, spec, _facts(recipe), most)


def _given(options: Options | None) -> Options:
    assert options is not None, "the recipe fills in the options of the named method, find_start its teacher"
    return options


def _facts(recipe: Recipe) -> RunFacts:
    loop = recipe.loop
    return RunFacts(loop.seed, loop.steps, recipe.normalisation.clip, trained_start=recipe.init is not None)
