"""One network, two domains: shared weights, BatchNorm statistics of each domain's own.

Li et al., Revisiting batch normalization for practical domain adaptation (AdaBN), 2016: the statistics carry
much of what differs between domains. Source and target therefore never share a batch: each is normalised with
its own batch's statistics while training and has its own running ones. What is exported is the network as the
target sees it; the source's running statistics serve the curves on held-out source data.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from dmn_train.networks.unet import Features, UNet

KEPT = ("running_mean", "running_var", "num_batches_tracked")


class DomainNetwork(nn.Module):
    """A U-Net with one set of running statistics, or a second one for the source.

    Attributes:
        network: as the domain sees it that the network is meant for; this is what is exported.
        source_statistics: the source's running statistics, one module a BatchNorm; empty where the network
            is trained on the source alone, or both domains share the statistics that `network` holds.
    """

    def __init__(self, network: UNet, *, two_domains: bool) -> None:
        super().__init__()
        self.network = network
        norms = _batch_norms(network) if two_domains else []
        self.source_statistics = nn.ModuleList(_Statistics(norm) for norm in norms)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits, n1hw, of `image`, nchw."""
        logits: Tensor = self.network(image)
        return logits

    def source_features(self, image: Tensor) -> Features:
        """Return logits and features of source images, nchw."""
        with self.as_source():
            return self.network.forward_features(image)

    def both_features(self, source: Tensor, target: Tensor) -> tuple[Features, Features]:
        """Return logits and features of source and of target images, nchw.

        Each domain is normalised by itself; without statistics of its own for the source, both are one batch.
        """
        if self.source_statistics:
            return self.source_features(source), self.target_features(target)
        together = self.network.forward_features(torch.cat([source, target]))
        return _part(together, slice(None, len(source))), _part(together, slice(len(source), None))

    def target_features(self, image: Tensor) -> Features:
        """Return logits and features of target images, nchw."""
        return self.network.forward_features(image)

    @contextmanager
    def statistics_kept(self) -> Iterator[None]:
        """Leave all running statistics as they are: for images that no one will ask the network about.

        In training mode each batch is normalised by itself all the same.
        """
        norms = _batch_norms(self.network)
        for norm in norms:
            norm.track_running_stats = False
        try:
            yield
        finally:
            for norm in norms:
                norm.track_running_stats = True

    @contextmanager
    def as_source(self) -> Iterator[UNet]:
        """Lend the network with the source's statistics in place."""
        self._exchange()
        try:
            yield self.network
        finally:
            self._exchange()

    def take_statistics(self) -> None:
        """Start the source's statistics at those of the network, as after loading weights."""
        for norm, kept in zip(_batch_norms(self.network), self.source_statistics, strict=False):
            for name in KEPT:
                getattr(kept, name).copy_(getattr(norm, name))

    def _exchange(self) -> None:
        for norm, kept in zip(_batch_norms(self.network), self.source_statistics, strict=False):
            for name in KEPT:
                mine, theirs = getattr(norm, name), getattr(kept, name)
                setattr(norm, name, theirs)
                setattr(kept, name, mine)


def deployed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state of the network that is exported out of that of a `DomainNetwork`."""
    prefix = "network."
    return {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}


def _part(features: Features, images: slice) -> Features:
    """Return the features of some images of a batch."""
    encoder, decoder = (tuple(level[images] for level in of) for of in (features.encoder, features.decoder))
    return Features(encoder, decoder, features.logits[images])


class _Statistics(nn.Module):
    """What a BatchNorm remembers of one domain."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        for name in KEPT:
            self.register_buffer(name, getattr(norm, name).detach().clone())


def _batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]


def statistics_pass(network: DomainNetwork, image: Tensor) -> None:
    """Let the network see target images, nchw, for its running statistics alone: no gradient, no loss."""
    with torch.no_grad():
        network.target_features(image)
