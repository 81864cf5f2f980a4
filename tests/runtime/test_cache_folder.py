from pathlib import Path

import numpy as np
import platformdirs
import pytest
import tifffile

from dmn_runtime import cache_folder as module
from dmn_runtime.cache_folder import cache_folder
from dmn_runtime.cli import main
from dmn_runtime.errors import UsageError


def test_the_users_own_folder(monkeypatch):
    monkeypatch.delenv("DMN_CACHE_DIR", raising=False)
    assert cache_folder() == platformdirs.user_cache_path("dmn", appauthor=False)
    monkeypatch.setenv("DMN_CACHE_DIR", "")
    assert cache_folder() == platformdirs.user_cache_path("dmn", appauthor=False)


def test_the_variable_overrides_it_and_the_path_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DMN_CACHE_DIR", "engines here")
    assert cache_folder() == tmp_path / "engines here"
    monkeypatch.setenv("DMN_CACHE_DIR", "~/cache")
    assert cache_folder() == Path.home() / "cache"


def test_asking_makes_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("DMN_CACHE_DIR", str(tmp_path / "none"))
    assert not cache_folder().exists()


@pytest.mark.parametrize("below", ["", "deep/down"])
def test_a_file_where_a_folder_was_named_is_one_sentence(monkeypatch, tmp_path, below):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    monkeypatch.setenv("DMN_CACHE_DIR", str(taken / below))
    with pytest.raises(UsageError) as caught:
        cache_folder()
    assert str(caught.value) == (
        f"DMN_CACHE_DIR names {taken / below}, but {taken} is a file, wanted a folder: name a folder, "
        "or leave the variable out"
    )


def test_a_file_in_the_users_own_place_stops_nobody(monkeypatch, tmp_path):
    monkeypatch.delenv("DMN_CACHE_DIR", raising=False)
    (tmp_path / "dmn").write_text("a file")
    monkeypatch.setattr(module, "user_cache_path", lambda *_, **__: tmp_path / "dmn")
    assert cache_folder() == tmp_path / "dmn"


@pytest.mark.parametrize(
    "words",
    [
        ("engines", "list"),
        ("engines", "prune"),
        ("verify", "demo", "--engine", "cpu"),
        ("infer", "demo", "stack.tif", "-o", "out.tif"),
    ],
    ids=lambda words: "-".join(words[:2]),
)
def test_every_command_says_the_same(monkeypatch, tmp_path, capsys, words):
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("stack.tif", np.arange(8192, dtype=np.uint8).reshape(2, 64, 64), resolution=(1, 1))
    monkeypatch.setenv("DMN_CACHE_DIR", "stack.tif")
    more = ("--voxel-nm", "50,5,5") if words[0] == "infer" else ()
    assert main([*words, *more]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"dmn {words[0]}: DMN_CACHE_DIR names ")
    assert err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["stack.tif"]
