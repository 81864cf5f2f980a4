"""A small translator of two stages' depth, images of two domains, and nothing left to chance."""

import pytest
import torch

from dmn_train.translate.objective import Pair
from dmn_train.translate.options import ContrastSpec, DiscriminatorSpec, GeneratorSpec, TranslationSpec


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def small() -> TranslationSpec:
    return TranslationSpec(
        generator=GeneratorSpec(base=4, blocks=1),
        discriminator=DiscriminatorSpec(base=4, halvings=2),
        contrast=ContrastSpec(stages=(0, 2, 4), locations=24, width=8),
    )


@pytest.fixture
def pair() -> Pair:
    """Return crops of 32 px with one square of foreground each and some unlabelled pixels."""
    random = torch.Generator().manual_seed(5)
    source = torch.randn(2, 1, 32, 32, generator=random).clamp(-2.0, 2.0)
    truth = torch.zeros(2, 1, 32, 32)
    truth[0, 0, 8:20, 8:20] = 1.0
    truth[1, 0, 16:30, 4:14] = 1.0
    valid = torch.ones_like(truth)
    valid[:, :, :2] = 0.0
    target = (0.5 + 0.5 * torch.randn(2, 1, 32, 32, generator=random)).clamp(-2.0, 2.0)
    return Pair(source, truth, valid, target)
