"""dmn.json: what is written is read back, and every clause refuses what breaks it."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.contract import Certificate, Contract, Domain, Normalisation, Precision
from dmn_runtime.contract_json import from_json, parse_strict, to_json
from dmn_runtime.errors import InvalidField, NotAPackage, UnknownVersion

HASH = "0123456789abcdef" * 4


def valid() -> dict[str, Any]:
    return {
        "format": "dmn-package",
        "format_version": 1,
        "name": "mito",
        "description": "Mitochondria in FIB-SEM.",
        "classes": ["mitochondrion"],
        "in_channels": 3,
        "context_slices": 1,
        "stride_px": 8,
        "halo_px": 48,
        "voxel_nm": [5, 5.0, 5.0],
        "working_voxel_nm": 10.0,
        "normalisation": {"low_percent": 1.0, "high_percent": 99.0, "clip": 2.0},
        "threshold": 0.5,
        "precisions": {
            "fp32": {
                "member": "weights.onnx",
                "certificate": {
                    "max_dp": 3e-06,
                    "mean_dp": 1e-07,
                    "iou_change": 0.0,
                    "tiles": 8,
                    "tolerance_max_dp": 1e-04,
                    "tolerance_iou_change": 0.0005,
                    "passed": True,
                    "engine": "onnxruntime 1.31 CPU",
                },
            }
        },
        "domain": {"quantiles": [-1.0, -0.8, -0.2, 0.1, 0.4, 0.8, 1.0], "foreground_share": 0.06},
        "provenance": {"method": "source_only", "seeds": [0]},
        "members": {"weights.onnx": HASH},
    }


def changed(path: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(valid())
    *way, last = path.split("/")
    place = document
    for key in way:
        place = place[key]
    place[last] = value
    return document


def test_the_valid_document_is_read_field_by_field() -> None:
    assert from_json(valid()) == Contract(
        name="mito",
        description="Mitochondria in FIB-SEM.",
        classes=("mitochondrion",),
        in_channels=3,
        context_slices=1,
        stride_px=8,
        halo_px=48,
        voxel_nm=(5.0, 5.0, 5.0),
        working_voxel_nm=10.0,
        normalisation=Normalisation(1.0, 99.0, 2.0),
        threshold=0.5,
        precisions={
            "fp32": Precision(
                "weights.onnx", Certificate(3e-06, 1e-07, 0.0, 8, 1e-04, 0.0005, True, "onnxruntime 1.31 CPU")
            )
        },
        domain=Domain((-1.0, -0.8, -0.2, 0.1, 0.4, 0.8, 1.0), 0.06),
        provenance={"method": "source_only", "seeds": [0]},
        members={"weights.onnx": HASH},
    )


def test_writing_what_was_read_gives_the_same_document() -> None:
    assert to_json(from_json(valid())) == valid()


shares = st.floats(0.0, 1.0)
names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=40)
lengths = st.floats(1e-3, 1e5)


@st.composite
def certificates(draw: st.DrawFn) -> Certificate:
    max_dp, iou_change = draw(shares), draw(shares)
    return Certificate(
        max_dp=max_dp,
        mean_dp=draw(shares),
        iou_change=iou_change,
        tiles=draw(st.integers(1, 1000)),
        tolerance_max_dp=draw(st.floats(max_dp, 1.0)),
        tolerance_iou_change=draw(st.floats(iou_change, 1.0)),
        passed=True,
        engine=draw(names),
    )


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    context = draw(st.integers(0, 8))
    stride = 2 ** draw(st.integers(0, 8))
    precisions = {
        name: Precision(f"{name}.onnx", draw(certificates()))
        for name in ["fp32", *draw(st.sets(st.sampled_from(["fp16", "int8", "int8-x86"])))]
    }
    low = draw(st.floats(0.0, 49.0))
    json_values = st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(-1e9, 1e9) | names,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=3),
        max_leaves=5,
    )
    return Contract(
        name=draw(names),
        description=draw(names),
        classes=(draw(names),),
        in_channels=2 * context + 1,
        context_slices=context,
        stride_px=stride,
        halo_px=stride * draw(st.integers(0, 16)),
        voxel_nm=(draw(lengths), draw(lengths), draw(lengths)),
        working_voxel_nm=draw(st.none() | lengths),
        normalisation=Normalisation(low, draw(st.floats(50.0, 100.0)), draw(st.floats(1.0, 100.0))),
        threshold=draw(st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)),
        precisions=precisions,
        domain=Domain(tuple(sorted(draw(st.lists(st.floats(-9, 9), min_size=7, max_size=7)))), draw(shares)),
        provenance=draw(st.dictionaries(names, json_values, max_size=4)),
        members={p.member: HASH for p in precisions.values()},
    )


@given(contracts())
def test_every_contract_survives_the_way_through_json_text(contract: Contract) -> None:
    text = json.dumps(to_json(contract), ensure_ascii=False, allow_nan=False).encode("utf-8")
    assert from_json(parse_strict(text)) == contract


@pytest.mark.parametrize("key", sorted(set(valid()) - {"format"}))
def test_no_field_may_be_missing(key: str) -> None:
    document = valid()
    del document[key]
    with pytest.raises(InvalidField, match=f"no field {key}"):
        from_json(document)


@pytest.mark.parametrize(
    "place", ["", "normalisation", "domain", "precisions/fp32", "precisions/fp32/certificate"]
)
def test_no_field_may_be_unknown(place: str) -> None:
    path = f"{place}/colour".lstrip("/")
    with pytest.raises(InvalidField, match=rf"unknown field {path.replace('/', '.')}"):
        from_json(changed(path, 1))


CERTIFICATE = "precisions/fp32/certificate"


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("format_version", "1", "format_version is '1', wanted a whole number"),
        ("format_version", 0, "format_version is 0"),
        ("format_version", True, "format_version is True"),
        ("name", "", "name is '', wanted a printable text"),
        ("name", 3, "name is 3"),
        ("name", "a\nb", "on one line"),
        ("name", "x" * 201, "1 to 200 characters"),
        ("description", "\x1b[2J", "printable"),
        ("classes", [], "exactly one class"),
        ("classes", ["a", "b"], "exactly one class"),
        ("classes", "a", "exactly one class"),
        ("classes", [1], "exactly one class"),
        ("in_channels", 1, r"wanted 2 \* context_slices \+ 1 = 3"),
        ("context_slices", 9, "from 0 to 8"),
        ("context_slices", 1.0, "a whole number"),
        ("stride_px", 6, "a power of two"),
        ("stride_px", 0, "from 1 to 256"),
        ("halo_px", 44, "a multiple of stride_px = 8"),
        ("halo_px", -8, "from 0 to 4096"),
        ("voxel_nm", [5, 5], "three lengths"),
        ("voxel_nm", [5, 5, 0], "above 0"),
        ("voxel_nm", [5, 5, True], "three lengths"),
        ("voxel_nm", [5, 5, "5"], "three lengths"),
        ("working_voxel_nm", 0, "null or a length"),
        ("working_voxel_nm", 10**400, "null or a length"),
        ("normalisation", [], "an object"),
        ("normalisation/low_percent", -1, "normalisation.low_percent is -1"),
        ("normalisation/high_percent", 1, "above 1"),
        ("normalisation/clip", 0.5, "from 1 to 100"),
        ("threshold", 0.0, "between 0 and 1"),
        ("threshold", 1.0, "between 0 and 1"),
        ("threshold", None, "between 0 and 1"),
        ("threshold", float("nan"), "between 0 and 1"),
        ("precisions", {}, "an entry 'fp32'"),
        ("precisions/FP 16", {}, "names of 1 to 32"),
        ("precisions/fp32/member", "other.onnx", "that members records"),
        (f"{CERTIFICATE}/passed", False, "must not be run"),
        (f"{CERTIFICATE}/passed", 1, "must not be run"),
        (f"{CERTIFICATE}/max_dp", 2e-4, "at most tolerance_max_dp"),
        (f"{CERTIFICATE}/iou_change", 0.01, "at most tolerance_iou_change"),
        (f"{CERTIFICATE}/mean_dp", -1e-9, "from 0 to 1"),
        (f"{CERTIFICATE}/tiles", 0, "from 1"),
        ("domain/quantiles", [0.0] * 6, "7 numbers"),
        ("domain/quantiles", [0.0] * 6 + [10**400], "7 numbers"),
        ("domain/quantiles", [0.0] * 6 + [float("nan")], "7 numbers"),
        ("domain/quantiles", [0.0, 1.0, 0.5, 1.0, 1.0, 1.0, 1.0], "never fall"),
        ("domain/foreground_share", 1.1, "from 0 to 1"),
        ("provenance", [], "an object"),
        ("members/weights.onnx", HASH.upper(), "64 lower-case hexadecimal"),
        ("members/weights.onnx", 5, "64 lower-case hexadecimal"),
    ],
)
def test_a_field_out_of_its_range_is_named(path: str, value: object, said: str) -> None:
    with pytest.raises(InvalidField, match=said):
        from_json(changed(path, value))


def test_a_network_must_be_an_onnx_file() -> None:
    document = changed("precisions/fp32/member", "weights.pt")
    document["members"]["weights.pt"] = HASH
    with pytest.raises(InvalidField, match=r"a \.onnx file"):
        from_json(document)


def test_a_newer_version_says_upgrade_before_anything_else_is_judged() -> None:
    with pytest.raises(UnknownVersion, match="version 2 and this DMN reads up to 1: upgrade"):
        from_json({"format": "dmn-package", "format_version": 2, "shape": "unheard of"})


@pytest.mark.parametrize("document", [{}, {"format": "other", "format_version": 1}])
def test_another_format_is_no_package(document: dict[str, Any]) -> None:
    with pytest.raises(NotAPackage, match="wanted 'dmn-package'"):
        from_json(document)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "not strict JSON"),
        (b"{", "not strict JSON"),
        (b"[]", r"holds \[\], wanted an object"),
        (b"\xff{}", "not strict JSON"),
        (b"\xef\xbb\xbf{}", "not strict JSON"),
        (b'{"a": 1, "a": 2}', "repeats a key"),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": 1e999}', "larger than a double"),
        (b'{"a": ' + b"1" * 5000 + b"}", "not strict JSON"),
        (b"[" * 100_000, "nested too deep"),
    ],
)
def test_json_that_leaves_room_for_doubt_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(InvalidField, match=said):
        parse_strict(text)
