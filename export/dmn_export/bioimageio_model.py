"""A package as bioimage.io sees it: the model description (format 0.5) around the same files.

Nothing here needs the network: citations are given by DOI and no author by account.
"""

import re
from collections.abc import Mapping
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from bioimageio.spec import (
    InvalidDescr,
    ModelDescr,
    ValidationContext,
    build_description,
    load_description,
    save_bioimageio_package_to_stream,
)

from dmn_export.onnx_export import INPUT_NAME, OPSET
from dmn_runtime.contract import Contract
from dmn_runtime.errors import InvalidField
from dmn_runtime.geometry import round_up
from dmn_runtime.selftest import SCALE_RANGE_EPS, TEST_INPUT_MEMBER, TEST_OUTPUT_MEMBER

DESCRIPTION_MEMBER = "bioimageio.yaml"
WEIGHTS_MEMBER = "weights.onnx"
README_MEMBER = "README.md"
COVER_MEMBER = "cover.png"
OUTPUT_NAME = "probability"

_UNET = {
    "text": "Ronneberger, O., Fischer, P., Brox, T.: U-Net: Convolutional Networks for Biomedical Image "
    "Segmentation. MICCAI 2015.",
    "doi": "10.1007/978-3-319-24574-4_28",
}
_RELATIVE_TOLERANCE = 1e-3
_MOST_TOLERANCE = 1e-3
_PEAK_SHARE = 0.01
"""bioimage.io allows an absolute tolerance of at most this share of the test output's peak."""


def describe(
    contract: Contract, *, licence: str | None, timestamp: datetime, test_output_peak: float
) -> dict[str, Any]:
    """Return the model description as the content of bioimageio.yaml.

    Args:
        contract: what the package promises; its halo and stride become the axes' rules.
        licence: SPDX identifier of the weights' licence; None where nobody has said.
        timestamp: when the weights were finished, with its time zone.
        test_output_peak: highest probability of the test output.
    """
    return {
        "type": "model",
        "format_version": ModelDescr.implemented_format_version,
        "name": plain_name(contract.name),
        "description": contract.description[:1024],
        "authors": [{"name": "DMN developers"}],
        "cite": [_UNET],
        "license": licence,
        "tags": ["electron-microscopy", "segmentation", "2d", "unet", "onnx", "dmn"],
        "documentation": {"source": README_MEMBER},
        # Given, because bioimageio.spec would else draw one and leave it in the temporary folder.
        "covers": [{"source": COVER_MEMBER}],
        "timestamp": timestamp.isoformat(),
        "inputs": [_input(contract)],
        "outputs": [_output(contract)],
        "weights": {"onnx": {"source": WEIGHTS_MEMBER, "opset_version": OPSET}},
        "config": {
            "bioimageio": {
                "reproducibility_tolerance": [
                    {
                        "relative_tolerance": _RELATIVE_TOLERANCE,
                        "absolute_tolerance": min(_MOST_TOLERANCE, _PEAK_SHARE * test_output_peak),
                        "mismatched_elements_per_million": 100,
                    }
                ],
                "modality": "electron microscopy",
                "target_structure": list(contract.classes),
                "task": "semantic segmentation",
                "architecture_type": "2D U-Net",
            },
            "dmn": {
                "contract": "dmn.json in this archive is what DMN reads; these fields repeat it for people",
                "stride_px": contract.stride_px,
                "halo_px": contract.halo_px,
                "threshold": contract.threshold,
                "voxel_nm_zyx": list(contract.voxel_nm),
                "working_voxel_nm": contract.working_voxel_nm,
            },
        },
    }


def plain_name(name: str) -> str:
    """Return the name in the letters and lengths that bioimage.io allows: 5 to 128 of a few characters."""
    plain = re.sub(r"[^A-Za-z0-9_+\- ()]", "-", name)[:128]
    return plain if len(plain) >= 5 else f"DMN {plain}"


