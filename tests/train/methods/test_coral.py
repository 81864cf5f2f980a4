"""CORAL against NumPy's covariance."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.methods.coral import Coral, coral, covariance
from dmn_train.methods.levels import all_levels
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import CoralSection, LossSection


def features(seed: int, n: int, c: int, edge: int, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(n, c, edge, edge, generator=torch.Generator().manual_seed(seed))


def pixels(feature: torch.Tensor) -> np.ndarray:
    """Return the channels' values, one row a channel."""
    return feature.numpy().transpose(1, 0, 2, 3).reshape(feature.shape[1], -1).astype(np.float64)


@given(seed=st.integers(0, 10_000), n=st.integers(1, 3), c=st.integers(2, 6), edge=st.integers(2, 5))
def test_it_is_the_distance_of_numpys_covariances(seed: int, n: int, c: int, edge: int) -> None:
    source, target = features(seed, n, c, edge), features(seed + 1, n, c, edge + 1, 2.0) + 3.0
    np.testing.assert_allclose(covariance(source).numpy(), np.cov(pixels(source)), atol=1e-4)
    between = np.cov(pixels(source)) - np.cov(pixels(target))
    expected = np.linalg.norm(between, "fro") ** 2 / (4 * c * c)
    assert coral(source, target).item() == pytest.approx(expected, rel=1e-4)


def test_a_case_by_hand() -> None:
    """Channels (1, 3) and (0, 4) have covariance [[2, 4], [4, 8]]; without spread it is 0."""
    source = torch.tensor([[[[1.0, 3.0]], [[0.0, 4.0]]]])
    assert covariance(source).tolist() == [[2.0, 4.0], [4.0, 8.0]]
    assert coral(source, torch.ones(1, 2, 1, 2)).item() == (4 + 16 + 16 + 64) / 16


def test_equal_covariances_have_none_whatever_the_means() -> None:
    source = features(0, 2, 5, 8)
    assert coral(source, source + torch.arange(5.0)[:, None, None]).item() == pytest.approx(0.0, abs=1e-10)
    assert coral(source, source.flip(2)).item() == pytest.approx(0.0, abs=1e-10)


def test_one_pixel_has_no_spread() -> None:
    assert covariance(torch.ones(1, 3, 1, 1)).abs().max() == 0.0


def test_it_is_computed_in_full_precision_under_autocast() -> None:
    source, target = features(0, 2, 8, 8), features(1, 2, 8, 8)
    plain = coral(source, target)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert covariance(source).dtype == torch.float32
        assert torch.equal(coral(source, target), plain)


def test_descending_along_it_brings_the_spreads_together() -> None:
    source, target = features(0, 2, 3, 8).requires_grad_(True), features(1, 2, 3, 8, 2.0).requires_grad_(True)
    before = coral(source, target)
    before.backward()
    assert source.grad is not None
    assert target.grad is not None
    with torch.no_grad():
        after = coral(source - 2.0 * source.grad, target - 2.0 * target.grad)
        assert after < before
        assert (source - source.grad).std() > source.std()
        assert (target - target.grad).std() < target.std()


def test_the_loss_is_put_together_by_levels(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    section = CoralSection(weight=3.0, rise=2.0, encoder_levels=2, decoder_weight=0.7)
    method = Coral(section, LossSection(), spec)
    losses = method.losses(network, batch, progress=0.1)
    assert batch.target is not None
    pairs = zip(
        all_levels(network.source_features(batch.image)),
        all_levels(network.target_features(batch.target)),
        strict=True,
    )
    each = [coral(one, two) for one, two in pairs]
    expected = 1.5 * each[1] + 3.0 * each[2] + 0.7 * (each[3] + each[4])
    torch.testing.assert_close(losses["coral"], expected)
    torch.testing.assert_close(losses["loss"], losses["segmentation"] + 0.46211716 * losses["coral"])
    assert not method.state_dict()
