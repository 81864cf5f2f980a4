import json
from datetime import UTC, datetime

import pytest

from dmn_runtime.engine_cache.record import BadRecord, Record, parse_record, record_text

from .conftest import KEY, LABEL

RECORD = Record(KEY, "d" * 64, 920, 12.5, datetime(2026, 11, 22, 3, 20, tzinfo=UTC), "0.3", LABEL)


def test_the_text_is_literal():
    assert json.loads(record_text(RECORD)) == {
        "format": "dmn-engine",
        "format_version": 1,
        "key": {
            "onnx_sha256": "a" * 64,
            "library": "tensorrt_rtx",
            "library_version": "1.7.1.116",
            "device": "NVIDIA RTX A4000, 8.6",
            "driver": "581.15",
            "precision": "fp16",
            "profile": {"edge_px": 1152, "batch": [1, 4, 8]},
            "targets": [],
            "platform": "linux_x86_64",
            "recipe": 1,
        },
        "plan_sha256": "d" * 64,
        "plan_bytes": 920,
        "build_s": 12.5,
        "created": "2026-11-22T03:20:00+00:00",
        "dmn_version": "0.3",
        "label": {"package": "mito-s16", "package_sha256": "b" * 64},
    }


def test_there_and_back():
    assert parse_record(record_text(RECORD).encode()) == RECORD


def changed(path, value):
    """Return the record with the field at `path` ("key.driver") set, or removed where the value is None."""
    document = json.loads(record_text(RECORD))
    *folders, last = path.split(".")
    place = document
    for folder in folders:
        place = place[folder]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("format", "other"),
        ("format_version", 2),
        ("format_version", True),
        ("key", []),
        ("key.onnx_sha256", "A" * 64),
        ("key.library", "onnxruntime"),
        ("key.library_version", 1),
        ("key.device", "\x1b[2J"),
        ("key.profile", [1]),
        ("key.targets", "SM86"),
        ("key.targets", [86]),
        ("key.platform", "linux"),
        ("key.recipe", True),
        ("key.recipe", None),
        ("key.more", 1),
        ("plan_sha256", "d" * 63),
        ("plan_bytes", 0),
        ("plan_bytes", 920.0),
        ("build_s", -1),
        ("build_s", "12"),
        ("build_s", None),
        ("build_s", 10**400),
        ("created", "yesterday"),
        ("created", "2026-11-22T03:20:00"),
        ("label.package", "x" * 1001),
        ("label.package", None),
        ("label.more", 1),
        ("more", 1),
    ],
)
def test_a_field_that_is_wrong_missing_or_unknown(path, value):
    with pytest.raises(BadRecord):
        parse_record(changed(path, value))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"[" * 100_000,
        record_text(RECORD).encode()[:-3],
        record_text(RECORD).replace("12.5", "NaN").encode(),
        record_text(RECORD).replace('"recipe": 1', '"recipe": 1, "recipe": 2').encode(),
        record_text(RECORD).replace('"recipe": 1', f'"recipe": {"9" * 5000}').encode(),
    ],
    ids=["empty", "binary", "list", "null", "deep", "cut", "nan", "repeated", "huge"],
)
def test_what_is_no_json_object(content):
    with pytest.raises(BadRecord):
        parse_record(content)
