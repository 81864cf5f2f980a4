"""MMD against its definition, written out as loops in NumPy, and what makes it fit to be a loss."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.methods.levels import all_levels
from dmn_train.methods.mmd import Mmd, mmd, pixel_samples
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import LossSection, MmdSection

WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def samples(seed: int, count: int, channels: int, shift: float = 0.0, scale: float = 1.0) -> torch.Tensor:
    return shift + scale * torch.randn(count, channels, generator=torch.Generator().manual_seed(seed))


def by_loops(source: NDArray[np.float64], target: NDArray[np.float64], widths: Sequence[float]) -> float:
    """Return the biased squared MMD of Gretton et al. 2012, equation 5, mean over the kernels."""
    pooled = np.concatenate([source, target])
    part = pooled[::4] if len(pooled) >= 64 else pooled
    squares = sorted(float(((a - b) ** 2).sum()) for a in part for b in part)
    median = squares[(len(squares) - 1) // 2]

    def kernel_mean(ones: NDArray[np.float64], twos: NDArray[np.float64], width: float) -> float:
        sigma2 = width * width * median
        kernels = [np.exp(-((a - b) ** 2).sum() / (2.0 * sigma2)) for a in ones for b in twos]
        return float(np.mean(kernels))

    each = [
        kernel_mean(source, source, w) + kernel_mean(target, target, w) - 2.0 * kernel_mean(source, target, w)
        for w in widths
    ]
    return float(np.mean(each))


@given(
    seed=st.integers(0, 10_000),
    n=st.integers(2, 20),
    m=st.integers(2, 20),
    channels=st.integers(1, 5),
    shift=st.floats(-3.0, 3.0),
)
def test_it_is_its_definition(seed: int, n: int, m: int, channels: int, shift: float) -> None:
    source, target = samples(seed, n, channels), samples(seed + 1, m, channels, shift, 0.5)
    expected = by_loops(source.double().numpy(), target.double().numpy(), (0.5, 1.0, 2.0))
    assert mmd(source, target, (0.5, 1.0, 2.0)).item() == pytest.approx(expected, abs=2e-5)


def test_it_is_its_definition_where_the_median_is_that_of_some_pairs() -> None:
    source, target = samples(0, 40, 3), samples(1, 30, 3, shift=0.5)
    expected = by_loops(source.double().numpy(), target.double().numpy(), (0.5, 1.0))
    assert mmd(source, target, (0.5, 1.0)).item() == pytest.approx(expected, abs=2e-5)


def test_equal_samples_have_none() -> None:
    source = samples(0, 64, 8)
    assert mmd(source, source.clone(), WIDTHS).item() == pytest.approx(0.0, abs=1e-6)
    assert mmd(source, source[torch.randperm(64)], WIDTHS).item() == pytest.approx(0.0, abs=1e-5)


def test_it_grows_with_the_shift() -> None:
    source = samples(0, 128, 4)
    distances = [mmd(source, samples(1, 128, 4, shift), WIDTHS).item() for shift in (0.0, 0.5, 1.0, 2.0, 4.0)]
    assert distances == sorted(distances)
    assert distances[0] < 0.02 < 0.5 < distances[-1]


def test_it_sees_what_means_do_not() -> None:
    """Two domains of the same mean and different spread."""
    source = samples(0, 256, 4)
    alike, wider = samples(1, 256, 4), samples(1, 256, 4, scale=3.0)
    assert mmd(source, wider, WIDTHS) > 10.0 * mmd(source, alike, WIDTHS)


@pytest.mark.parametrize("factor", [1e-2, 7.0, 1e3])
def test_the_scale_of_the_features_plays_no_part(factor: float) -> None:
    source, target = samples(0, 64, 6), samples(1, 64, 6, shift=1.0)
    there = mmd(factor * source, factor * target, WIDTHS)
    assert there.item() == pytest.approx(mmd(source, target, WIDTHS).item(), rel=1e-4)


def test_few_samples_have_a_distance_too() -> None:
    """The bottleneck of one small crop may have a pixel or two."""
    source, target = torch.tensor([[0.0], [1.0]]), torch.tensor([[4.0], [5.0]])
    target.requires_grad_(True)
    mmd(source, target, WIDTHS).backward()
    assert target.grad is not None
    assert float(target.grad.abs().sum()) > 0.01


def test_descending_along_it_brings_the_samples_together() -> None:
    source = samples(0, 64, 3).requires_grad_(True)
    target = samples(1, 64, 3, shift=2.0).requires_grad_(True)
    mmd(source, target, WIDTHS).backward()
    assert source.grad is not None
    assert target.grad is not None
    assert (source.grad.mean(dim=0) < 0).all()
    assert (target.grad.mean(dim=0) > 0).all()


def test_it_is_computed_in_full_precision_under_autocast() -> None:
    """A difference of nearly equal means: bf16 distances would be noise."""
    source, target = samples(0, 64, 16, shift=5.0), samples(1, 64, 16, shift=5.1)
    plain = mmd(source, target, WIDTHS)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(mmd(source, target, WIDTHS), plain)


def test_few_pixels_are_all_taken() -> None:
    feature = torch.arange(24.0).reshape(2, 3, 2, 2)
    taken = pixel_samples(feature, 8)
    assert taken.tolist() == [
        [0, 4, 8],
        [1, 5, 9],
        [2, 6, 10],
        [3, 7, 11],
        [12, 16, 20],
        [13, 17, 21],
        [14, 18, 22],
        [15, 19, 23],
    ]


def test_many_pixels_are_thinned_evenly_and_always_alike() -> None:
    place = torch.arange(4 * 32 * 32.0).reshape(4, 1, 32, 32)
    taken = pixel_samples(place, 512)
    assert taken.shape == (512, 1)
    assert torch.equal(taken, pixel_samples(place, 512))
    assert len(taken.unique()) == 512
    per_crop = torch.bincount((taken.flatten() // 1024).long())
    assert (per_crop - 128).abs().max() <= 2
    columns = torch.bincount((taken.flatten() % 32).long(), minlength=32)
    assert (columns > 0).all()


def test_the_loss_is_put_together_by_levels(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    section = MmdSection(weight=3.0, rise=2.0, encoder_levels=2, decoder_weight=0.7, pixels=64, widths=(1.0,))
    losses = Mmd(section, LossSection(), spec).losses(network, batch, progress=0.1)
    assert batch.target is not None
    pairs = zip(
        all_levels(network.source_features(batch.image)),
        all_levels(network.target_features(batch.target)),
        strict=True,
    )
    each = [mmd(pixel_samples(one, 64), pixel_samples(two, 64), (1.0,)) for one, two in pairs]
    expected = 1.5 * each[1] + 3.0 * each[2] + 0.7 * (each[3] + each[4])
    torch.testing.assert_close(losses["mmd"], expected)
    torch.testing.assert_close(losses["loss"], losses["segmentation"] + 0.46211716 * losses["mmd"])


def test_the_gradient_reaches_the_network_through_both_domains(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    assert batch.target is not None
    image, target = batch.image.clone().requires_grad_(True), batch.target.clone().requires_grad_(True)
    method = Mmd(MmdSection(), LossSection(), spec)
    method.losses(network, batch._replace(image=image, target=target), 0.5)["mmd"].backward()
    for felt in (image.grad, target.grad):
        assert felt is not None
        assert float(felt.abs().sum()) > 0.0
    assert not method.state_dict()
