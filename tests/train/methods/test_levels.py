"""Weights of the aligned levels and the ramp, against literal numbers."""

from itertools import pairwise

import pytest
import torch

from dmn_train.methods.levels import all_levels, level_channels, level_weights, ramp
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.sections import AlignSection

SPEC = NetworkSpec(base=4, levels=3, context_slices=0)


@pytest.mark.parametrize(
    ("keys", "encoder", "decoder"),
    [
        ({}, (0.125, 0.25, 0.5, 1.0), (0.0, 0.0, 0.0)),
        ({"weight": 8.0, "rise": 4.0}, (0.125, 0.5, 2.0, 8.0), (0.0, 0.0, 0.0)),
        ({"rise": 1.0}, (1.0, 1.0, 1.0, 1.0), (0.0, 0.0, 0.0)),
        ({"encoder_levels": 1}, (0.0, 0.0, 0.0, 1.0), (0.0, 0.0, 0.0)),
        ({"encoder_levels": 2}, (0.0, 0.0, 0.5, 1.0), (0.0, 0.0, 0.0)),
        ({"encoder_levels": 9}, (0.125, 0.25, 0.5, 1.0), (0.0, 0.0, 0.0)),
        ({"weight": 0.0, "decoder_weight": 0.3}, (0.0, 0.0, 0.0, 0.0), (0.3, 0.3, 0.3)),
    ],
)
def test_lambda_rises_with_depth(
    keys: dict[str, float], encoder: tuple[float, ...], decoder: tuple[float, ...]
) -> None:
    assert level_weights(AlignSection(**keys), SPEC) == (*encoder, *decoder)


def test_channels_and_depths_are_those_of_the_features() -> None:
    features = UNet(SPEC).forward_features(torch.zeros(1, 1, 16, 16))
    shapes = [(level.shape[1], level.shape[2]) for level in all_levels(features)]
    assert shapes == [(channels, 16 >> depth) for channels, depth in level_channels(SPEC)]
    assert level_channels(SPEC) == ((4, 0), (8, 1), (16, 2), (32, 3), (4, 0), (8, 1), (16, 2))


def test_the_ramp_starts_at_0_rises_and_ends_near_1() -> None:
    shares = [ramp(AlignSection(), progress / 100) for progress in range(101)]
    assert shares[0] == 0.0
    assert all(before < after for before, after in pairwise(shares))
    assert shares[10] == pytest.approx(0.462117, abs=1e-6)
    assert shares[100] == pytest.approx(0.999909, abs=1e-6)


def test_without_a_ramp_lambda_is_whole_at_once() -> None:
    assert [ramp(AlignSection(ramp=False), progress) for progress in (0.0, 0.5, 1.0)] == [1.0, 1.0, 1.0]
