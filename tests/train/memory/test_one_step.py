"""The step of docs/memory.md with all parts, run twice: equal to the bit, finite, and all learn."""

import torch
from torch import Tensor

from dmn_train.distil.options import DistilSpec
from dmn_train.distil.terms import Distillation
from dmn_train.memory.bank import Bank
from dmn_train.memory.contrast import contrast_loss
from dmn_train.memory.options import BankSpec, RetrievalSpec, StructureSpec
from dmn_train.memory.projector import CELL_PX, Projector
from dmn_train.memory.retrieve import at_pixels, retrieve
from dmn_train.memory.structure import NO_CLASS, cell_classes, structure_classes
from dmn_train.memory.vectors import as_rows, balanced
from dmn_train.methods.dismemnet_parts.prototype_memory import refined_labels
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.networks.unet import UNet
from dmn_train.sections import MemorySection, PseudoLabelSection

SPEC = NetworkSpec(base=2, levels=2, context_slices=0)
STRUCTURE = StructureSpec(band_px=2, near_px=4)


def crops(seed: int) -> tuple[Tensor, Tensor]:
    """Return images with dark squares, and their truth."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.zeros(2, 1, 32, 32)
    truth[:, :, 4:20, 8:24] = 1
    return 0.3 * torch.randn(truth.shape, generator=generator) - truth, truth


def places(mask: Tensor, known: Tensor) -> Tensor:
    pixels = structure_classes(mask, torch.ones_like(mask), STRUCTURE).masked_fill(known == 0, NO_CLASS)
    return balanced(cell_classes(pixels, CELL_PX, STRUCTURE.classes), STRUCTURE.classes).flatten()


def three_steps() -> tuple[list[float], Bank, UNet]:
    torch.manual_seed(2)
    network, projector = UNet(SPEC), Projector(SPEC, 8)
    bank = Bank(STRUCTURE.classes, BankSpec(slots=2, width=8))
    distillation = Distillation(DistilSpec(), SPEC)
    learned = [*network.parameters(), *projector.parameters(), *distillation.parameters()]
    adam, losses = torch.optim.Adam(learned, lr=1e-2), []
    for step in range(3):
        (source, truth), (target, _) = crops(step), crops(100 + step)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            of_source, of_target = network.forward_features(source), network.forward_features(target)
            with torch.no_grad():
                teacher = network.forward_features(target)
                asked = retrieve(projector(teacher), bank.prototypes, RetrievalSpec())
            probability = teacher.logits.float().sigmoid()
            logit = at_pixels(asked.logit, (32, 32))
            made, _ = refined_labels(
                probability[None], logit, MemorySection(), PseudoLabelSection(), step / 3
            )
            rows = torch.cat([as_rows(projector(features)) for features in (of_source, of_target)])
            classes = torch.cat(
                [places(truth, torch.ones_like(truth)), places(probability >= 0.5, made.weights)]
            )
            contrast = contrast_loss(rows, classes, bank.prototypes)
            terms = distillation(of_target, made.labels, made.weights, teacher)
        loss = contrast + terms["distil"]
        adam.zero_grad()
        loss.backward()
        adam.step()
        bank.learn(rows, classes, torch.Generator().manual_seed(step))
        losses.append(loss.item())
    assert all(weight.grad is not None for weight in projector.parameters())
    return losses, bank, network


def test_steps_are_the_same_to_the_bit_and_numbers_throughout() -> None:
    losses, bank, network = three_steps()
    again, other_bank, other_network = three_steps()
    assert losses == again
    for one, two in ((bank, other_bank), (network, other_network)):
        for name, tensor in one.state_dict().items():
            assert tensor.isfinite().all(), name
            assert torch.equal(tensor, two.state_dict()[name]), name
    assert bank.filled[2:].all()
    assert int(bank.updates) == 2
    torch.testing.assert_close(bank.vectors[bank.filled].norm(dim=1), torch.ones(int(bank.filled.sum())))
