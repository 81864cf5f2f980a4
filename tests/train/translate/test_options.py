"""What cannot be translated is refused in a sentence."""

from dataclasses import replace

import pytest

from dmn_runtime.errors import RecipeError
from dmn_train.translate.options import ContrastSpec, TranslationSpec, check_translation


@pytest.mark.parametrize("crop_px", [24, 160, 192, 256])
def test_usual_crops_are_fine(crop_px: int) -> None:
    check_translation(TranslationSpec(), crop_px)


@pytest.mark.parametrize("crop_px", [16, 162, 190])
def test_other_crops_are_refused(crop_px: int) -> None:
    with pytest.raises(RecipeError, match=f"loop.crop_px is {crop_px}, .*a multiple of 4 that is 24 or more"):
        check_translation(TranslationSpec(), crop_px)


@pytest.mark.parametrize("stages", [(), (0, 8), (1, 1)])
def test_stages_that_are_not_there_are_refused(stages: tuple[int, ...]) -> None:
    spec = replace(TranslationSpec(), contrast=ContrastSpec(stages=stages))
    with pytest.raises(RecipeError, match=r"of 4 blocks has the stages 0 to 7: name at least one, each once"):
        check_translation(spec, 160)
