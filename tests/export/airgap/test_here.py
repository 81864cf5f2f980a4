"""Where DMN came from, by the record that pip leaves."""

import json
from importlib.metadata import Distribution
from pathlib import Path

import pytest

from dmn_export.airgap import here as module
from dmn_export.airgap.here import look_here
from dmn_runtime.errors import UsageError


class FakeDistribution:
    def __init__(self, version: str, direct_url: str | None = None) -> None:
        self.version = version
        self._direct_url = direct_url

    def read_text(self, name: str) -> str | None:
        return self._direct_url if name == "direct_url.json" else None


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeDistribution]:
    found: dict[str, FakeDistribution] = {}

    def distribution(name: str) -> FakeDistribution:
        if name not in found:
            raise module.PackageNotFoundError(name)
        return found[name]

    monkeypatch.setattr(module, "distribution", distribution)
    return found


@pytest.mark.parametrize("editable", [True, False])
def test_a_source_folder_is_found(
    installed: dict[str, FakeDistribution], tmp_path: Path, editable: bool
) -> None:
    folder = tmp_path / "my source"
    record = {"url": folder.as_uri(), "dir_info": {"editable": editable}}
    installed["dmn-em"] = FakeDistribution("0.3.0", json.dumps(record))
    installed["openvino"] = FakeDistribution("2026.4.1")
    facts = look_here()
    assert (facts.version, facts.source) == ("0.3.0", folder)
    assert facts.engines == (("openvino", "2026.4.1"),)


@pytest.mark.parametrize(
    "record",
    [
        None,
        '{"url": "https://example.org/dmn.git", "vcs_info": {"vcs": "git", "commit_id": "0"}}',
        '{"url": "FOLDER/dmn_em-0.1.0-py3-none-any.whl", "archive_info": {}}',
    ],
)
def test_anything_else_comes_from_an_index(
    installed: dict[str, FakeDistribution], tmp_path: Path, record: str | None
) -> None:
    written = record and record.replace("FOLDER", tmp_path.as_uri())
    installed["dmn-em"] = FakeDistribution("0.3.0", written)
    assert look_here().source is None


def test_a_checkout_that_was_never_installed_comes_from_an_index(
    installed: dict[str, FakeDistribution],
) -> None:
    assert look_here().source is None
    assert look_here().engines == ()


@pytest.mark.parametrize("record", ["{", "{}", "[]", '{"url": 3}'])
def test_a_damaged_record_names_the_way_out(installed: dict[str, FakeDistribution], record: str) -> None:
    installed["dmn-em"] = FakeDistribution("0.3.0", record)
    with pytest.raises(UsageError, match="give DMN's own wheel with --own-wheel FILE"):
        look_here()


def test_the_running_installation_has_an_engine() -> None:
    assert isinstance(module.distribution("onnxruntime"), Distribution)
    assert "onnxruntime" in dict(look_here().engines)
