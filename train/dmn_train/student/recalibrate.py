"""BatchNorm's statistics taken anew from plain crops of the target, at the end of a run.

Li et al., AdaBN, 2016, take them so. The running ones are a moving average over the last batches, of crops
with changed intensities; a student that leaves the lab sees images as they are.
"""

from math import ceil

import numpy as np
import torch
from torch import nn

from dmn_train.domains import DomainNetwork
from dmn_train.given import Given
from dmn_train.student.target_tiles import draw_crops

STREAM = 17  # of random numbers; batches use small numbers


@torch.no_grad()
def recalibrate(given: Given, network: DomainNetwork) -> bool:
    """Give the deployed network the statistics of the target's plain crops, if the recipe wants that.

    Every batch counts alike. The crops depend on the seed alone, so the same run ends in the same bits. The
    network is left in eval mode.

    Returns:
        Whether it was wanted.
    """
    recipe, options = given.recipe, given.recipe.method.distil
    if options is None or options.recalibrate_crops == 0:
        return False
    loop, context = recipe.loop, recipe.network.spec.context_slices
    rng = np.random.default_rng([loop.seed, 0, 0, STREAM])
    norms = [module for module in network.network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over batches
    network.network.train()
    with given.fabric.autocast():
        for _ in range(ceil(options.recalibrate_crops / loop.batch)):
            crops = draw_crops(given.material.target, context, loop.crop_px, loop.batch, rng)
            network.network(crops.to(given.fabric.device, memory_format=torch.channels_last))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.network.eval()
    return True
