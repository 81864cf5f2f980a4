"""dmn.json: what is written is read back, and every clause refuses what breaks it."""

import copy
import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.contract import (
    Certificate,
    Contract,
    Domain,
    Normalisation,
    PackagedPlan,
    Precision,
    Shape4,
)
from dmn_runtime.contract_json import from_json, parse_strict, to_json
from dmn_runtime.errors import InvalidField, NotAPackage, UnknownVersion

HASH = "0123456789abcdef" * 4


def valid() -> dict[str, Any]:
    return {
        "format": "dmn-package",
        "format_version": 2,
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
                "certificates": [
                    {
                        "engine": "cpu",
                        "library": "onnxruntime 1.31.1",
                        "device": "Some CPU, 1 thread",
                        "tiles": 12,
                        "threshold": 0.5,
                        "max_dp": 3e-06,
                        "mean_dp": 1e-07,
                        "iou_change": 0.0,
                        "objects": 9,
                        "objects_matched": 8,
                        "tolerance_max_dp": 1e-04,
                        "tolerance_iou_change": 0.0005,
                        "voxels_per_s": 2.5e6,
                        "speedup": 1.5,
                        "passed": True,
                    }
                ],
            }
        },
        "plans": [
            {
                "member": "plans/rtx.plan",
                "precision": "fp32",
                "library": "tensorrt_rtx",
                "library_version": "1.7.1.116",
                "targets": ["SM86", "SM89"],
                "platform": "windows_x86_64",
                "least": [1, 3, 576, 576],
                "best": [4, 3, 576, 576],
                "most": [8, 3, 576, 576],
            }
        ],
        "domain": {"quantiles": [-1.0, -0.8, -0.2, 0.1, 0.4, 0.8, 1.0], "foreground_share": 0.06},
        "provenance": {"method": "source_only", "seeds": [0]},
        "members": {"weights.onnx": HASH, "plans/rtx.plan": HASH},
    }


def changed(path: str, value: object) -> dict[str, Any]:
    document = copy.deepcopy(valid())
    *way, last = path.split("/")
    place: Any = document
    for key in way:
        place = place[int(key) if isinstance(place, list) else key]
    place[last] = value
    return document


CERTIFICATE = Certificate(
    engine="cpu",
    library="onnxruntime 1.31.1",
    device="Some CPU, 1 thread",
    tiles=12,
    threshold=0.5,
    max_dp=3e-06,
    mean_dp=1e-07,
    iou_change=0.0,
    objects=9,
    objects_matched=8,
    tolerance_max_dp=1e-04,
    tolerance_iou_change=0.0005,
    voxels_per_s=2.5e6,
    speedup=1.5,
    passed=True,
)
PLAN = PackagedPlan(
    member="plans/rtx.plan",
    precision="fp32",
    library="tensorrt_rtx",
    library_version="1.7.1.116",
    targets=("SM86", "SM89"),
    platform="windows_x86_64",
    least=(1, 3, 576, 576),
    best=(4, 3, 576, 576),
    most=(8, 3, 576, 576),
)


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
        precisions={"fp32": Precision("weights.onnx", (CERTIFICATE,))},
        domain=Domain((-1.0, -0.8, -0.2, 0.1, 0.4, 0.8, 1.0), 0.06),
        plans=(PLAN,),
        provenance={"method": "source_only", "seeds": [0]},
        members={"weights.onnx": HASH, "plans/rtx.plan": HASH},
    )


def test_writing_what_was_read_gives_the_same_document() -> None:
    assert to_json(from_json(valid())) == valid()


shares = st.floats(0.0, 1.0)
names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=40)
lengths = st.floats(1e-3, 1e5)
thresholds = st.floats(0.0, 1.0, exclude_min=True, exclude_max=True)


@st.composite
def certificates(draw: st.DrawFn) -> Certificate:
    max_dp, iou_change = draw(shares), draw(shares)
    counts, rates = st.none() | st.integers(0, 1000), st.none() | st.floats(1e-3, 1e9)
    return Certificate(
        engine=draw(names),
        library=draw(names),
        device=draw(names),
        tiles=draw(st.integers(1, 1000)),
        threshold=draw(thresholds),
        max_dp=max_dp,
        mean_dp=draw(shares),
        iou_change=iou_change,
        objects=draw(counts),
        objects_matched=draw(counts),
        tolerance_max_dp=draw(st.floats(max_dp, 1.0)),
        tolerance_iou_change=draw(st.floats(iou_change, 1.0)),
        voxels_per_s=draw(rates),
        speedup=draw(rates),
        passed=True,
    )


