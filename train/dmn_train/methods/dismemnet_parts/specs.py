"""From the recipe's section of dismemnet to the settings of its parts, and what cannot be put together."""

from dmn_runtime.errors import RecipeError
from dmn_train.distil.options import DistilSpec, check_distillation
from dmn_train.memory.options import (
    BankSpec,
    RefineSpec,
    RetrievalSpec,
    StructureSpec,
    check_memory,
)
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import DismemnetSection, DistillationSection, MemorySection, TranslationSection
from dmn_train.translate.options import (
    ContrastSpec,
    DiscriminatorSpec,
    GeneratorSpec,
    TranslationSpec,
    check_translation,
)


def translation_spec(section: TranslationSection, network: NetworkSpec) -> TranslationSpec:
    """Return the settings of the translation; slices of context are its channels."""
    channels = network.in_channels
    return TranslationSpec(
        generator=GeneratorSpec(channels, section.base, section.blocks),
        discriminator=DiscriminatorSpec(channels, section.discriminator_base, section.halvings),
        contrast=ContrastSpec(stages=section.stages, locations=section.locations),
        gate=section.gate,
        adversarial=section.adversarial,
        nce=section.nce,
        identity=section.identity,
        structure=section.structure,
    )


def structure_spec(section: MemorySection) -> StructureSpec:
    """Return which classes the memory tells apart."""
    return StructureSpec(section.classes, section.band_px, section.near_px)


def bank_spec(section: MemorySection) -> BankSpec:
    """Return what is remembered; of a memory that is not "none"."""
    assert section.kind != "none"
    return BankSpec(
        kind=section.kind,
        slots=section.slots,
        width=section.width,
        first_momentum=section.first_momentum,
        last_momentum=section.last_momentum,
        rise_updates=section.rise_updates,
        dead_updates=section.dead_updates,
    )


def refine_spec(section: MemorySection) -> RefineSpec:
    """Return what the memory does to labels."""
    return RefineSpec(section.refine, section.first_power, section.last_power, section.least)


def distil_spec(section: DistillationSection) -> DistilSpec:
    """Return what the network is to match beside labels."""
    return DistilSpec(
        output=section.output,
        temperature=section.temperature,
        attention=section.attention,
        side=section.side,
    )


def check_dismemnet(section: DismemnetSection, network: NetworkSpec, crop_px: int, devices: int) -> None:
    """Raise where parts cannot work as the recipe has them.

    Raises:
        RecipeError: crops do not suit the translation, a setting is outside its range, or several devices.
    """
    if devices > 1:
        raise RecipeError(
            f"loop.devices is {devices}, but the parts of method dismemnet learn by turns and so on one "
            "device alone: set it to 1"
        )
    if section.translation.kind == "gated":
        check_translation(translation_spec(section.translation, network), crop_px)
    memory = section.memory
    if memory.kind != "none":
        check_memory(structure_spec(memory), bank_spec(memory), RetrievalSpec(), refine_spec(memory))
    check_distillation(distil_spec(section.distillation))
