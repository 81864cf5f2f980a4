"""Half a picture is none, also where zeros stand in the place of the other half."""

from pathlib import Path

import pytest

from dmn_runtime.errors import VolumeError
from dmn_runtime.live.whole import require_whole

from .conftest import encoded, smooth


@pytest.mark.parametrize(("kind", "suffix"), [("PNG", ".png"), ("JPEG", ".jpg")])
def test_every_cut_is_seen(kind: str, suffix: str, tmp_path: Path) -> None:
    content, path = encoded(smooth(0), suffix, tmp_path), tmp_path / f"s1{suffix}"
    path.write_bytes(content)
    require_whole(path, kind)
    path.write_bytes(content + b"more behind the end")
    require_whole(path, kind)
    for end in [0, 1, 7, 8, 12, *range(20, len(content), 97), len(content) - 2, len(content) - 1]:
        for half in (content[:end], content[:end] + bytes(len(content) - end)):
            path.write_bytes(half)
            with pytest.raises(VolumeError, match=f"is not a whole {kind}"):
                require_whole(path, kind)


def test_of_a_tiff_nothing_is_known(tmp_path: Path) -> None:
    require_whole(tmp_path / "not looked at.tif", "TIFF")
