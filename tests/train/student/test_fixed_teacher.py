"""A fixed teacher: the mean over its views, without a gradient."""

import torch

from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.student.fixed_teacher import FixedTeacher
from dmn_train.views import turned, turned_back


def network() -> UNet:
    torch.manual_seed(0)
    made = UNet(NetworkSpec(2, 2, 0))
    made.head.weight.data.mul_(10.0)
    return made


def test_a_label_is_the_mean_of_all_views_turned_back() -> None:
    teacher, image = FixedTeacher(network(), 8).train(), torch.randn(2, 1, 16, 16)
    taught = teacher(image)
    plain = network().eval()
    with torch.no_grad():
        views = [turned_back(plain(turned(image, view)).sigmoid(), view) for view in range(8)]
    torch.testing.assert_close(taught.probability, torch.stack(views).mean(0))
    assert not torch.allclose(taught.probability, views[0])
    torch.testing.assert_close(taught.features.logits.sigmoid(), views[0])
    assert not taught.probability.requires_grad


def test_all_eight_views_give_a_turned_image_the_turned_label() -> None:
    teacher, image = FixedTeacher(network(), 8), torch.randn(1, 1, 16, 16)
    upright, on_its_side = teacher(image).probability, teacher(torch.rot90(image, 1, (2, 3))).probability
    torch.testing.assert_close(torch.rot90(upright, 1, (2, 3)), on_its_side)


def test_one_view_is_the_network_itself() -> None:
    image = torch.randn(1, 1, 16, 16)
    with torch.no_grad():
        expected = network().eval()(image).sigmoid()
    torch.testing.assert_close(FixedTeacher(network(), 1)(image).probability, expected)
