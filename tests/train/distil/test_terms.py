"""The terms of the distillation together, and each left out."""

from dataclasses import replace

import pytest
import torch

from dmn_runtime.errors import RecipeError
from dmn_train.distil.options import DistilSpec, check_distillation
from dmn_train.distil.terms import Distillation
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import Features, UNet

SPEC = NetworkSpec(base=2, levels=2, context_slices=0)


def features(seed: int) -> Features:
    torch.manual_seed(seed)
    return UNet(SPEC).forward_features(torch.randn(2, 1, 8, 8))


@pytest.mark.parametrize(
    ("weights", "terms"),
    [
        ({}, {"distil_output", "distil_attention", "distil_side"}),
        ({"attention": 0.0}, {"distil_output", "distil_side"}),
        ({"attention": 0.0, "side": 0.0}, {"distil_output"}),
        ({"output": 0.0, "attention": 0.0, "side": 0.0}, set()),
    ],
)
def test_terms_of_weight_zero_are_left_out(weights: dict[str, float], terms: set[str]) -> None:
    spec = replace(DistilSpec(output=0.5, attention=2.0, side=3.0), **weights)
    distillation = Distillation(spec, SPEC)
    labels = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    teacher = features(2) if spec.attention else None
    got = distillation(features(1), labels, torch.ones_like(labels), teacher)
    assert set(got) == {"distil", *terms}
    expected = sum(getattr(spec, name.removeprefix("distil_")) * got[name] for name in terms)
    torch.testing.assert_close(got["distil"], torch.as_tensor(expected, dtype=torch.float32))
    assert bool(list(distillation.parameters())) == (spec.side > 0)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"side": -1.0}, "weight -1: give 0 or more"),
        ({"attention_levels": (0.5, -0.5, 0.0)}, "weight -0.5: give 0 or more"),
        ({"temperature": 0.0}, "temperature 0: give more than 0"),
        ({"attention_levels": (0.0, 0.0, 0.0)}, "attention maps at no level"),
    ],
)
def test_settings_that_make_no_sense_are_refused(keys: dict[str, float], told: str) -> None:
    check_distillation(DistilSpec())
    with pytest.raises(RecipeError, match=told):
        check_distillation(replace(DistilSpec(), **keys))
