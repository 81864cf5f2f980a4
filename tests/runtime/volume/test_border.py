"""The border: what libraries raise becomes one sentence with the path."""

import pytest

from dmn_runtime.errors import MissingExtra, VolumeError
from dmn_runtime.volume.border import FOREIGN, foreign_errors


@pytest.mark.parametrize("kind", FOREIGN)
def test_every_foreign_error(kind: type[Exception]) -> None:
    with pytest.raises(VolumeError) as caught, foreign_errors("a.tif", "TIFF"):
        raise kind("first line\nsecond line")
    assert str(caught.value) == (
        f"a.tif cannot be read as TIFF ({kind.__name__}: first line): it may be damaged "
        "or cut off, copy or export it again"
    )
    assert isinstance(caught.value.__cause__, kind)


def test_without_words() -> None:
    with (
        pytest.raises(VolumeError, match=r"a\.tif cannot be read as TIFF \(EOFError\): "),
        foreign_errors("a.tif", "TIFF"),
    ):
        raise EOFError


@pytest.mark.parametrize("error", [VolumeError("ours"), MissingExtra("ours")])
def test_our_own_pass(error: Exception) -> None:
    with pytest.raises(type(error), match=r"^ours$"), foreign_errors("a.tif", "TIFF"):
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_the_users_stop_passes(error: type[BaseException]) -> None:
    with pytest.raises(error), foreign_errors("a.tif", "TIFF"):
        raise error