@st.composite
def plans(draw: st.DrawFn) -> PackagedPlan:
    axes = [sorted(draw(st.lists(st.integers(1, 2**16), min_size=3, max_size=3))) for _ in "nchw"]
    least, best, most = (shape4(axis[which] for axis in axes) for which in range(3))
    return PackagedPlan(
        member=f"plans/{draw(st.integers(0, 3))}.plan",
        precision="fp32",
        library=draw(st.sampled_from(["tensorrt", "tensorrt_rtx"])),
        library_version=draw(names),
        targets=tuple(draw(st.lists(names, max_size=16))),
        platform=draw(names),
        least=least,
        best=best,
        most=most,
    )


def shape4(edges: Iterable[int]) -> Shape4:
    n, c, h, w = edges
    return (n, c, h, w)


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    context = draw(st.integers(0, 8))
    stride = 2 ** draw(st.integers(0, 8))
    precisions = {
        name: Precision(f"{name}.onnx", tuple(draw(st.lists(certificates(), min_size=1, max_size=3))))
        for name in ["fp32", *draw(st.sets(st.sampled_from(["fp16", "int8", "int8-x86"])))]
    }
    held = tuple(draw(st.lists(plans(), max_size=2)))
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
        threshold=draw(thresholds),
        precisions=precisions,
        plans=held,
        domain=Domain(tuple(sorted(draw(st.lists(st.floats(-9, 9), min_size=7, max_size=7)))), draw(shares)),
        provenance=draw(st.dictionaries(names, json_values, max_size=4)),
        members={one.member: HASH for one in (*precisions.values(), *held)},
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


FIRST_CERTIFICATE = "precisions/fp32/certificates/0"
FIRST_PLAN = "plans/0"


def as_said(path: str) -> str:
    """Return a path as the messages name it: plans/0/best is plans[0].best."""
    return re.sub(r"/(\d+)", r"[\1]", path).replace("/", ".")


@pytest.mark.parametrize(
    "place", ["", "normalisation", "domain", "precisions/fp32", FIRST_CERTIFICATE, FIRST_PLAN]
)
def test_no_field_may_be_unknown(place: str) -> None:
    path = f"{place}/colour".lstrip("/")
    with pytest.raises(InvalidField, match=f"unknown field {re.escape(as_said(path))},"):
        from_json(changed(path, 1))


@pytest.mark.parametrize(
    ("place", "key"),
    [
        *((FIRST_CERTIFICATE, field) for field in Certificate.__dataclass_fields__),
        *((FIRST_PLAN, field) for field in PackagedPlan.__dataclass_fields__),
        ("precisions/fp32", "member"),
        ("precisions/fp32", "certificates"),
    ],
)
def test_no_inner_field_may_be_missing(place: str, key: str) -> None:
    document = valid()
    inside: Any = document
    for step in place.split("/"):
        inside = inside[int(step) if step.isdigit() else step]
    del inside[key]
    with pytest.raises(InvalidField, match=f"no field {re.escape(as_said(f'{place}/{key}'))}$"):
        from_json(document)


@pytest.mark.parametrize("key", ["objects", "objects_matched", "voxels_per_s", "speedup"])
def test_what_was_not_measured_is_null(key: str) -> None:
    (certificate,) = from_json(changed(f"{FIRST_CERTIFICATE}/{key}", None)).precisions["fp32"].certificates
    assert getattr(certificate, key) is None


