"""Every attribute that DMN uses is one that both libraries have: native TensorRT 11.4 by a list of its names.

mypy holds the code to the protocols of `trt/api.py`; here the protocols are held to the libraries. What is
reached through the module alone is also read off the source, so that nothing goes past the protocols.
"""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dmn_runtime import trt
from dmn_runtime.trt import api
from dmn_runtime.trt.library import Library

SOURCES = sorted(Path(trt.__file__).parent.glob("*.py"))
NAMES = json.loads(Path(__file__).with_name("trt_11_4_names.json").read_text(encoding="utf-8"))

BOTH = {
    api.Api: None,
    api.LoggerSeverities: "ILogger",
    api.NetworkFlags: "NetworkDefinitionCreationFlag",
    api.BuilderFlags: "BuilderFlag",
    api.Platforms: "RuntimePlatform",
    api.HardwareLevels: "HardwareCompatibilityLevel",
    api.DataTypes: "DataType",
    api.LayerTypes: "LayerType",
    api.TensorModes: "TensorIOMode",
    api.Layer: "ILayer",
    api.Tensor: "ITensor",
    api.Network: "INetworkDefinition",
    api.ParserError: "ParserError",
    api.Parser: "OnnxParser",
    api.Profile: "IOptimizationProfile",
    api.Config: "IBuilderConfig",
    api.Builder: "Builder",
    api.Context: "IExecutionContext",
    api.Engine: "ICudaEngine",
    api.Runtime: "Runtime",
}
"""Protocol -> the class or enum that it describes; None: the module itself."""

RTX_ONLY = {
    api.RtxApi: None,
    api.RtxConfig: "IBuilderConfig",
    api.RtxRuntime: "Runtime",
    api.RtxValidities: "EngineValidity",
    api.RtxDiagnostics: "EngineInvalidityDiagnostics",
}

OVERRIDDEN = {"ILogger": ["log"], "IProgressMonitor": ["phase_start", "step_complete", "phase_finish"]}
"""Methods that the library calls on our subclasses."""


def members(protocol: type) -> set[str]:
    """Return what a protocol declares itself."""
    names = {*vars(protocol), *vars(protocol).get("__annotations__", {})}
    return {name for name in names if not name.startswith("_")} | (names & {"__version__"})


def used(table: dict[Any, str | None]) -> Iterator[tuple[str | None, str]]:
    """Return (class, member) of all that the protocols of a table declare."""
    for protocol, owner in table.items():
        yield from ((owner, name) for name in sorted(members(protocol)))


def gone(names: Any, source: str) -> list[str]:
    """Return the attributes that `source` reads through a module named `api` and `names` does not have."""
    chains = []
    for node in ast.walk(ast.parse(source)):
        chain = []
        while isinstance(node, ast.Attribute):
            chain.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            chain.append(node.id)
        chain.reverse()
        if "api" in chain[:-1]:
            chains.append(chain[chain.index("api") + 1 :])
    return [
        ".".join(chain)
        for chain in chains
        if chain[0] not in names["module"]
        or (len(chain) > 1 and chain[1] not in [*names["classes"].get(chain[0], []), "__init__"])
    ]


def test_every_protocol_is_held_to_something() -> None:
    declared = {
        value
        for value in vars(api).values()
        if isinstance(value, type)
        and getattr(value, "_is_protocol", False)
        and value.__module__ == api.__name__
    }
    assert declared == {*BOTH, *RTX_ONLY}


@pytest.mark.parametrize(("owner", "name"), [*used(BOTH)])
def test_tensorrt_11_4_has_it(owner: str | None, name: str) -> None:
    assert name in (NAMES["module"] if owner is None else NAMES["classes"][owner])


@pytest.mark.parametrize(("owner", "name"), [*used(BOTH), *used(RTX_ONLY)])
def test_tensorrt_rtx_has_it(owner: str | None, name: str, rtx: Library) -> None:
    module: Any = rtx.api
    assert hasattr(module if owner is None else getattr(module, owner), name)


@pytest.mark.parametrize(("owner", "names"), OVERRIDDEN.items())
def test_what_the_library_calls_on_us_is_there(owner: str, names: list[str], rtx: Library) -> None:
    assert set(names) <= set(NAMES["classes"][owner])
    assert all(hasattr(getattr(rtx.api, owner), name) for name in names)


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_the_source_names_nothing_else(source: Path) -> None:
    known = {
        "module": NAMES["module"] + sorted(members(api.RtxApi)),
        "classes": {
            **NAMES["classes"],
            **{
                owner: sorted(members(each))
                for each, owner in RTX_ONLY.items()
                if owner and each is not api.RtxConfig
            },
        },
    }
    assert gone(known, source.read_text(encoding="utf-8")) == []


def test_the_source_is_really_read() -> None:
    """Without a match in the builder the test above could not fail."""
    nothing = {"module": [], "classes": {}}
    builder = next(path for path in SOURCES if path.name == "builder.py").read_text(encoding="utf-8")
    assert "BuilderFlag.TF32" in gone(nothing, builder)


@pytest.mark.parametrize(
    "source",
    [
        "config.set_flag(library.api.BuilderFlag.FP16)",
        "config.set_flag(api.BuilderFlag.INT8)",
        "api.NetworkDefinitionCreationFlag.EXPLICIT_BATCH",
        "api.IInt8Calibrator()",
    ],
)
def test_an_attribute_that_is_gone_is_found(source: str) -> None:
    assert gone(NAMES, source) == [source.partition("api.")[2].rstrip("()")]


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        ("BuilderFlag", "FP16"),
        ("BuilderFlag", "INT8"),
        ("Builder", "platform_has_fast_fp16"),
        ("IExecutionContext", "execute_async_v2"),
        ("ICudaEngine", "device_memory_size"),
    ],
)
def test_what_tensorrt_11_dropped_is_not_on_the_list(owner: str, name: str, rtx: Library) -> None:
    assert name not in NAMES["classes"][owner]
    assert not hasattr(getattr(rtx.api, owner), name)


def test_the_module_is_only_imported_by_load_library() -> None:
    importing = [
        path.name
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import) and any(name.name.startswith("tensorrt") for name in node.names)
    ]
    assert importing == []
    assert isinstance(pytest.importorskip("tensorrt_rtx"), ModuleType)
