#!/usr/bin/env bash
# Other tools read what DMN writes, each in an environment of its own, since their pins exclude each other.
# Needs Python 3.12 or later for the OME-Zarr libraries (PYTHON312 names it); leaves nothing but .venv-* behind.
set -euo pipefail
cd "$(dirname "$0")/../.."
python312=${PYTHON312:-$(command -v python3.12 || command -v python3.13 || true)}
if [ -z "$python312" ]; then
    echo "make interop: Python 3.12 or later was not found, ome-zarr-models needs it: set PYTHON312" >&2
    exit 2
fi
make_environment() { # folder, python, packages...
    if [ ! -e "$1/.ready" ]; then
        "$2" -m venv --clear "$1"
        "$1/bin/python" -m pip install --quiet --disable-pip-version-check "${@:3}"
        touch "$1/.ready"
    fi
}
make_environment .venv-ome-zarr "$python312" ome-zarr-models==1.8.1 ome-zarr==0.21.0
make_environment .venv-bioimageio .venv/bin/python bioimageio.core==0.11.0 onnxruntime==1.31.1 "pydantic<2.13"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
.venv/bin/dmn demo -o "$folder"
.venv-ome-zarr/bin/python tests/interop/check_ome_zarr.py "$folder/segmentation.ome.zarr"
.venv-bioimageio/bin/python tests/interop/check_bioimageio.py runtime/dmn_runtime/data/demo.zip
