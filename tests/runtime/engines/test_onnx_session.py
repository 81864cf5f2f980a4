"""ONNX Runtime: never another device than the one that was asked for, and float16 in and out."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from onnxruntime.capi.onnxruntime_pybind11_state import EPFail

from dmn_runtime.engines import cuda
from dmn_runtime.engines.cpu import open_cpu, open_cpu_engine
from dmn_runtime.engines.cuda import open_cuda
from dmn_runtime.engines.onnx_session import open_session, refuse_fallback, runner_of
from dmn_runtime.errors import EngineError
from dmn_runtime.gpu import open as opening
from dmn_runtime.plan import Footprint

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
TILES = np.random.default_rng(0).normal(size=(2, 1, 16, 24)).astype(np.float32)


def doubling(kind: int) -> bytes:
    """Return a network of one element type that doubles its input, as ONNX."""
    image, logits = (
        helper.make_tensor_value_info(name, kind, ["n", 1, "h", "w"]) for name in ("image", "logits")
    )
    nodes = [helper.make_node("Add", ["image", "image"], ["logits"])]
    graph = helper.make_graph(nodes, "doubling", [image], [logits])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model.SerializeToString()


SINGLE, HALF = doubling(TensorProto.FLOAT), doubling(TensorProto.FLOAT16)


def fallen_back() -> ort.InferenceSession:
    """Return the session that the library gives who asks it for CUDA and cannot have it."""
    with pytest.warns(UserWarning, match=f"'{CUDA}' is not in available provider names"):
        return ort.InferenceSession(SINGLE, providers=[CUDA])


@pytest.fixture
def without_cuda() -> None:
    if CUDA in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA: the fallback shows where it has not")


@pytest.mark.usefixtures("without_cuda")
def test_the_library_itself_falls_back_to_the_cpu_and_goes_on() -> None:
    session = fallen_back()
    assert session.get_providers() == [CPU]
    [logits] = session.run(None, {"image": TILES})
    np.testing.assert_array_equal(logits, 2 * TILES)


@pytest.mark.usefixtures("without_cuda")
def test_exactly_that_session_is_refused() -> None:
    session = fallen_back()
    with pytest.raises(EngineError, match=f"was asked for {CUDA} and silently took {CPU}: .*--engine cpu$"):
        refuse_fallback(session, CUDA)
    refuse_fallback(session, CPU)


@pytest.mark.usefixtures("without_cuda")
def test_a_device_that_the_build_does_not_have_is_refused_before() -> None:
    with pytest.raises(EngineError, match=f"has no {CUDA}, it has .*{CPU}.*: install the build"):
        open_session(SINGLE, CUDA)
    with pytest.raises(EngineError, match=f"has no {CUDA}"):
        open_cuda(SINGLE, print)


@pytest.mark.usefixtures("without_cuda")
def test_what_the_build_claims_counts_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    with (
        pytest.warns(UserWarning, match="is not in available provider names"),
        pytest.raises(EngineError, match="fallback to CPU EP has been explicitly disabled"),
    ):
        open_session(SINGLE, CUDA)


def test_a_call_that_fails_is_not_repeated_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = open_cpu(SINGLE)
    inner, failed = runner.session._sess, []

    class Inner:
        """The session beneath, whose device fails at the first call."""

        def __getattr__(self, name: str) -> object:
            return getattr(inner, name)

        def run(self, *given: object) -> object:
            if failed:
                return inner.run(*given)
            failed.append(given)
            raise EPFail("CUDA failure 719: unspecified launch failure")

    monkeypatch.setattr(runner.session, "_sess", Inner())
    with pytest.raises(EPFail, match="unspecified launch failure"):
        runner.run(TILES)
    assert len(failed) == 1
    assert capsys.readouterr() == ("", "")
    np.testing.assert_array_equal(runner.run(TILES), 2 * TILES)  # the next call is tried as asked for


def test_a_session_that_cannot_be_made_is_not_tried_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[object] = []

    def create(_: object, providers: object, *more: object) -> None:
        tried.append(providers)
        raise RuntimeError("CUDA driver version\nis insufficient")

    monkeypatch.setattr(ort.InferenceSession, "_create_inference_session", create)
    with pytest.raises(EngineError) as caught:
        open_session(SINGLE, CPU)
    assert str(caught.value) == (
        f"onnxruntime {ort.__version__} cannot load the network: CUDA driver version is insufficient"
    )
    assert tried == [[(CPU, {})]]
    assert capsys.readouterr() == ("", "")  # --json prints one object and nothing else


def test_settings_reach_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    plain, asked = ort.InferenceSession, []

    def session(network: bytes, options: object, *, providers: object, **more: object) -> object:
        asked.append(providers)
        return plain(network, options, providers=providers, **more)

    monkeypatch.setattr(ort, "InferenceSession", session)
    open_session(SINGLE, CPU, settings={"use_arena": "0"})
    assert asked == [[(CPU, {"use_arena": "0"})]]


def no_device() -> None:
    raise EngineError("no driver here")


def test_cuda_computes_fp32_as_such_and_the_same_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def session(network: bytes, provider: str, *, settings: dict[str, str]) -> ort.InferenceSession:
        asked.append((network, provider, settings))
        return open_session(network, CPU)

    monkeypatch.setattr(cuda, "open_session", session)
    monkeypatch.setattr(opening, "open_device", no_device)
    said: list[str] = []
    open_cuda(SINGLE, said.append)
    assert said == ["cuda: tiles are cut on the processor, which is slower: no driver here"]
    assert asked == [(SINGLE, CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"})]


def test_a_session_without_any_device_is_refused() -> None:
    class Nowhere:
        def get_providers(self) -> list[str]:
            return []

    with pytest.raises(EngineError, match="silently took nothing"):
        refuse_fallback(Nowhere(), CPU)


def test_the_device_must_be_the_first() -> None:
    class Second:
        def get_providers(self) -> list[str]:
            return [CPU, CUDA]

    with pytest.raises(EngineError, match=f"silently took {CPU}, {CUDA}"):
        refuse_fallback(Second(), CUDA)


def test_one_thread_and_the_graph_as_it_is_written() -> None:
    plain, optimised = open_session(SINGLE, CPU, optimised=False), open_session(SINGLE, CPU)
    level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert plain.get_session_options().graph_optimization_level == level
    assert optimised.get_session_options().graph_optimization_level != level
    options = optimised.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_a_file_that_is_no_network() -> None:
    with pytest.raises(EngineError, match=f"^onnxruntime {ort.__version__} cannot load the network: "):
        open_cpu(b"no network")


@pytest.mark.parametrize("network", [SINGLE, HALF], ids=["single", "half"])
def test_tiles_go_in_and_logits_come_out_as_float32(network: bytes) -> None:
    runner = open_cpu(network)
    assert runner.half is (network is HALF)
    logits = runner.run(TILES)
    assert logits.dtype == np.float32
    through = TILES.astype(np.float16).astype(np.float32) if runner.half else TILES
    np.testing.assert_array_equal(logits, 2 * through)
    runner.close()


def test_the_description_names_library_and_device() -> None:
    assert open_cpu(SINGLE).description == f"onnxruntime {ort.__version__}, {CPU}, 1 thread a worker"
    assert runner_of(open_session(SINGLE, CPU), "x").description.endswith(", x")


def test_as_an_engine_it_gives_the_probability_of_the_core() -> None:
    table = np.linspace(-2, 2, 256).astype(np.float32)
    engine = open_cpu_engine(SINGLE, table, Footprint(1, 3, 0))
    assert (engine.name, engine.precision) == ("cpu", "fp32")
    assert engine.description.startswith("fp32 by onnxruntime ")
    patch = np.random.default_rng(1).integers(0, 256, (2, 16, 20)).astype(np.uint8)
    core = 2 * table[patch][:, 3:-3, 3:-3].astype(np.float64)
    np.testing.assert_array_equal(engine.segment(patch), np.floor(255 / (1 + np.exp(-core)) + 0.5))
    engine.close()
