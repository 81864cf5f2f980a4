"""The table of engines: what it is made of, and why a machine cannot run one."""

import onnxruntime
import pytest

from dmn_runtime.certificate.tolerance import TOLERANCES
from dmn_runtime.engines import catalogue, openvino
from dmn_runtime.engines.catalogue import KINDS, WORDS, absences_here, kind_of, kinds_here
from dmn_runtime.gpu.inquiry import Gpu

GPU = Gpu("NVIDIA RTX A4000", "GPU-1", "581.15", "8.6", None)


def test_the_table_is_best_first_and_ends_with_what_always_runs() -> None:
    assert WORDS == ("tensorrt", "tensorrt_rtx", "cuda", "openvino", "cpu")
    assert KINDS[-1].absence() is None
    assert all("fp32" in kind.precisions for kind in KINDS)  # what a fault falls back on
    assert {one for kind in KINDS for one in kind.precisions} == set(TOLERANCES)
    assert [kind_of(word).word for word in WORDS] == list(WORDS)


@pytest.mark.parametrize("word", ["tensorrt", "tensorrt_rtx", "openvino"])
def test_an_engine_that_is_not_installed_names_the_command(
    word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "is_present", lambda name: name != word)
    monkeypatch.setattr(catalogue, "visible_gpus", lambda: (GPU,))
    extra = word.replace("_", "-")
    assert kind_of(word).absence() == f"{word} is not installed: pip install 'dmn-em[{extra}]'"


@pytest.mark.parametrize("word", ["tensorrt", "tensorrt_rtx", "cuda"])
def test_an_engine_for_gpus_needs_one(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "visible_gpus", lambda: ())
    monkeypatch.setattr(catalogue, "is_present", lambda _: False)  # no reason to install anything
    assert kind_of(word).absence() == "no NVIDIA driver answers on this machine"
    monkeypatch.setattr(catalogue, "is_present", lambda _: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(catalogue, "visible_gpus", lambda: (GPU,))
    assert kind_of(word).absence() is None


def test_the_build_of_onnxruntime_for_cpus_has_no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(catalogue, "visible_gpus", lambda: (GPU,))
    said = kind_of("cuda").absence()
    assert said is not None
    assert said.endswith("pip uninstall onnxruntime, then pip install onnxruntime-gpu")


@pytest.mark.parametrize("word", ["tensorrt", "tensorrt_rtx"])
def test_tensorrt_needs_the_libraries_of_the_gpu(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "visible_gpus", lambda: (GPU,))
    monkeypatch.setattr(catalogue, "is_present", lambda name: name not in ("cuda.core", "pycuda"))
    assert kind_of(word).absence() == "cuda.core is not installed: pip install 'dmn-em[gpu]'"
    monkeypatch.setattr(catalogue, "is_present", lambda name: name != "cuda.core")
    assert kind_of(word).absence() is None  # PyCUDA serves as well


@pytest.mark.parametrize("has", [True, False])
def test_bf16_is_of_processors_that_have_it(has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "is_present", lambda _: True)
    monkeypatch.setattr(openvino, "has_bfloat16", lambda: has)
    here = {kind.word: kind.precisions for kind in kinds_here()}
    assert here["openvino"] == (("int8", "bf16", "fp32") if has else ("int8", "fp32"))
    assert {word: here[word] for word in WORDS if word != "openvino"} == {
        kind.word: kind.precisions for kind in KINDS if kind.word != "openvino"
    }


def test_without_openvino_its_processor_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "is_present", lambda _: False)
    monkeypatch.setattr(openvino, "has_bfloat16", lambda: pytest.fail("OpenVINO was asked"))
    assert "bf16" not in next(kind for kind in kinds_here() if kind.word == "openvino").precisions


def test_every_engine_says_why_it_is_absent_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "is_present", lambda _: False)
    monkeypatch.setattr(catalogue, "visible_gpus", lambda: (GPU,))
    absences = absences_here()
    assert tuple(absences) == WORDS
    assert absences["cpu"] is None
    assert absences["tensorrt_rtx"] == "tensorrt_rtx is not installed: pip install 'dmn-em[tensorrt-rtx]'"


def test_what_computes_on_a_gpu() -> None:
    assert [kind.word for kind in KINDS if kind.on_gpu] == ["tensorrt", "tensorrt_rtx", "cuda"]
