"""What would be run, decided before anything is."""

from itertools import pairwise
from pathlib import Path

import pytest

from dmn_export.airgap.here import Here
from dmn_export.airgap.plan import AirGapWishes, describe_plan, follow_up, plan_folder
from dmn_export.airgap.target import Target
from dmn_runtime.errors import EngineError, MissingExtra, UsageError


def test_the_plain_folder_is_for_both_systems_and_the_running_python(here: Here) -> None:
    plan = plan_folder(AirGapWishes(here))
    assert plan.targets == (Target("linux", "3.11"), Target("windows", "3.11"))
    assert plan.own_requirement == "dmn-em[openvino]"
    assert plan.pins == ("onnxruntime==1.31.1", "openvino==2026.4.1")
    assert [step.words for step in plan.builds] == [
        ("wheel", "--no-deps", "--wheel-dir", ".build", "/src/dmn")
    ]
    assert plan.downloads[1].words == (
        "download",
        *("--dest", "wheels/windows", "--find-links", ".build", "--only-binary=:all:"),
        *("--platform", "win_amd64", "--python-version", "3.11", "--implementation", "cp"),
        *("{dmn-em wheel}[openvino]", "onnxruntime==1.31.1", "openvino==2026.4.1"),
    )


def test_linux_is_asked_for_by_each_of_its_tags(here: Here) -> None:
    words = plan_folder(AirGapWishes(here, platforms=("linux",))).downloads[0].words
    tags = [after for word, after in pairwise(words) if word == "--platform"]
    assert tags[0] == "manylinux_2_28_x86_64"
    assert "manylinux2014_x86_64" in tags
    assert "manylinux_2_17_x86_64" in tags


def test_every_python_is_downloaded_for_and_the_newest_is_tried_first(here: Here) -> None:
    plan = plan_folder(AirGapWishes(here, pythons=("3.11", "3.13", "3.11", "3.12")))
    assert len(plan.downloads) == len(plan.targets) == 6
    assert plan.pythons == ("3.13", "3.12", "3.11")
    assert plan.platforms == ("linux", "windows")


def test_gpu_families_bring_the_library_that_built_their_engines(gpu_here: Here) -> None:
    plan = plan_folder(AirGapWishes(gpu_here, gpu_families=("rtx40",)))
    assert plan.extras == ("openvino", "gpu", "tensorrt-rtx")
    assert plan.pins == ("onnxruntime==1.31.1", "tensorrt-rtx-cu13==1.7.1.116")
    assert plan.builds[1].words == (
        "wheel",
        "--no-deps",
        "--wheel-dir",
        ".build",
        "tensorrt-rtx-cu13==1.7.1.116",
    )


def test_what_is_asked_for_twice_is_named_once(gpu_here: Here) -> None:
    asked = AirGapWishes(gpu_here, platforms=("linux", "linux"), gpu_families=("rtx40", " RTX30", "rtx40"))
    plan = plan_folder(asked)
    assert plan.gpu_families == ("rtx40", "rtx30")
    assert (plan.platforms, len(plan.downloads)) == (("linux",), 1)


def test_gpu_families_without_the_library_are_refused(here: Here) -> None:
    with pytest.raises(MissingExtra, match=r"pip install 'dmn-em\[tensorrt-rtx\]'"):
        plan_folder(AirGapWishes(here, gpu_families=("rtx40",)))


@pytest.mark.parametrize("families", [("rtx99",), ("rtx40", "rtx99"), ("",)])
def test_a_family_that_there_is_none_of_is_refused(gpu_here: Here, families: tuple[str, ...]) -> None:
    with pytest.raises(EngineError, match=f"'{families[-1]}' is no target: --for takes rtx20, a100, rtx30"):
        plan_folder(AirGapWishes(gpu_here, gpu_families=families))


@pytest.mark.parametrize("families", [("linux",), ("rtx40", "windows"), (" Windows ", "rtx40")])
def test_a_system_among_the_gpus_is_refused(gpu_here: Here, families: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=r"names the system .*, wanted GPUs alone: .* --platform"):
        plan_folder(AirGapWishes(gpu_here, gpu_families=families))


