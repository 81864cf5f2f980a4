"""Through a frozen call gradients reach the image and nothing else, and nothing in the module moves."""

import copy

import torch
from torch import nn

from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.translate.discriminator import Discriminator
from dmn_train.translate.frozen import call_frozen
from dmn_train.translate.options import DiscriminatorSpec


def image() -> torch.Tensor:
    return torch.randn(2, 1, 32, 32, generator=torch.Generator().manual_seed(1)).requires_grad_()


def modules() -> list[nn.Module]:
    torch.manual_seed(4)
    return [UNet(NetworkSpec(2, 2, 0)), Discriminator(DiscriminatorSpec(base=2, halvings=2, spectral=True))]


def test_it_computes_what_the_module_computes() -> None:
    for module in modules():
        expected = copy.deepcopy(module)(image())
        torch.testing.assert_close(call_frozen(module, image()), expected)


def test_the_image_has_the_same_gradient_and_the_weights_have_none() -> None:
    for module in modules():
        mine, theirs, twin = image(), image(), copy.deepcopy(module)
        call_frozen(module, mine).square().sum().backward()
        twin(theirs).square().sum().backward()
        assert mine.grad is not None
        torch.testing.assert_close(mine.grad, theirs.grad)
        assert all(weight.grad is None for weight in module.parameters())
        assert all(weight.requires_grad for weight in module.parameters())


def test_no_buffer_moves() -> None:
    for module in modules():
        before = copy.deepcopy(module.state_dict())
        call_frozen(module, image())
        assert before
        assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
