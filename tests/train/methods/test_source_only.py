"""Source only: cross-entropy plus weighted Dice."""

import torch
from torch import nn

from dmn_train.data import Batch
from dmn_train.losses import bce, soft_dice
from dmn_train.methods.source_only import SourceOnly
from dmn_train.methods.table import make_method
from dmn_train.recipe import MethodSection


def test_the_loss_is_cross_entropy_and_weighted_dice() -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 1, 4, 4, generator=generator)
    truth = (torch.rand(2, 1, 4, 4, generator=generator) < 0.5).float()
    batch = Batch(image, truth, torch.ones_like(truth))
    losses = SourceOnly(dice_weight=0.5).losses(nn.Identity(), batch, progress=0.0)
    assert set(losses) == {"loss", "bce", "dice"}
    assert torch.equal(losses["bce"], bce(image, truth, batch.valid))
    assert torch.equal(losses["dice"], soft_dice(image, truth, batch.valid))
    assert torch.equal(losses["loss"], losses["bce"] + 0.5 * losses["dice"])


def test_a_recipe_names_it() -> None:
    assert make_method(MethodSection(dice_weight=2.0)) == SourceOnly(dice_weight=2.0)
