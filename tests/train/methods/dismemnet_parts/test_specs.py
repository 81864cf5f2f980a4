"""A section's keys reach the parts; what cannot work is refused in one sentence."""

import json
from typing import Any

import pytest

from dmn_runtime.errors import RecipeError
from dmn_train.distil.options import DistilSpec
from dmn_train.memory.options import BankSpec, RefineSpec, StructureSpec
from dmn_train.methods.dismemnet_parts.specs import (
    bank_spec,
    check_dismemnet,
    distil_spec,
    refine_spec,
    structure_spec,
    translation_spec,
)
from dmn_train.networks.sizes import NetworkSpec
from dmn_train.sections import DismemnetSection, DistillationSection, MemorySection, TranslationSection
from dmn_train.translate.options import ContrastSpec, DiscriminatorSpec, GeneratorSpec, TranslationSpec

CONTEXT = NetworkSpec(base=2, levels=2, context_slices=1)


def test_keys_of_the_translation_reach_it_and_slices_of_context_are_channels() -> None:
    section = TranslationSection(
        gate="learned",
        base=3,
        blocks=2,
        discriminator_base=5,
        halvings=1,
        stages=(0, 4),
        locations=7,
        adversarial=0.1,
        nce=0.2,
        structure=0.3,
        identity=True,
    )
    assert translation_spec(section, CONTEXT) == TranslationSpec(
        generator=GeneratorSpec(channels=3, base=3, blocks=2),
        discriminator=DiscriminatorSpec(channels=3, base=5, halvings=1),
        contrast=ContrastSpec(stages=(0, 4), locations=7),
        gate="learned",
        adversarial=0.1,
        nce=0.2,
        identity=True,
        structure=0.3,
    )


def test_keys_of_memory_and_distillation_reach_them() -> None:
    section = MemorySection(
        kind="batch",
        classes=2,
        band_px=1,
        near_px=2,
        slots=3,
        width=4,
        first_momentum=0.5,
        last_momentum=0.6,
        rise_updates=7,
        dead_updates=9,
        refine="multiply",
        first_power=0.1,
        last_power=0.2,
        least=0.7,
    )
    assert structure_spec(section) == StructureSpec(classes=2, band_px=1, near_px=2)
    assert bank_spec(section) == BankSpec(
        "batch", 3, 4, first_momentum=0.5, last_momentum=0.6, rise_updates=7, dead_updates=9
    )
    assert refine_spec(section) == RefineSpec("multiply", 0.1, 0.2, 0.7)
    matched = DistillationSection(output=0.1, temperature=3.0, attention=0.2, side=0.3)
    assert distil_spec(matched) == DistilSpec(output=0.1, temperature=3.0, attention=0.2, side=0.3)


@pytest.mark.parametrize(
    ("keys", "crop_px", "devices", "sentence"),
    [
        ({}, 32, 2, "loop.devices is 2, but the parts of method dismemnet learn by turns"),
        ({}, 12, 1, "loop.crop_px is 12, but the translation halves crops twice"),
        ({"translation": {"stages": [0, 9]}}, 32, 1, "has the stages 0 to 7"),
        ({"memory": {"first_momentum": 0.9999}}, 32, 1, "momentum from 0.9999 to 0.999"),
    ],
)
def test_what_cannot_work_is_refused(keys: dict[str, Any], crop_px: int, devices: int, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        check_dismemnet(DismemnetSection.model_validate_json(json.dumps(keys)), CONTEXT, crop_px, devices)


def test_what_is_off_is_not_looked_at() -> None:
    off = {
        "translation": {"kind": "none", "stages": [9]},
        "memory": {"kind": "none", "first_momentum": 0.9999},
    }
    check_dismemnet(DismemnetSection.model_validate_json(json.dumps(off)), CONTEXT, 12, 1)
