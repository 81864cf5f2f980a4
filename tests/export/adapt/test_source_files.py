"""Which file is the image and which the mask: by name, or one sentence."""

from pathlib import Path

import pytest

from dmn_export.adapt.source_files import SourceFiles, find_source
from dmn_runtime.errors import UsageError


def lay_out(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("names", "image", "mask", "valid"),
    [
        (("image.tif", "mask.tif"), "image.tif", "mask.tif", None),
        (("image.tif", "mito.tif", "README.md"), "image.tif", "mito.tif", None),
        (("training.tif", "training_groundtruth.tif"), "training.tif", "training_groundtruth.tif", None),
        (("mito_image.tif", "mito_mask.tif"), "mito_image.tif", "mito_mask.tif", None),
        (("Raw.h5", "Labels.h5", "valid.tif"), "Raw.h5", "Labels.h5", "valid.tif"),
        (("images/", "labels/", ".hidden/"), "images", "labels", None),
        (("em.ome.zarr/", "seg.ome.zarr/"), "em.ome.zarr", "seg.ome.zarr", None),
    ],
)
def test_names_say_which_is_which(
    tmp_path: Path, names: tuple[str, ...], image: str, mask: str, valid: str | None
) -> None:
    found = find_source(str(lay_out(tmp_path, *names)))
    assert found == SourceFiles(
        str(tmp_path / image), str(tmp_path / mask), None if valid is None else str(tmp_path / valid)
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ((), "holds no volume at all, and it is not clear"),
        (("image.tif",), "holds image.tif, and"),
        (("a.tif", "b.tif", "mask.tif"), "holds a.tif, b.tif, mask.tif, and"),
        (("image.tif", "mask.tif", "labels.tif"), "name them, --source IMAGE::MASK"),
        (tuple(f"s{i}.png" for i in range(9)), "s5.png, ..., and it is not clear"),
    ],
)
def test_what_is_not_clear_is_one_sentence(tmp_path: Path, names: tuple[str, ...], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        find_source(str(lay_out(tmp_path, *names)))
    assert told in str(caught.value)


def test_a_pair_is_named_with_colons(tmp_path: Path) -> None:
    a, b = (str(tmp_path / name) for name in ("a.tif", "b.h5"))
    lay_out(tmp_path, "a.tif", "b.h5")
    assert find_source(f"{a}::{b}") == SourceFiles(a, b)
    assert find_source(f"{a}::{b}::labels") == SourceFiles(a, f"{b}::labels")
    assert find_source(f"{b}::raw::{b}::labels") == SourceFiles(f"{b}::raw", f"{b}::labels")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{a}", "is one file, wanted an image and its mask"),
        ("{a}::nothing.tif", "names no folder and no two volumes that exist"),
        ("nowhere", "names no folder and no two volumes that exist"),
        ("{a}::{a}::{a}", "can be read in more than one way"),
    ],
)
def test_other_words_are_one_sentence(tmp_path: Path, text: str, told: str) -> None:
    lay_out(tmp_path, "a.tif")
    with pytest.raises(UsageError) as caught:
        find_source(text.format(a=tmp_path / "a.tif"))
    assert told in str(caught.value)
