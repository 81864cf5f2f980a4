import hashlib
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmn_runtime.engine_cache import key as key_module
from dmn_runtime.engine_cache.key import EngineKey, this_platform

from .conftest import KEY

OTHER = {
    "onnx_sha256": "c" * 64,
    "library": "tensorrt",
    "library_version": "1.7.1.117",
    "device": "NVIDIA RTX A4000, 8.9",
    "driver": "581.16",
    "precision": "fp32",
    "profile": {"edge_px": 1152, "batch": [1, 4, 9]},
    "targets": ("SM86",),
    "platform": "windows_x86_64",
    "recipe": 2,
}


def test_the_digest_is_of_the_canonical_json():
    text = (
        '{"device":"NVIDIA RTX A4000, 8.6","driver":"581.15","library":"tensorrt_rtx",'
        '"library_version":"1.7.1.116","onnx_sha256":"' + "a" * 64 + '","platform":"linux_x86_64",'
        '"precision":"fp16","profile":{"batch":[1,4,8],"edge_px":1152},"recipe":1,"targets":[]}'
    )
    assert KEY.digest == hashlib.sha256(text.encode()).hexdigest()


def test_every_field_is_in_the_digest():
    assert set(OTHER) == {field.name for field in fields(EngineKey)}


@pytest.mark.parametrize("name", list(OTHER))
def test_a_changed_field_changes_the_digest(name):
    assert replace(KEY, **{name: OTHER[name]}).digest != KEY.digest


words = st.text(max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)
keys = st.builds(
    EngineKey,
    onnx_sha256=words,
    library=st.sampled_from(["tensorrt", "tensorrt_rtx"]),
    library_version=words,
    device=words,
    driver=words,
    precision=words,
    profile=st.dictionaries(words, json_values, max_size=3),
    targets=st.lists(words, max_size=3).map(tuple),
    platform=st.sampled_from(["linux_x86_64", "windows_x86_64"]),
    recipe=st.integers(),
)


def shuffled(value):
    """Return the same JSON value with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {name: shuffled(value[name]) for name in reversed(list(value))}
    return [shuffled(inner) for inner in value] if isinstance(value, list) else value


def frozen(value):
    """Return a value that is equal where the JSON is the same: types count, the order of keys does not."""
    if isinstance(value, dict):
        return frozenset((name, frozen(inner)) for name, inner in value.items())
    if isinstance(value, list):
        return tuple(frozen(inner) for inner in value)
    return (type(value), value)


@given(keys, keys)
def test_digests_are_equal_exactly_where_the_fields_are(one, two):
    for field in fields(EngineKey):
        changed = replace(one, **{field.name: getattr(two, field.name)})
        same = frozen(changed.to_json()) == frozen(one.to_json())
        assert (changed.digest == one.digest) == same


@given(keys)
def test_the_order_of_the_fields_does_not_matter(key):
    again = EngineKey(**shuffled(key.to_json()))
    assert again == key
    assert again.digest == key.digest


def test_tuples_in_the_profile_are_lists():
    key = replace(KEY, profile={"batch": (1, 4, 8), "edge_px": 1152})
    assert key == KEY
    assert key.digest == KEY.digest
    assert hash(key) == hash(KEY)


def test_the_profile_is_a_copy():
    profile = {"edge_px": 1152, "batch": [1, 4, 8]}
    key = replace(KEY, profile=profile)
    profile["batch"].append(9)
    assert key == KEY


@pytest.mark.parametrize(
    ("system", "machine", "word"),
    [
        ("linux", "x86_64", "linux_x86_64"),
        ("win32", "AMD64", "windows_x86_64"),
        ("linux", "aarch64", None),
        ("darwin", "x86_64", None),
    ],
)
def test_the_platform(monkeypatch, system, machine, word):
    monkeypatch.setattr(key_module.sys, "platform", system)
    monkeypatch.setattr(key_module.platform, "machine", lambda: machine)
    assert this_platform() == word