def build_members(description: dict[str, Any], members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Validate a description against the files it names and return them with bioimageio.yaml among them.

    Args:
        description: what `describe` returns.
        members: name -> bytes of README, cover, weights and test tensors.

    Raises:
        InvalidField: bioimageio.spec refuses the description.
    """
    # From an archive in memory: of files in a folder, bioimageio.spec leaves handles open.
    with ZipFile(BytesIO(), "w") as files:
        for name, content in members.items():
            files.writestr(name, content)
        context = ValidationContext(
            root=files, file_name=DESCRIPTION_MEMBER, perform_io_checks=True, log_warnings=False
        )
        built = build_description(description, context=context)
        _refuse_invalid(built, "the new package")
        with context, ZipFile(save_bioimageio_package_to_stream(built, output_stream=BytesIO())) as archive:
            return {**members, **{name: archive.read(name) for name in archive.namelist()}}


def check_archive(path: Path) -> None:
    """Load a finished package with bioimageio.spec, with all checks of its files.

    Raises:
        InvalidField: it is no valid bioimage.io model package.
    """
    # An open archive instead of its path: on its way the file does not end in .zip yet. The file is ours to
    # close, for bioimageio.spec leaves members open, which would keep it open as well.
    context = ValidationContext(perform_io_checks=True, log_warnings=False)
    with path.open("rb") as file, ZipFile(file) as archive, context:
        _refuse_invalid(load_description(archive), str(path))


def _refuse_invalid(description: object, what: str) -> None:
    if isinstance(description, InvalidDescr):
        first = next(e for detail in description.validation_summary.details for e in detail.errors)
        raise InvalidField(
            f"bioimageio.spec refuses {what} at {'.'.join(map(str, first.loc))} "
            f"({' '.join(first.msg.split())}): change the name, description or licence if it speaks of "
            "those, else report it"
        )


def _input(contract: Contract) -> dict[str, Any]:
    rule = contract.normalisation
    smallest = round_up(2 * contract.halo_px + contract.stride_px, contract.stride_px)
    size = {"min": smallest, "step": contract.stride_px}
    return {
        "id": INPUT_NAME,
        "description": "Grey image; a channel is a slice, the middle one is segmented.",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "id": "channel", "channel_names": _slice_names(contract.context_slices)},
            *({**_space_axis(axis, contract), "size": size, "concatenable": True} for axis in ("y", "x")),
        ],
        "test_tensor": {"source": TEST_INPUT_MEMBER},
        "data": {"type": "uint8"},
        "pad": {"mode": "reflect"},
        "preprocessing": [
            {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
            {
                "id": "scale_range",
                "kwargs": {
                    "axes": ["channel", "y", "x"],
                    "min_percentile": rule.low_percent,
                    "max_percentile": rule.high_percent,
                    "eps": SCALE_RANGE_EPS,
                },
            },
            {"id": "scale_linear", "kwargs": {"gain": 2.0, "offset": -1.0}},
            {"id": "clip", "kwargs": {"min": -rule.clip, "max": rule.clip}},
            {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}},
        ],
    }


def _output(contract: Contract) -> dict[str, Any]:
    halo = {"halo": contract.halo_px} if contract.halo_px else {}
    return {
        "id": OUTPUT_NAME,
        "description": f"Probability of the class; foreground from {contract.threshold:g}.",
        "axes": [
            {"type": "batch"},
            {"type": "channel", "id": "channel", "channel_names": [_identifier(c) for c in contract.classes]},
            *(
                {**_space_axis(axis, contract), "size": {"tensor_id": INPUT_NAME, "axis_id": axis}, **halo}
                for axis in ("y", "x")
            ),
        ],
        "test_tensor": {"source": TEST_OUTPUT_MEMBER},
        "data": {"type": "float32", "range": [0.0, 1.0]},
        "postprocessing": [{"id": "sigmoid"}],
    }


def _space_axis(axis: str, contract: Contract) -> dict[str, Any]:
    pixel_nm = contract.working_voxel_nm or contract.voxel_nm["zyx".index(axis)]
    return {"type": "space", "id": axis, "unit": "nanometer", "scale": pixel_nm}


def _slice_names(context_slices: int) -> list[str]:
    below = [f"below_{k}" for k in range(context_slices, 0, -1)]
    above = [f"above_{k}" for k in range(1, context_slices + 1)]
    return [*below, "middle", *above]


def _identifier(name: str) -> str:
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return plain if plain.isidentifier() else f"_{plain}"
