from pathlib import Path

import platformdirs

from dmn_runtime.cache_folder import cache_folder


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
