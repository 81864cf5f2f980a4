"""Writing the folder: whole or not at all, with a pip that only pretends."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dmn_export.airgap import folder as module
from dmn_export.airgap.folder import check_folder, write_folder
from dmn_export.airgap.here import Here
from dmn_export.airgap.plan import AirGapWishes, FolderPlan, plan_folder
from dmn_runtime.contract import PackagedPlan
from dmn_runtime.errors import NotAPackage, OutputError, UsageError
from dmn_runtime.package import Package

OWN = "dmn_em-0.1.0-py3-none-any.whl"
FakePip = Any  # of conftest.py, which is no module to import from


@pytest.fixture
def plan(here: Here) -> FolderPlan:
    return plan_folder(AirGapWishes(here))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out" / "pc"


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def leftovers(place: Path) -> list[str]:
    return sorted(path.name for path in place.parent.iterdir() if path != place)


def test_the_folder_holds_what_was_planned_and_nothing_else(
    package: Path, place: Path, plan: FolderPlan, pip: FakePip
) -> None:
    said: list[str] = []
    write_folder(package, place, plan, said.append, pip)
    assert names(place) == [
        "README.md",
        "SHA256SUMS",
        "install.bat",
        "install.sh",
        "mito.zip",
        f"wheels/linux/{OWN}",
        "wheels/linux/onnxruntime-1.31.1-cp311-cp311-manylinux_2_28_x86_64.whl",
        "wheels/linux/openvino-2026.4.1-cp311-cp311-manylinux_2_28_x86_64.whl",
        "wheels/windows/colorama-0.4.6-py2.py3-none-any.whl",
        f"wheels/windows/{OWN}",
        "wheels/windows/onnxruntime-1.31.1-cp311-cp311-win_amd64.whl",
        "wheels/windows/openvino-2026.4.1-cp311-cp311-win_amd64.whl",
    ]
    assert sorted(path.name for path in place.iterdir() if path.is_dir()) == ["wheels"]
    assert leftovers(place) == []
    assert (place / "mito.zip").read_bytes() == package.read_bytes()
    assert said[:4] == [
        "bringing the wheel of DMN 0.1.0",
        "bringing the wheels for linux, Python 3.11",
        "bringing the wheels for windows, Python 3.11",
        "bringing what only windows with Python 3.11 needs: colorama",
    ]
    assert b"\r" not in (place / "install.sh").read_bytes()
    assert (place / "install.bat").read_bytes().startswith(b"@echo off\r\nrem ")


def test_every_file_but_the_list_itself_is_in_the_list(
    package: Path, place: Path, plan: FolderPlan, pip: FakePip
) -> None:
    write_folder(package, place, plan, lambda _: None, pip)
    listed = dict(reversed(line.split("  ")) for line in (place / "SHA256SUMS").read_text().splitlines())
    assert sorted([*listed, "SHA256SUMS"]) == names(place)
    assert all(
        hashlib.sha256((place / name).read_bytes()).hexdigest() == value for name, value in listed.items()
    )


def test_downloads_start_from_the_wheel_that_was_made(
    package: Path, place: Path, plan: FolderPlan, pip: FakePip
) -> None:
    write_folder(package, place, plan, lambda _: None, pip)
    made = Path(".build", OWN)
    assert pip.calls[1].endswith(
        f"--implementation cp {made}[openvino] onnxruntime==1.31.1 openvino==2026.4.1"
    )


def test_one_system_has_one_script(package: Path, place: Path, here: Here, pip: FakePip) -> None:
    write_folder(package, place, plan_folder(AirGapWishes(here, platforms=("linux",))), lambda _: None, pip)
    assert [name for name in names(place) if name.startswith("install")] == ["install.sh"]
    assert [path.name for path in (place / "wheels").iterdir()] == ["linux"]


def test_a_given_wheel_is_taken(
    package: Path, place: Path, tmp_path: Path, here: Here, pip: FakePip, wheel: Any
) -> None:
    own = wheel(tmp_path / "dist", OWN, "Provides-Extra: openvino")
    plan = plan_folder(AirGapWishes(here, own_wheel=own, platforms=("linux",)))
    write_folder(package, place, plan, lambda _: None, pip)
    assert not any(call.startswith("wheel") for call in pip.calls)
    assert f"wheels/linux/{OWN}" in names(place)


@pytest.mark.parametrize("fails_at", ["wheel --no-deps", "manylinux", "win_amd64", "colorama"])
def test_where_pip_fails_nothing_is_left(
    package: Path, place: Path, plan: FolderPlan, pip: FakePip, fails_at: str
) -> None:
    with pytest.raises(OutputError, match=r"\(No matching distribution found for onnxruntime\)"):
        write_folder(package, place, plan, lambda _: None, replace(pip, fails_at=fails_at))
    assert not place.exists()
    assert leftovers(place) == []


def test_where_somebody_interrupts_nothing_is_left(package: Path, place: Path, plan: FolderPlan) -> None:
    def interrupted(*_: object) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(package, place, plan, lambda _: None, interrupted)
    assert list(place.parent.iterdir()) == []


def test_wheels_that_never_suffice_are_an_error(
    package: Path, place: Path, plan: FolderPlan, pip: FakePip
) -> None:
    del pip.brings["--find-links wheels/windows colorama"]
    with pytest.raises(OutputError, match=r"windows, Python 3\.11 still lack colorama after 5 rounds"):
        write_folder(package, place, plan, lambda _: None, pip)
    assert list(place.parent.iterdir()) == []


def test_an_extra_that_dmn_does_not_have_is_refused(
    package: Path, place: Path, here: Here, pip: FakePip
) -> None:
    with pytest.raises(UsageError, match="has no extra 'codec', it has openvino: ask for one of these"):
        write_folder(package, place, plan_folder(AirGapWishes(here, extras=("codec",))), lambda _: None, pip)
    assert list(place.parent.iterdir()) == []


def test_a_source_that_makes_no_wheel_of_dmn_is_refused(
    package: Path, place: Path, plan: FolderPlan, pip: FakePip
) -> None:
    pip.brings.clear()
    with pytest.raises(OutputError, match=r"left 0 files, wanted one: .* --own-wheel FILE"):
        write_folder(package, place, plan, lambda _: None, pip)


def test_a_given_wheel_that_is_missing_is_refused(
    package: Path, place: Path, here: Here, pip: FakePip
) -> None:
    plan = plan_folder(AirGapWishes(here, own_wheel=Path("no", OWN)))
    with pytest.raises(UsageError, match=r"--own-wheel .* cannot be read"):
        write_folder(package, place, plan, lambda _: None, pip)
    assert list(place.parent.iterdir()) == []


def test_what_is_no_package_is_refused_before_pip_is_called(
    tmp_path: Path, place: Path, plan: FolderPlan, pip: FakePip
) -> None:
    with pytest.raises(NotAPackage):
        write_folder(tmp_path / "none.zip", place, plan, lambda _: None, pip)
    assert pip.calls == []


def test_an_existing_folder_is_refused(package: Path, place: Path, plan: FolderPlan, pip: FakePip) -> None:
    place.mkdir()
    with pytest.raises(OutputError, match="exists already"):
        write_folder(package, place, plan, lambda _: None, pip)
    assert pip.calls == []


def test_overwrite_replaces_an_air_gapped_folder_whole(
    package: Path, place: Path, plan: FolderPlan, pip: FakePip
) -> None:
    write_folder(package, place, plan, lambda _: None, pip)
    (place / "old.txt").touch()
    write_folder(package, place, replace(plan, overwrite=True), lambda _: None, pip)
    assert "old.txt" not in names(place)
    assert "install.sh" in names(place)
    assert leftovers(place) == []


def test_a_failed_overwrite_leaves_the_old_folder(
    package: Path, place: Path, plan: FolderPlan, pip: FakePip
) -> None:
    write_folder(package, place, plan, lambda _: None, pip)
    (place / "old.txt").touch()
    with pytest.raises(OutputError):
        write_folder(
            package, place, replace(plan, overwrite=True), lambda _: None, replace(pip, fails_at="colorama")
        )
    assert "old.txt" in names(place)
    assert leftovers(place) == []


def test_a_new_folder_that_cannot_take_its_place_leaves_the_old_one(
    package: Path, place: Path, plan: FolderPlan, pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_folder(package, place, plan, lambda _: None, pip)
    (place / "old.txt").touch()
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if self.name.endswith(".partial"):
            raise PermissionError(13, "Permission denied")
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        write_folder(package, place, replace(plan, overwrite=True), lambda _: None, pip)
    assert "old.txt" in names(place)
    assert leftovers(place) == []


def test_overwrite_never_removes_somebody_elses_folder(place: Path) -> None:
    place.mkdir()
    (place / "thesis.tex").touch()
    with pytest.raises(OutputError, match="is no air-gapped folder"):
        check_folder(place, overwrite=True)


def test_a_folder_in_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist: make it first"):
        check_folder(tmp_path / "none" / "pc", overwrite=False)


def test_engines_of_another_version_than_the_wheels_are_refused(
    package: Path, place: Path, gpu_here: Here, pip: FakePip, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape = (1, 1, 64, 64)
    held = PackagedPlan(
        "rtx40.plan", "fp16", "tensorrt_rtx", "1.6.0", ("SM89",), "windows_x86_64", shape, shape, shape
    )
    opened = module.open_package(package)
    changed = Package(package, replace(opened.contract, plans=(held,)), opened.sha256)
    monkeypatch.setattr(module, "open_package", lambda _: changed)
    with pytest.raises(
        UsageError, match=r"built by TensorRT-RTX 1\.6\.0, but 1\.7\.1\.116 would be installed"
    ):
        write_folder(
            package,
            place,
            plan_folder(AirGapWishes(gpu_here, gpu_families=("rtx40",))),
            lambda _: None,
            pip,
        )
    assert pip.calls == []
