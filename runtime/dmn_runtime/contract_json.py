"""dmn.json as text and as values: the one place that knows the fields' names, types and ranges.

The exporter writes through `to_json`, the runtime reads through `from_json`; docs/package.md is the law.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any, NoReturn, TypeVar

from dmn_runtime.contract import (
    FORMAT,
    FORMAT_VERSION,
    QUANTILE_PERCENTS,
    Certificate,
    Contract,
    Domain,
    Normalisation,
    PackagedPlan,
    Precision,
    Shape4,
)
from dmn_runtime.errors import InvalidField, NotAPackage, UnknownVersion
from dmn_runtime.geometry import Spacing

REFERENCE_PRECISION = "fp32"
"""The precision that every package holds; the others are certified beside it."""

MAX_NAME_CHARS = 200
MAX_DESCRIPTION_CHARS = 2000
MAX_CONTEXT_SLICES = 8
MAX_STRIDE_PX = 256
MAX_HALO_PX = 4096
MAX_VOXEL_NM = 1e6
MAX_CLIP = 100.0
MAX_CERTIFICATES = 16
MAX_PLANS = 32
MAX_TARGETS = 16
PLAN_LIBRARIES = ("tensorrt", "tensorrt_rtx")

_COST = ("multiply_adds_per_px", "values_per_px")
"""May be missing: who writes a package without counting says nothing."""

_T = TypeVar("_T")

_PRECISION_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_SHA256 = re.compile(r"[0-9a-f]{64}")


def to_json(contract: Contract) -> dict[str, Any]:
    """Return the contract as the JSON object that `from_json` reads back to an equal contract."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": contract.name,
        "description": contract.description,
        "classes": list(contract.classes),
        "in_channels": contract.in_channels,
        "context_slices": contract.context_slices,
        "stride_px": contract.stride_px,
        "halo_px": contract.halo_px,
        "voxel_nm": list(contract.voxel_nm),
        "working_voxel_nm": contract.working_voxel_nm,
        "normalisation": vars(contract.normalisation).copy(),
        "threshold": contract.threshold,
        "precisions": {
            name: {
                "member": precision.member,
                "certificates": [vars(certificate).copy() for certificate in precision.certificates],
            }
            for name, precision in contract.precisions.items()
        },
        "plans": [_as_lists(vars(plan)) for plan in contract.plans],
        **{key: getattr(contract, key) for key in _COST if getattr(contract, key) is not None},
        "domain": {
            "quantiles": list(contract.domain.quantiles),
            "foreground_share": contract.domain.foreground_share,
        },
        "provenance": contract.provenance,
        "members": dict(contract.members),
    }