def test_there_may_be_no_plans_and_several_certificates() -> None:
    document = changed("plans", [])
    document["precisions"]["fp32"]["certificates"] *= 2
    contract = from_json(document)
    assert contract.plans == ()
    assert contract.precisions["fp32"].certificates == (CERTIFICATE, CERTIFICATE)


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
        (f"{FIRST_CERTIFICATE}/passed", False, "must not be run"),
        (f"{FIRST_CERTIFICATE}/passed", 1, "must not be run"),
        (f"{FIRST_CERTIFICATE}/max_dp", 2e-4, "at most tolerance_max_dp"),
        (f"{FIRST_CERTIFICATE}/iou_change", 0.01, "at most tolerance_iou_change"),
        (f"{FIRST_CERTIFICATE}/mean_dp", -1e-9, "from 0 to 1"),
        (f"{FIRST_CERTIFICATE}/tiles", 0, "from 1"),
        ("precisions/fp32/certificates", [], "a list of 1 to 16 objects"),
        ("precisions/fp32/certificates", [{}] * 17, "a list of 1 to 16 objects"),
        ("precisions/fp32/certificates", [1], "a list of 1 to 16 objects"),
        ("precisions/fp32/certificates", {}, "a list of 1 to 16 objects"),
        (f"{FIRST_CERTIFICATE}/engine", "", r"certificates\[0\]\.engine is '', wanted a printable text"),
        (f"{FIRST_CERTIFICATE}/library", "a\nb", "on one line"),
        (f"{FIRST_CERTIFICATE}/device", 3, "device is 3, wanted a printable text"),
        (f"{FIRST_CERTIFICATE}/threshold", 1.0, "between 0 and 1"),
        (f"{FIRST_CERTIFICATE}/objects", -1, "objects is -1, wanted a whole number from 0"),
        (f"{FIRST_CERTIFICATE}/objects_matched", 1.5, "objects_matched is 1.5, wanted a whole number"),
        (f"{FIRST_CERTIFICATE}/voxels_per_s", 0, "null or a number above 0"),
        (f"{FIRST_CERTIFICATE}/speedup", "2", "null or a number above 0"),
        (f"{FIRST_CERTIFICATE}/tolerance_max_dp", 1.1, "from 0 to 1"),
        (f"{FIRST_CERTIFICATE}/tolerance_iou_change", -0.1, "from 0 to 1"),
        ("plans", {}, "a list of 0 to 32 objects"),
        ("plans", [{}] * 33, "a list of 0 to 32 objects"),
        (f"{FIRST_PLAN}/member", "rtx.plan", r"plans\[0\]\.member is 'rtx.plan', wanted a \.plan file"),
        (f"{FIRST_PLAN}/member", "weights.onnx", r"a \.plan file that members records"),
        (f"{FIRST_PLAN}/precision", "int8", "precision is 'int8', wanted one of fp32"),
        (f"{FIRST_PLAN}/library", "cudnn", "one of tensorrt, tensorrt_rtx"),
        (f"{FIRST_PLAN}/library_version", None, "a printable text"),
        (f"{FIRST_PLAN}/platform", "", "a printable text"),
        (f"{FIRST_PLAN}/targets", "SM86", "a list of at most 16 texts"),
        (f"{FIRST_PLAN}/targets", ["SM86"] * 17, "a list of at most 16 texts"),
        (f"{FIRST_PLAN}/targets", [86], "targets is 86, wanted a printable text"),
        (f"{FIRST_PLAN}/least", [1, 3, 576], "a list of 4 whole numbers"),
        (f"{FIRST_PLAN}/least", [0, 3, 576, 576], "least is 0, wanted a whole number from 1 to 65536"),
        (f"{FIRST_PLAN}/most", [8, 3, 576, 2**16 + 1], "from 1 to 65536"),
        (f"{FIRST_PLAN}/most", [2, 3, 576, 576], "a shape from least to most along every axis"),
        (f"{FIRST_PLAN}/least", [1, 3, 576, 577], "a shape from least to most along every axis"),
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
    with pytest.raises(UnknownVersion, match="version 3 and this DMN reads up to 2: upgrade"):
        from_json({"format": "dmn-package", "format_version": 3, "shape": "unheard of"})


def test_the_version_before_the_first_release_says_export_again() -> None:
    with pytest.raises(UnknownVersion, match=r"version 1, from before the first release, .*reads 2: export"):
        from_json({"format": "dmn-package", "format_version": 1, "shape": "of old"})


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


def test_the_cost_may_be_missing_and_is_a_number_above_zero() -> None:
    assert from_json(valid()).multiply_adds_per_px is None
    counted = {**valid(), "multiply_adds_per_px": 7000.5, "values_per_px": 120}
    contract = from_json(counted)
    assert (contract.multiply_adds_per_px, contract.values_per_px) == (7000.5, 120.0)
    assert to_json(contract) == counted
    for wrong in (0, -1.0, "many", None, True):
        with pytest.raises(InvalidField, match=r"values_per_px is .*, wanted a number above 0"):
            from_json({**counted, "values_per_px": wrong})
