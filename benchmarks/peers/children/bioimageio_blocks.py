"""bioimageio.core on the DMN package itself, which is a bioimage.io model: ONNX weights, block by block.

The package's own preprocessing takes percentiles of what it is given; here it is left out, and every slice
comes in by DMN's map of the whole volume, as for all contestants.
"""

from functools import partial
from math import ceil, prod
from typing import Any

import numpy as np
from bioimageio.core import Tensor, create_prediction_pipeline
from bioimageio.core.digest_spec import get_member_ids
from bioimageio.core.sample import Sample
from bioimageio.spec import load_model_description
from bioimageio.spec import settings as spec_settings
from numpy.typing import NDArray
from protocol import Job, Maker, Ready, Segmented, main, table_of


def prepare(job: Job) -> Maker:
    """Load the package."""
    spec_settings.log_warnings = False
    model = load_model_description(job["package"], perform_io_checks=False)
    pipeline = create_prediction_pipeline(model, weight_format="onnx")
    pipeline.load()
    return partial(make, job, model, pipeline)


def make(job: Job, model: Any, pipeline: Any, settings: dict[str, Any]) -> Ready:
    """Return the contestant: `block_px`, halo included; 0 for whole slices."""
    table, block = table_of(job), settings["block_px"]
    [given], [wanted] = get_member_ids(model.inputs), get_member_ids(model.outputs)
    halo = model.outputs[0].axes[-1].halo
    computed: list[int] = []

    def predicted(sample: Sample) -> Sample:
        if not block:
            return pipeline.predict_sample_without_blocking(sample, skip_preprocessing=True)
        shape = {given: {"batch": 1, "channel": 1, "y": block, "x": block}}
        return pipeline.predict_sample_with_fixed_blocking(sample, shape, skip_preprocessing=True)

    def segment(volume: NDArray[np.uint8]) -> Segmented:
        probability = np.empty(volume.shape, np.float32)
        for z, grey in enumerate(volume):
            tensor = Tensor(table[grey][None, None], dims=("batch", "channel", "y", "x"))
            made = predicted(Sample(members={given: tensor}, stat={}, id=z))
            probability[z] = made.members[wanted].data.to_numpy()[0, 0]
        computed.append(computed_px(volume.shape[1:], block, halo))
        return Segmented(probability)

    return Ready(segment, lambda: computed[-1])


def computed_px(slice_shape: tuple[int, ...], block: int, halo: int) -> int:
    """Return the pixels that go into the network for a slice; all blocks are of one size."""
    if not block:
        return prod(size + 2 * halo for size in slice_shape)
    return prod(ceil(size / (block - 2 * halo)) * block for size in slice_shape)


if __name__ == "__main__":
    main(prepare)
