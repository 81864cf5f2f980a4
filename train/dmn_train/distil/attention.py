"""Where a teacher's and a student's features are strong, at several scales.

Zagoruyko and Komodakis, Paying more attention to attention, ICLR 2017: the mean of the squared channels is a
map that does not know how many channels there were, so networks of any width can be compared. 1 - cos of two
maps is half the square of the distance between them at length 1, which is their loss.
"""

from torch import Tensor
from torch.nn import functional

from dmn_train.distil.options import ATTENTION_DEPTHS
from dmn_train.networks.unet import Features


def attention_map(feature: Tensor) -> Tensor:
    """Return the mean over channels of the squares of a feature, nchw: (n, h w) float32."""
    return feature.float().square().mean(dim=1).flatten(1)


def attention_distance(teacher: Tensor, student: Tensor) -> Tensor:
    """Return the mean over images of 1 - cos of two features' maps; the gradient is the student's alone.

    Args:
        teacher: nchw.
        student: nchw, of the same n, h and w.
    """
    alike = functional.cosine_similarity(attention_map(teacher.detach()), attention_map(student), dim=1)
    return 1.0 - alike.mean()


def attention_loss(teacher: Features, student: Features, weights: tuple[float, ...]) -> Tensor:
    """Return the weighted sum of the distances at 1/2, 1/4 and 1/8 of the resolution.

    Both must have seen crops at the same places, in the same turn. A level that neither decoder nor
    bottleneck has does not count.

    Args:
        teacher: of any width.
        student: of as many levels.
        weights: of each scale.
    """
    total = student.logits.new_zeros((), dtype=student.logits.float().dtype)
    for depth, weight in zip(ATTENTION_DEPTHS, weights, strict=True):
        if weight > 0.0 and depth <= len(student.decoder):
            total = total + weight * attention_distance(at_depth(teacher, depth), at_depth(student, depth))
    return total


def at_depth(features: Features, depth: int) -> Tensor:
    """Return the feature, nchw, halved `depth` times: the decoder's, or the bottleneck."""
    return features.decoder[depth] if depth < len(features.decoder) else features.encoder[depth]
