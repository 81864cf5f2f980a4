import json

import numpy as np
import tifffile

from dmn_runtime.cli import main
from dmn_runtime.commands import inspect


def run(capsys, *words):
    status = main(["inspect", *words])
    out, err = capsys.readouterr()
    return status, out, err


def test_a_package(tested_package, capsys):
    path = str(tested_package())
    status, out, err = run(capsys, path)
    assert (status, err) == (0, "")
    assert out.startswith(f"{path} is a package that segments mitochondria")
    _, out, _ = run(capsys, path, "--json")
    assert (json.loads(out)["kind"], json.loads(out)["stride_px"]) == ("package", 2)


def test_a_package_is_known_by_its_content_too(tested_package, capsys):
    path = tested_package()
    bare = path.rename(path.with_suffix(""))
    status, out, _ = run(capsys, str(bare))
    assert (status, "is a package" in out) == (0, True)


def test_the_word_demo_is_the_embedded_package(tested_package, capsys, monkeypatch):
    path = tested_package()
    monkeypatch.setattr(inspect, "resolve_package", lambda word: path)
    _, out, _ = run(capsys, "demo")
    assert out.startswith("demo is a package")
    assert "dmn infer demo STACK.tif" in out


def test_a_volume(tmp_path, capsys):
    path = str(tmp_path / "v.tif")
    tifffile.imwrite(path, np.arange(200, dtype=np.uint8).reshape(2, 10, 10), photometric="minisblack")
    status, out, err = run(capsys, path)
    assert (status, err) == (0, "")
    assert out.startswith(f"{path} is a volume.")
    _, out, _ = run(capsys, path, "--json")
    found = json.loads(out)
    assert (found["kind"], found["shape"], found["voxel_nm"]) == ("volume", [2, 10, 10], None)


def test_a_constant_volume_is_still_told(tmp_path, capsys):
    path = str(tmp_path / "v.tif")
    tifffile.imwrite(path, np.full((2, 10, 10), 7, np.uint8), photometric="minisblack")
    status, out, _ = run(capsys, path)
    assert (status, "7 to 7, 1 different one " in out) == (0, True)


def test_what_is_neither_is_one_sentence(tmp_path, capsys):
    status, out, err = run(capsys, str(tmp_path / "none.zip"))
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "none.zip does not exist" in err
    status, out, err = run(capsys, str(tmp_path / "none.tif"))
    assert (status, out, err.count("\n")) == (2, "", 1)
