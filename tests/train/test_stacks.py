"""From files to stacks: normalisation on the raw grid, resampling, masks, held-out slices."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from dmn_runtime.errors import RecipeError, VolumeError
from dmn_runtime.evaluation import read_mask
from dmn_runtime.geometry import Region, Triple
from dmn_runtime.metrics import NEGATIVE, POSITIVE
from dmn_runtime.normalise import IntensityMap, histogram
from dmn_runtime.phantom import Phantom, make_phantom
from dmn_runtime.volume.base import Volume, Voxels
from dmn_runtime.volume.open import open_volume
from dmn_train import grey, source
from dmn_train.grey import read_whole
from dmn_train.material import load_material, pooled_quantiles
from dmn_train.recipe import PlacedRecipe, load_recipe, parse_recipe
from dmn_train.source import load_extra

Placed = Callable[..., PlacedRecipe]


def test_images_and_masks_are_on_the_working_grid(placed: Placed, folder: Path) -> None:
    material = load_material(placed())
    image = tifffile.imread(folder / "image.tif").astype(float)
    mask = tifffile.imread(folder / "mask.tif").astype(float)
    (stack,) = material.train
    assert stack.grey.shape == (5, 48, 64)
    assert stack.grey.dtype == np.uint8
    boxes = image[:5].reshape(5, 48, 2, 64, 2).mean(axis=(2, 4))
    assert np.abs(stack.grey - boxes).max() <= 1
    shares = mask[:5].reshape(5, 48, 2, 64, 2).mean(axis=(2, 4))
    np.testing.assert_array_equal(stack.mask, shares >= 0.5)
    np.testing.assert_array_equal(stack.foreground, np.flatnonzero(stack.mask))
    assert [len(s.grey) for s in material.held_out] == [1]


def test_the_map_is_that_of_the_runtime_on_the_raw_grid(placed: Placed, folder: Path) -> None:
    material = load_material(placed())
    grey = read_whole(placed(), "image.tif", (5.0, 5.0, 5.0))
    with open_volume(folder / "image.tif") as volume:
        np.testing.assert_array_equal(grey.counts(), histogram(volume))
        assert material.origins[0].fingerprint == volume.fingerprint()
    low, high = np.percentile(tifffile.imread(folder / "image.tif"), [1, 99], method="inverted_cdf")
    assert (material.origins[0].map.low, material.origins[0].map.high) == (low, high)
    assert material.train[0].table[int(low)] == -1.0
    assert material.train[0].table[int(high)] == 1.0


def test_held_out_slices_are_in_no_training_stack(placed: Placed) -> None:
    material = load_material(placed("data.source.slices=[1, 5]", "validate.slices=[3, 4]"))
    assert [len(stack.grey) for stack in material.train] == [2, 1]
    assert [len(stack.grey) for stack in material.held_out] == [1]
    outside = load_material(placed("data.source.slices=[0, 2]", "validate.slices=[4, 6]"))
    assert [len(stack.grey) for stack in outside.train] == [2]


def test_unlabelled_and_invalid_voxels_stay_unlabelled(placed: Placed, folder: Path) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    mask[0, 0, 0] = 255
    tifffile.imwrite(folder / "mask.tif", mask)
    valid = np.ones_like(mask)
    valid[1, 2:4, 2:4] = 0
    tifffile.imwrite(folder / "valid.tif", valid)
    (stack,) = load_material(placed("data.source.valid=valid.tif")).train
    assert list(zip(*np.nonzero(stack.mask == 255), strict=True)) == [(0, 0, 0), (1, 1, 1)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_mask_of_0_and_255_is_the_same_as_one_of_0_and_1(
    placed: Placed, folder: Path, dtype: type[np.integer]
) -> None:
    (usual,) = load_material(placed()).train
    mask = tifffile.imread(folder / "mask.tif").astype(dtype)
    tifffile.imwrite(folder / "mask.tif", mask * dtype(255))
    with open_volume(folder / "mask.tif") as volume:
        classes = read_mask(volume, "auto").classes
    assert (classes[0], classes[255]) == (NEGATIVE, POSITIVE)
    (stack,) = load_material(placed()).train
    np.testing.assert_array_equal(stack.mask, usual.mask)
    assert stack.mask.max() == 1


def test_a_target_is_measured_and_matched(placed: Placed, folder: Path) -> None:
    image = tifffile.imread(folder / "image.tif")
    tifffile.imwrite(folder / "target.tif", 255 - image // 2)
    material = load_material(placed("data.target.image=target.tif", "data.target.voxel_nm=[50,5,5]"))
    assert [o.role for o in material.origins] == ["source", "target"]
    assert material.origins[1].mask_fingerprint is None
    (stack,) = material.train
    matched = stack.matched[0][image]
    target = material.origins[1].map.apply(255 - image // 2)
    np.testing.assert_allclose(
        np.quantile(matched, [0.1, 0.5, 0.9]), np.quantile(target, [0.1, 0.5, 0.9]), atol=0.05
    )


def test_phantoms_take_turns_and_the_held_out_ones_are_others(placed: Placed) -> None:
    recipe = placed().recipe.as_json()
    recipe["data"]["source"] = {"phantom": {"count": 2, "shape": [1, 32, 32]}}
    recipe["validate"] = {"phantoms": 1}
    material = load_material(PlacedRecipe(parse_recipe(recipe, "r"), Path()))
    names = [stack.name for stack in [*material.train, *material.held_out]]
    assert len(material.train) == 2
    assert len(material.held_out) == 1
    assert names[0].split()[2] != names[1].split()[2]
    assert len({origin.fingerprint for origin in material.origins}) == 3


def test_pooled_quantiles_weigh_each_volume_alike_and_are_not_clipped() -> None:
    plain = IntensityMap(0.0, 2.0, 1.0)  # grey 0, 1, 2, 3 become -1, 0, 1, 2
    one = (np.array([10, 0, 0, 0]), plain)
    two = (np.array([0, 0, 0, 1000]), plain)
    assert pooled_quantiles([one, two], (25.0, 50.0, 75.0)) == (-1.0, -1.0, 2.0)


def test_the_domain_holds_unclipped_quantiles_and_the_foreground_share(placed: Placed) -> None:
    material = load_material(placed())
    (stack,) = material.train
    assert material.domain.foreground_share == len(stack.foreground) / stack.mask.size
    assert len(material.domain.quantiles) == 7
    assert material.domain.quantiles[0] == pytest.approx(-1.0)
    assert material.domain.quantiles[-1] == pytest.approx(1.0)
    assert material.voxel_nm == (5.0, 5.0, 5.0)


def test_faults_of_the_data_are_one_sentence(placed: Placed, folder: Path) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    tifffile.imwrite(folder / "mask.tif", mask * 3)
    with pytest.raises(VolumeError, match=r"mask\.tif holds the values 0, 3, wanted .* alone: convert it"):
        load_material(placed())
    tifffile.imwrite(folder / "mask.tif", mask * 0)
    with pytest.raises(VolumeError, match=r"image\.tif has no foreground to train on: check mask"):
        load_material(placed())
    tifffile.imwrite(folder / "mask.tif", mask[:, :50])
    with pytest.raises(
        VolumeError, match=r"mask\.tif has \(6, 50, 128\) voxels \(zyx\) and image\.tif has \(6, 96, 128\)"
    ):
        load_material(placed())
    mask[:3] = 0
    tifffile.imwrite(folder / "mask.tif", mask)
    with pytest.raises(VolumeError, match=r"image\.tif has no foreground to train on"):
        load_material(placed("data.source.slices=[0, 3]"))


def test_faults_of_ranges_name_the_key(placed: Placed) -> None:
    with pytest.raises(RecipeError, match=r"data\.source\.slices is \[0, 9\], but image\.tif has 6 slices"):
        load_material(placed("data.source.slices=[0, 9]"))
    with pytest.raises(RecipeError, match=r"validate\.slices is \[5, 7\], but image\.tif has 6 slices"):
        load_material(placed("validate.slices=[5, 7]"))


def test_a_voxel_size_must_come_from_somewhere(folder: Path) -> None:
    text = (folder / "recipe.toml").read_text().replace("voxel_nm = [5.0, 5.0, 5.0]\n", "")
    (folder / "recipe.toml").write_text(text)
    with pytest.raises(RecipeError, match=r"image\.tif does not say its voxel size: add voxel_nm"):
        load_material(load_recipe(folder / "recipe.toml"))


WHOLE = ("validate.slices=[5, 6]",)


def masks(placed: Placed, *keys: str) -> NDArray[np.uint8]:
    (stack,) = load_material(placed(*WHOLE, *keys)).train
    return stack.mask


@pytest.mark.parametrize("pick", ["random", "balanced"])
@pytest.mark.parametrize(("fraction", "count"), [(0.05, 1), (0.4, 2), (0.6, 3), (1.0, 5)])
def test_a_fraction_of_the_slices_keeps_its_labels(
    placed: Placed, pick: str, fraction: float, count: int
) -> None:
    everything = masks(placed)
    material = load_material(placed(*WHOLE, f"data.source.fraction={fraction}", f"data.source.pick={pick}"))
    (stack,) = material.train
    assert len(stack.slices) == count
    assert stack.grey.shape == (5, 48, 64)
    np.testing.assert_array_equal(stack.mask[stack.slices], everything[stack.slices])
    others = np.delete(stack.mask, stack.slices, axis=0)
    assert (others == 255).all()
    assert set(np.unravel_index(stack.foreground, stack.mask.shape)[0]) <= set(stack.slices)
    assert (material.held_out[0].mask != 255).all()
    labelled = stack.mask[stack.slices]
    assert material.domain.foreground_share == pytest.approx((labelled == 1).mean())


def test_a_fraction_without_foreground_says_what_to_change(placed: Placed, folder: Path) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    mask[1:] = 0
    tifffile.imwrite(folder / "mask.tif", mask)
    sentence = '0.2 of its labelled slices were picked: take more, or set pick to "balanced"'
    with pytest.raises(VolumeError, match=sentence):
        load_material(placed("data.source.fraction=0.2", "loop.seed=1"))


def test_a_fraction_is_one_of_the_slices_that_are_trained_on(placed: Placed) -> None:
    keys = ("data.source.slices=[1, 5]", "validate.slices=[2, 3]", "data.source.fraction=0.34")
    train = load_material(placed(*keys)).train
    assert [len(stack.grey) for stack in train] == [1, 2]
    assert sum(len(stack.slices) for stack in train) == 1


def test_slices_without_labels_are_not_counted_in_a_fraction(placed: Placed, folder: Path) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    mask[:3] = 255
    tifffile.imwrite(folder / "mask.tif", mask)
    (stack,) = load_material(placed(*WHOLE)).train
    assert stack.slices.tolist() == [3, 4]
    (half,) = load_material(placed(*WHOLE, "data.source.fraction=0.5")).train
    assert len(half.slices) == 1
    assert half.slices[0] in (3, 4)


def test_a_class_of_interest_is_foreground_and_the_others_are_background(
    placed: Placed, folder: Path
) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    classes = np.where(mask == 1, 3, 0).astype(np.uint8)
    classes[:, :10, :10] = 7
    classes[0, 20:22, 20:22] = 255
    tifffile.imwrite(folder / "mask.tif", classes)
    (both,) = load_material(placed(*WHOLE, "data.source.label=[3, 7]")).train
    (one,) = load_material(placed(*WHOLE, "data.source.label=[3]")).train
    assert (both.mask[:, :5, :5] == 1).all()
    assert (one.mask[:, :5, :5] == 0).all()
    assert both.mask[0, 10, 10] == one.mask[0, 10, 10] == 255
    (named,) = load_material(placed(*WHOLE, "data.source.label=[255]")).train
    assert len(named.foreground) == 1
    with pytest.raises(VolumeError, match=r"holds the values 0, 3, 7, 255, .* data\.source\.label"):
        load_material(placed(*WHOLE))


def test_of_numbered_objects_every_one_is_foreground(placed: Placed, folder: Path) -> None:
    mask = tifffile.imread(folder / "mask.tif")
    numbers = np.where(mask == 1, np.arange(mask.shape[2], dtype=np.uint16) + 200, 0)
    tifffile.imwrite(folder / "mask.tif", numbers.astype(np.uint16))
    (any_,) = load_material(placed(*WHOLE, "data.source.label=any")).train
    tifffile.imwrite(folder / "mask.tif", mask)
    (plain,) = load_material(placed(*WHOLE)).train
    np.testing.assert_array_equal(any_.mask, plain.mask)  # object 255 too


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("mito", r"data\.source\.label: 'mito' names no values of the mask, wanted a list like \[1, 2\]"),
        ("[-1]", r"data\.source\.label\.0 is -1, wanted greater than or equal to 0"),
    ],
)
def test_what_names_no_values_is_refused(placed: Placed, value: str, sentence: str) -> None:
    with pytest.raises(RecipeError, match=sentence):
        placed(*WHOLE, f"data.source.label={value}")


def test_of_a_target_nothing_is_read_but_its_part(
    placed: Placed, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif"))
    read: list[Region] = []

    class Counting:
        def __init__(self, volume: Volume) -> None:
            self._volume = volume

        def __getattr__(self, name: str) -> object:
            return getattr(self._volume, name)

        def __enter__(self) -> "Counting":
            return self

        def __exit__(self, *_: object) -> None:
            self._volume.close()

        def read(self, region: Region) -> Voxels:
            read.append(region)
            return self._volume.read(region)

    monkeypatch.setattr(grey, "open_volume", lambda *one, **keys: Counting(open_volume(*one, **keys)))
    part = ("data.target.image=target.tif", "data.target.voxel_nm=[5,5,5]", "data.target.slices=[1, 3]")
    load_material(placed(*part, "data.target.columns=[8, 40]"))
    assert read[-1] == Region((1, 0, 8), (3, 96, 40))


def test_a_phantom_is_drawn_once_a_process(placed: Placed, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def counting(shape: Triple, *, seed: int, voxel_nm: float, regime: str) -> Phantom:
        drawn.append(seed)
        return make_phantom(shape, seed=seed, voxel_nm=voxel_nm, regime=regime)

    monkeypatch.setattr(source, "make_phantom", counting)
    extra = ("data.extra={count=%d, shape=[1,64,64], seed=77000}", "loop.extra_share=0.5")
    two, three = (load_extra(placed(extra[0] % count, extra[1])) for count in (2, 3))
    assert drawn == [77000, 77001, 77002]
    assert [one.mask_fingerprint for one in two] == [one.mask_fingerprint for one in three[:2]]


def test_columns_cut_image_mask_and_target(placed: Placed, folder: Path) -> None:
    tifffile.imwrite(folder / "target.tif", 255 - tifffile.imread(folder / "image.tif"))
    everything = masks(placed)
    material = load_material(
        placed(
            *WHOLE,
            "data.source.columns=[64, 128]",
            "data.target.image=target.tif",
            "data.target.voxel_nm=[5,5,5]",
            "data.target.columns=[0, 64]",
            "data.target.slices=[1, 5]",
        )
    )
    (stack,), (target,) = material.train, material.target
    np.testing.assert_array_equal(stack.mask, everything[:, :, 32:])
    assert stack.grey.shape == (5, 48, 32)
    assert target.grey.shape == (4, 48, 32)
    assert [origin.shape for origin in material.origins] == [(6, 96, 64), (4, 96, 64)]
    low, high = np.percentile(
        tifffile.imread(folder / "target.tif")[1:5, :, :64], [1, 99], method="inverted_cdf"
    )
    assert (material.origins[1].map.low, material.origins[1].map.high) == (low, high)


def test_faults_of_columns_and_target_slices_name_the_key(placed: Placed) -> None:
    target = ("data.target.image=image.tif", "data.target.voxel_nm=[5,5,5]")
    with pytest.raises(
        RecipeError, match=r"data\.source\.columns is \[0, 129\], but image\.tif has 128 columns"
    ):
        load_material(placed("data.source.columns=[0, 129]"))
    with pytest.raises(
        RecipeError, match=r"data\.target\.columns is \[0, 129\], but image\.tif has 128 columns"
    ):
        load_material(placed(*target, "data.target.columns=[0, 129]"))
    with pytest.raises(RecipeError, match=r"data\.target\.slices is \[2, 7\], but image\.tif has 6 slices"):
        load_material(placed(*target, "data.target.slices=[2, 7]"))
