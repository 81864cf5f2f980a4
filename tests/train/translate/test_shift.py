"""A made-up shift of stain and focus: the translation comes closer to the target and keeps the structure."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from dmn_train.translate.alarms import consistency_alarm, invention_alarm, mask_dice
from dmn_train.translate.objective import Pair, Translator
from dmn_train.translate.options import ContrastSpec, DiscriminatorSpec, GeneratorSpec, TranslationSpec

STEPS = 60
EDGE_PX = 48


class DarkIsForeground(nn.Module):
    """A segmentation network by hand: what is darker than the image's mean, seen through a blur."""

    def forward(self, image: Tensor) -> Tensor:
        smooth = functional.avg_pool2d(image, 5, stride=1, padding=2, count_include_pad=False)
        return 8.0 * (smooth.mean(dim=(2, 3), keepdim=True) - 0.3 - smooth)


def tissue(count: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return noisy images, -1 to 1, of dark discs on bright ground, and the discs; n1hw."""
    rows, columns = torch.meshgrid(torch.arange(EDGE_PX), torch.arange(EDGE_PX), indexing="ij")
    truth = torch.zeros(count, 1, EDGE_PX, EDGE_PX)
    for image in truth[:, 0]:
        for _ in range(3):
            y, x = (int(place) for place in torch.randint(6, EDGE_PX - 6, (2,), generator=random))
            image[(rows - y) ** 2 + (columns - x) ** 2 < 49] = 1.0
    noise = torch.randn(truth.shape, generator=random)
    return (0.6 - 1.2 * truth + 0.15 * noise).clamp(-1.0, 1.0), truth


def another_microscope(image: Tensor) -> Tensor:
    """Return the image darkened by a gamma, and out of focus."""
    grey = ((image + 1.0) / 2.0) ** 2.5
    return 2.0 * functional.avg_pool2d(grey, 3, stride=1, padding=1, count_include_pad=False) - 1.0


def draw(step: int) -> Pair:
    random = torch.Generator().manual_seed(step)
    source, truth = tissue(4, random)
    target = another_microscope(tissue(4, random)[0])
    return Pair(source, truth, torch.ones_like(truth), target)


def histogram_distance(one: Tensor, two: Tensor) -> float:
    """Return the mean distance of the sorted values: the Wasserstein distance of the histograms."""
    return float((one.flatten().sort().values - two.flatten().sort().values).abs().mean())


def test_translations_look_like_the_target_and_hold_what_the_source_held() -> None:
    torch.manual_seed(0)
    translator = Translator(
        TranslationSpec(
            generator=GeneratorSpec(base=8, blocks=1),
            discriminator=DiscriminatorSpec(base=8, halvings=2),
            contrast=ContrastSpec(stages=(0, 2, 4), locations=64, width=32),
        )
    )
    adam = torch.optim.AdamW(translator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    network = DarkIsForeground()
    inconsistent: list[float] = []
    for step in range(STEPS):
        losses = translator(draw(step), network, torch.Generator().manual_seed(step)).losses
        inconsistent.append(float(losses["inconsistency"]))
        losses["translation"].backward()
        adam.step()
        adam.zero_grad()

    unseen = draw(10_000)
    with torch.no_grad():
        translated = translator.generator(unseen.source).image
    before = histogram_distance(unseen.source, unseen.target)
    after = histogram_distance(translated, unseen.target)
    assert after < 0.5 * before
    held = mask_dice(network(unseen.source), network(translated))
    assert invention_alarm(held) is None
    assert consistency_alarm(sum(inconsistent) / STEPS) is None