def test_dmn_from_an_index_comes_from_there_again(gpu_here: Here) -> None:
    assert plan_folder(AirGapWishes(gpu_here)).builds[0].words == (
        *("download", "--no-deps", "--only-binary=:all:", "--dest", ".build", "dmn-em==0.1.0"),
    )


def test_a_given_wheel_is_made_by_nobody(here: Here) -> None:
    wheel = Path("dist/dmn_em-0.1.0-py3-none-any.whl")
    plan = plan_folder(AirGapWishes(here, own_wheel=wheel))
    assert (plan.own_wheel, plan.builds) == (wheel, ())


def test_more_extras_come_beside_the_others_for_every_system(here: Here, gpu_here: Here) -> None:
    plan = plan_folder(AirGapWishes(here, more_extras=("hdf5", " Codecs", "hdf5")))
    assert plan.own_requirement == "dmn-em[openvino,hdf5,codecs]"
    assert [step.words[-3] for step in plan.downloads] == ["{dmn-em wheel}[openvino,hdf5,codecs]"] * 2
    plan = plan_folder(AirGapWishes(gpu_here, gpu_families=("rtx40",), more_extras=("mrc", "objects")))
    assert plan.extras == ("openvino", "gpu", "tensorrt-rtx", "mrc", "objects")


@pytest.mark.parametrize("word", ["train", "codec", ""])
def test_an_extra_that_no_folder_holds_is_refused(here: Here, word: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_folder(AirGapWishes(here, more_extras=("hdf5", word)))
    assert str(caught.value) == (
        f"--with hdf5,{word} names {word!r}, wanted codecs, hdf5, mrc or objects, comma between: leave it out"
    )


def test_no_extras_are_a_choice(here: Here) -> None:
    plan = plan_folder(AirGapWishes(here, extras=()))
    assert plan.own_requirement == "dmn-em"
    assert plan.downloads[0].words[-2:] == ("{dmn-em wheel}", "onnxruntime==1.31.1")


@pytest.mark.parametrize("name", ["torch-2.13.0-cp311-cp311-win_amd64.whl", "dmn_em-0.1.0.tar.gz", "dmn.whl"])
def test_a_wheel_of_something_else_is_refused(here: Here, name: str) -> None:
    with pytest.raises(UsageError, match="is no wheel of DMN"):
        plan_folder(AirGapWishes(here, own_wheel=Path(name)))


@pytest.mark.parametrize(
    "wishes", [{"platforms": ("macos",)}, {"platforms": ()}, {"pythons": ("3.10",)}, {"pythons": ("three",)}]
)
def test_words_that_mean_nothing_are_refused(here: Here, wishes: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(UsageError):
        plan_folder(AirGapWishes(here, **wishes))  # type: ignore[arg-type]


def test_a_dry_run_tells_commands_and_files(here: Here) -> None:
    text = describe_plan(plan_folder(AirGapWishes(here, platforms=("windows",))), Path("pc"), "mito.zip")
    assert text.splitlines() == [
        "would run:",
        "  pip wheel --no-deps --wheel-dir .build /src/dmn",
        "  pip download --dest wheels/windows --find-links .build --only-binary=:all: --platform win_amd64 "
        "--python-version 3.11 --implementation cp {dmn-em wheel}[openvino] onnxruntime==1.31.1 "
        "openvino==2026.4.1",
        "would write pc:",
        *("  mito.zip", "  wheels/windows/*.whl", "  install.bat", "  README.md", "  SHA256SUMS"),
    ]


def test_a_dry_run_tells_of_a_given_wheel(here: Here) -> None:
    plan = plan_folder(AirGapWishes(here, own_wheel=Path("dmn_em-0.1.0-py3-none-any.whl")))
    assert (
        "  copy dmn_em-0.1.0-py3-none-any.whl .build/"
        in describe_plan(plan, Path("pc"), "m.zip").splitlines()
    )


def test_what_was_left_out_is_brought_for_the_same_pc() -> None:
    words = follow_up(Target("windows", "3.12"), ("colorama", "tzdata>=2025")).words
    assert words[-4:] == ("--find-links", "wheels/windows", "colorama", "tzdata>=2025")
    assert "win_amd64" in words
    assert words[words.index("--python-version") + 1] == "3.12"