def _as_lists(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with tuples as the lists that JSON would make of them."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in fields.items()}


def from_json(document: Mapping[str, Any]) -> Contract:
    """Check every field of a parsed dmn.json and return it as a contract.

    Args:
        document: the JSON object, of any version.

    Raises:
        NotAPackage: `format` is not ours.
        UnknownVersion: written by a newer DMN.
        InvalidField: a field is missing, unknown, of the wrong type or out of range.
    """
    _check_version(document)
    fields = _Fields(document, "")
    fields.forbid_unknown(
        "format", "format_version", "name", "description", "classes", "in_channels", "context_slices",
        "stride_px", "halo_px", "voxel_nm", "working_voxel_nm", "normalisation", "threshold", "precisions",
        "plans", "domain", "provenance", "members", *_COST,
    )  # fmt: skip
    context_slices = fields.integer("context_slices", 0, MAX_CONTEXT_SLICES)
    stride_px = _stride(fields)
    members = _members(fields)
    precisions = _precisions(fields, members)
    return Contract(
        name=fields.text("name", MAX_NAME_CHARS),
        description=fields.text("description", MAX_DESCRIPTION_CHARS),
        classes=_classes(fields),
        in_channels=_in_channels(fields, context_slices),
        context_slices=context_slices,
        stride_px=stride_px,
        halo_px=_halo(fields, stride_px),
        voxel_nm=_voxel_nm(fields),
        working_voxel_nm=_working_voxel_nm(fields),
        normalisation=_normalisation(fields.object("normalisation")),
        threshold=_threshold(fields),
        precisions=precisions,
        domain=_domain(fields.object("domain")),
        plans=_plans(fields, precisions, members),
        multiply_adds_per_px=_cost(fields, "multiply_adds_per_px"),
        values_per_px=_cost(fields, "values_per_px"),
        provenance=_provenance(fields),
        members=members,
    )


def parse_strict(text: bytes) -> dict[str, Any]:
    """Parse UTF-8 JSON into an object, refusing what JSON's law leaves open.

    Raises:
        InvalidField: not UTF-8, not JSON, not an object, a repeated key, NaN or infinity, or nested too deep.
    """
    try:
        document = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique_keys,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except RecursionError:
        raise InvalidField("dmn.json is nested too deep to be read, wanted a plain object") from None
    except ValueError as error:
        raise InvalidField(f"dmn.json is not strict JSON in UTF-8 ({error})") from None
    if not isinstance(document, dict):
        raise InvalidField(f"dmn.json holds {_shown(document)}, wanted an object")
    return document


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object repeats a key")
    return result


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is larger than a double holds")
    return value


class _Fields:
    """One JSON object under examination; `at` is the way to it, for messages."""

    def __init__(self, document: Mapping[str, Any], at: str) -> None:
        self.document = document
        self.at = at

    def forbid_unknown(self, *known: str) -> None:
        unknown = sorted(set(self.document) - set(known))
        if unknown:
            raise InvalidField(
                f"dmn.json has the unknown field {self.at}{unknown[0]}, "
                f"wanted only those of version {FORMAT_VERSION}"
            )

    def refuse(self, key: str, wanted: str) -> NoReturn:
        raise InvalidField(f"dmn.json's {self.at}{key} is {_shown(self.document[key])}, wanted {wanted}")

    def get(self, key: str) -> Any:
        if key not in self.document:
            raise InvalidField(f"dmn.json has no field {self.at}{key}")
        return self.document[key]

    def object(self, key: str) -> "_Fields":
        if not isinstance(self.get(key), dict):
            self.refuse(key, "an object")
        return _Fields(self.document[key], f"{self.at}{key}.")

    def text(self, key: str, most: int) -> str:
        value = self.get(key)
        if not isinstance(value, str) or not value.strip() or len(value) > most or not value.isprintable():
            self.refuse(key, f"a printable text of 1 to {most} characters on one line")
        return str(value)

    def objects(self, key: str, least: int, most: int) -> "list[_Fields]":
        value = self.get(key)
        if (
            not isinstance(value, list)
            or not least <= len(value) <= most
            or not all(isinstance(one, dict) for one in value)
        ):
            self.refuse(key, f"a list of {least} to {most} objects")
        return [_Fields(one, f"{self.at}{key}[{index}].") for index, one in enumerate(value)]

    def texts(self, key: str, most: int, most_chars: int) -> tuple[str, ...]:
        value = self.get(key)
        if not isinstance(value, list) or len(value) > most:
            self.refuse(key, f"a list of at most {most} texts")
        return tuple(_Fields({key: one}, self.at).text(key, most_chars) for one in value)

    def integers(self, key: str, count: int, least: int, most: int) -> tuple[int, ...]:
        value = self.get(key)
        if not isinstance(value, list) or len(value) != count:
            self.refuse(key, f"a list of {count} whole numbers")
        return tuple(_Fields({key: one}, self.at).integer(key, least, most) for one in value)

    def integer(self, key: str, least: int, most: int) -> int:
        value = self.get(key)
        if type(value) is not int or not least <= value <= most:
            self.refuse(key, f"a whole number from {least} to {most}")
        return int(value)

    def number(self, key: str, accepts: Callable[[float], bool], wanted: str) -> float:
        value = self.get(key)
        if not _is_number(value) or not accepts(value):
            self.refuse(key, wanted)
        return float(value)

    def numbers(
        self, key: str, count: int, accepts: Callable[[float], bool], wanted: str
    ) -> tuple[float, ...]:
        value = self.get(key)
        if not isinstance(value, list) or len(value) != count or not all(map(_is_number, value)):
            self.refuse(key, wanted)
        if not all(map(accepts, value)):
            self.refuse(key, wanted)
        return tuple(map(float, value))


def _is_number(value: object) -> bool:
    # bool is an int to Python; a whole number beyond a double's range would overflow on conversion.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_version(document: Mapping[str, Any]) -> None:
    fields = _Fields(document, "")
    if document.get("format") != FORMAT:
        raise NotAPackage(f"dmn.json's format is {_shown(document.get('format'))}, wanted {FORMAT!r}")
    version = fields.integer("format_version", 1, 2**31)
    if version > FORMAT_VERSION:
        raise UnknownVersion(
            f"dmn.json has format version {version} and this DMN reads up to {FORMAT_VERSION}: "
            "upgrade it with pip install --upgrade dmn-em"
        )
    if version < FORMAT_VERSION:
        raise UnknownVersion(
            f"dmn.json has format version {version}, from before the first release, and this DMN reads "
            f"{FORMAT_VERSION}: export the run again"
        )


def _classes(fields: _Fields) -> tuple[str, ...]:
    classes = fields.get("classes")
    wanted = "a list of exactly one class name"
    if not isinstance(classes, list) or len(classes) != 1 or not isinstance(classes[0], str):
        fields.refuse("classes", wanted)
    return (_Fields({"classes": classes[0]}, "").text("classes", MAX_NAME_CHARS),)


def _in_channels(fields: _Fields, context_slices: int) -> int:
    most = 2 * MAX_CONTEXT_SLICES + 1
    in_channels = fields.integer("in_channels", 1, most)
    if in_channels != 2 * context_slices + 1:
        fields.refuse("in_channels", f"2 * context_slices + 1 = {2 * context_slices + 1}")
    return in_channels


def _stride(fields: _Fields) -> int:
    stride = fields.integer("stride_px", 1, MAX_STRIDE_PX)
    if stride & (stride - 1):
        fields.refuse("stride_px", "a power of two")
    return stride


def _halo(fields: _Fields, stride_px: int) -> int:
    halo = fields.integer("halo_px", 0, MAX_HALO_PX)
    if halo % stride_px:
        fields.refuse("halo_px", f"a multiple of stride_px = {stride_px}")
    return halo


def _is_length(value: float) -> bool:
    return 0.0 < value <= MAX_VOXEL_NM


def _voxel_nm(fields: _Fields) -> Spacing:
    wanted = f"three lengths (z, y, x) above 0 and up to {MAX_VOXEL_NM:g} nm"
    z, y, x = fields.numbers("voxel_nm", 3, _is_length, wanted)
    return (z, y, x)


def _working_voxel_nm(fields: _Fields) -> float | None:
    if fields.get("working_voxel_nm") is None:
        return None
    return fields.number(
        "working_voxel_nm", _is_length, f"null or a length above 0 and up to {MAX_VOXEL_NM:g} nm"
    )


def _normalisation(fields: _Fields) -> Normalisation:
    fields.forbid_unknown("low_percent", "high_percent", "clip")
    low = fields.number("low_percent", lambda p: 0.0 <= p < 100.0, "a number from 0 to below 100")
    high = fields.number("high_percent", lambda p: low < p <= 100.0, f"a number above {low:g} and up to 100")
    clip = fields.number("clip", lambda c: 1.0 <= c <= MAX_CLIP, f"a number from 1 to {MAX_CLIP:g}")
    return Normalisation(low, high, clip)


def _precisions(fields: _Fields, members: Mapping[str, str]) -> dict[str, Precision]:
    table = fields.object("precisions")
    if REFERENCE_PRECISION not in table.document:
        fields.refuse("precisions", f"an entry {REFERENCE_PRECISION!r}")
    for name in table.document:
        if not _PRECISION_NAME.fullmatch(name):
            fields.refuse("precisions", "names of 1 to 32 of a-z, 0-9, _ and -")
    return {name: _precision(table.object(name), members) for name in table.document}


def _precision(fields: _Fields, members: Mapping[str, str]) -> Precision:
    fields.forbid_unknown("member", "certificates")
    member = fields.text("member", MAX_NAME_CHARS)
    if member not in members or not member.endswith(".onnx"):
        fields.refuse("member", "a .onnx file that members records")
    certificates = fields.objects("certificates", 1, MAX_CERTIFICATES)
    return Precision(member, tuple(map(_certificate, certificates)))


def _certificate(fields: _Fields) -> Certificate:
    fields.forbid_unknown(*Certificate.__dataclass_fields__)
    certificate = Certificate(
        engine=fields.text("engine", MAX_NAME_CHARS),
        library=fields.text("library", MAX_NAME_CHARS),
        device=fields.text("device", MAX_NAME_CHARS),
        tiles=fields.integer("tiles", 1, 2**31),
        threshold=_threshold(fields),
        max_dp=_share(fields, "max_dp"),
        mean_dp=_share(fields, "mean_dp"),
        iou_change=_share(fields, "iou_change"),
        objects=_optional(fields, "objects", lambda key: fields.integer(key, 0, 2**31)),
        objects_matched=_optional(fields, "objects_matched", lambda key: fields.integer(key, 0, 2**31)),
        tolerance_max_dp=_share(fields, "tolerance_max_dp"),
        tolerance_iou_change=_share(fields, "tolerance_iou_change"),
        voxels_per_s=_optional(fields, "voxels_per_s", lambda key: _positive(fields, key)),
        speedup=_optional(fields, "speedup", lambda key: _positive(fields, key)),
        passed=fields.get("passed"),
    )
    if certificate.passed is not True:
        fields.refuse("passed", "true: a network that failed its certificate must not be run")
    if certificate.max_dp > certificate.tolerance_max_dp:
        fields.refuse("max_dp", f"at most tolerance_max_dp = {certificate.tolerance_max_dp:g}")
    if certificate.iou_change > certificate.tolerance_iou_change:
        fields.refuse("iou_change", f"at most tolerance_iou_change = {certificate.tolerance_iou_change:g}")
    return certificate


def _optional(fields: _Fields, key: str, read: Callable[[str], _T]) -> _T | None:
    return None if fields.get(key) is None else read(key)


def _positive(fields: _Fields, key: str) -> float:
    return fields.number(key, lambda value: value > 0.0, "null or a number above 0")


def _cost(fields: _Fields, key: str) -> float | None:
    if key not in fields.document:
        return None
    return fields.number(key, lambda value: value > 0.0, "a number above 0, or no such field")


def _threshold(fields: _Fields) -> float:
    return fields.number("threshold", lambda t: 0.0 < t < 1.0, "a number between 0 and 1, both excluded")


def _plans(
    fields: _Fields, precisions: Mapping[str, Precision], members: Mapping[str, str]
) -> tuple[PackagedPlan, ...]:
    return tuple(_plan(plan, precisions, members) for plan in fields.objects("plans", 0, MAX_PLANS))


def _plan(fields: _Fields, precisions: Mapping[str, Precision], members: Mapping[str, str]) -> PackagedPlan:
    fields.forbid_unknown(*PackagedPlan.__dataclass_fields__)
    plan = PackagedPlan(
        member=fields.text("member", MAX_NAME_CHARS),
        precision=fields.text("precision", MAX_NAME_CHARS),
        library=fields.text("library", MAX_NAME_CHARS),
        library_version=fields.text("library_version", MAX_NAME_CHARS),
        targets=fields.texts("targets", MAX_TARGETS, MAX_NAME_CHARS),
        platform=fields.text("platform", MAX_NAME_CHARS),
        least=_shape(fields, "least"),
        best=_shape(fields, "best"),
        most=_shape(fields, "most"),
    )
    if plan.member not in members or not plan.member.endswith(".plan"):
        fields.refuse("member", "a .plan file that members records")
    if plan.precision not in precisions:
        fields.refuse("precision", f"one of {', '.join(sorted(precisions))}")
    if plan.library not in PLAN_LIBRARIES:
        fields.refuse("library", f"one of {', '.join(PLAN_LIBRARIES)}")
    if not all(a <= b <= c for a, b, c in zip(plan.least, plan.best, plan.most, strict=True)):
        fields.refuse("best", "a shape from least to most along every axis")
    return plan


def _shape(fields: _Fields, key: str) -> Shape4:
    n, c, h, w = fields.integers(key, 4, 1, 2**16)
    return (n, c, h, w)


def _share(fields: _Fields, key: str) -> float:
    return fields.number(key, lambda value: 0.0 <= value <= 1.0, "a number from 0 to 1")


def _domain(fields: _Fields) -> Domain:
    fields.forbid_unknown("quantiles", "foreground_share")
    count = len(QUANTILE_PERCENTS)
    wanted = (
        f"{count} numbers that never fall, one for each of {', '.join(f'{p:g}' for p in QUANTILE_PERCENTS)} %"
    )
    quantiles = fields.numbers("quantiles", count, lambda _: True, wanted)
    if list(quantiles) != sorted(quantiles):
        fields.refuse("quantiles", wanted)
    return Domain(quantiles, _share(fields, "foreground_share"))


def _provenance(fields: _Fields) -> dict[str, Any]:
    provenance = fields.object("provenance").document
    return dict(provenance)


def _members(fields: _Fields) -> dict[str, str]:
    table = fields.object("members")
    for name, digest in table.document.items():
        if not isinstance(digest, str) or not _SHA256.fullmatch(digest):
            table.refuse(name, "a sha256 as 64 lower-case hexadecimal digits")
    return dict(table.document)
