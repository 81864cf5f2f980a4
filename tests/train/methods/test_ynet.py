"""Y-Net: equation 2, and a reconstruction that knows the bottleneck alone."""

import inspect

import pytest
import torch
from torch.nn import functional

from dmn_train.data import Batch
from dmn_train.domains import DomainNetwork
from dmn_train.methods.ynet import ReconstructionDecoder, Ynet
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import LossSection, YnetSection


def make(spec: NetworkSpec, **keys: float) -> Ynet:
    torch.manual_seed(11)
    return Ynet(YnetSection(**keys), LossSection(), spec)


def test_the_loss_is_equation_2(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    method = make(spec, source_weight=0.3, target_weight=2.0)
    losses = method.losses(network, batch, progress=0.5)
    assert batch.target is not None
    source = method.decoder(network.source_features(batch.image).encoder[-1])
    target = method.decoder(network.target_features(batch.target).encoder[-1])
    source_error = (source - batch.image).square().mean()
    target_error = (target - batch.target).square().mean()
    torch.testing.assert_close(losses["source_reconstruction"], source_error)
    torch.testing.assert_close(losses["target_reconstruction"], target_error)
    expected = losses["segmentation"] + 0.3 * source_error + 2.0 * target_error
    torch.testing.assert_close(losses["loss"], expected)


def test_the_decoder_takes_the_bottleneck_and_nothing_else(spec: NetworkSpec) -> None:
    assert list(inspect.signature(ReconstructionDecoder.forward).parameters) == ["self", "bottleneck"]
    wide = NetworkSpec(base=4, levels=3, context_slices=1)
    image = ReconstructionDecoder(wide)(torch.zeros(2, 32, 3, 5))
    assert image.shape == (2, 3, 24, 40)


@pytest.mark.parametrize("level", [0, 1])
def test_shallow_features_play_no_part_in_the_reconstruction(
    network: DomainNetwork,
    batch: Batch,
    spec: NetworkSpec,
    level: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What skips would carry, changed after the bottleneck is made, changes no reconstruction."""
    method = make(spec)
    plain = method.losses(network, batch, 0.0)
    whole = network.network.forward_features

    def disturbed(image: torch.Tensor) -> object:
        features = whole(image)
        features.encoder[level].data.add_(100.0)
        return features

    monkeypatch.setattr(network.network, "forward_features", disturbed)
    changed = method.losses(network, batch, 0.0)
    for name in ("source_reconstruction", "target_reconstruction"):
        torch.testing.assert_close(changed[name], plain[name])
    # The same change of the bottleneck is felt, so that the check above can fail.
    monkeypatch.setattr(network.network, "forward_features", whole)
    features = network.source_features(batch.image)
    shifted = method.decoder(features.encoder[-1] + 100.0)
    assert not torch.allclose(shifted, method.decoder(features.encoder[-1]))


def test_the_gradient_of_the_reconstruction_passes_the_bottleneck_alone(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    """With the bottleneck cut off, no pixel of the image is felt by the reconstruction."""
    method = make(spec)
    features = network.source_features(batch.image.clone().requires_grad_(True))
    grown = features.encoder[-1].detach().requires_grad_(True)
    functional.mse_loss(method.decoder(grown), batch.image).backward()
    assert grown.grad is not None
    assert float(grown.grad.abs().sum()) > 0.0
    assert all(parameter.grad is None for parameter in network.parameters())


def test_both_domains_train_encoder_and_decoder(
    network: DomainNetwork, batch: Batch, spec: NetworkSpec
) -> None:
    method = make(spec)
    for name in ("source_reconstruction", "target_reconstruction"):
        network.zero_grad(set_to_none=True)
        method.zero_grad(set_to_none=True)
        method.losses(network, batch, 0.0)[name].backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.decoder.parameters())
        felt = {n for n, p in network.network.named_parameters() if p.grad is not None}
        assert felt
        assert {n.partition(".")[0] for n in felt} == {"down"}


def test_the_decoder_learns_to_reconstruct(network: DomainNetwork, batch: Batch, spec: NetworkSpec) -> None:
    method = make(spec)
    flat = batch._replace(image=torch.full_like(batch.image, 0.5), target=torch.full_like(batch.image, -1.0))
    adam = torch.optim.Adam([*method.parameters(), *network.parameters()], lr=1e-2)
    first = method.losses(network, flat, 0.0)
    for _ in range(60):
        adam.zero_grad()
        last = method.losses(network, flat, 0.0)
        last["loss"].backward()
        adam.step()
    assert last["target_reconstruction"] < 0.5 * first["target_reconstruction"]


def test_the_decoder_has_no_statistics(spec: NetworkSpec) -> None:
    assert not list(make(spec).buffers())
