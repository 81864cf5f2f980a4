"""How much is quantised: the fastest rung that is good enough on calibration tiles, else the best."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest

from dmn_export.certify import Answers, probability
from dmn_export.fit import fitted
from dmn_export.precision import RUNGS, Tiles
from dmn_runtime.certificate.tolerance import Tolerance

EDGE = 8
LOGITS = np.where(np.indices((EDGE, EDGE)).sum(axis=0) % 2, 4.0, -4.0).astype(np.float32)
CALIBRATION = Answers(LOGITS[None, None], probability(LOGITS[None, None]), halo_px=0)
TOLERANCE = Tolerance(max_dp=1.0, iou_change=0.1)


def missing(count: int) -> bytes:
    """Return a network that gives its input as logits, but calls `count` of the 32 foreground pixels none."""
    field = np.zeros(EDGE * EDGE, np.float32)
    field[np.flatnonzero(LOGITS > 0)[:count]] = -9.0
    shape = ["n", 1, EDGE, EDGE]
    image, logits = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name in ("image", "logits")
    )
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["image", "field"], ["logits"])],
        "missing",
        [image],
        [logits],
        [onnx.numpy_helper.from_array(field.reshape(1, 1, EDGE, EDGE), "field")],
    )
    opset = [onnx.helper.make_opsetid("", 18)]
    return bytes(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


@pytest.fixture
def tried() -> list[tuple[int, int]]:
    return []


@pytest.fixture
def climb(tried: list[tuple[int, int]]) -> Callable[..., bytes]:
    """Return a function that fits a network whose rungs lose as many pixels as said."""

    def fit(*lost: int, calibration: Answers = CALIBRATION) -> bytes:
        def quantise(network: bytes, tiles: Tiles, rung: tuple[int, int]) -> bytes:
            assert network == b"the fp32 file"
            assert tiles is calibration.tiles
            tried.append(rung)
            return missing(lost[RUNGS.index(rung)])

        return fitted(b"the fp32 file", quantise, "int8", calibration, 0.5, TOLERANCE)

    return fit


# Of 32 foreground pixels, 1 lost is an IoU change of 0.03, 3 of 0.094: within the tolerance, not the margin.


@pytest.mark.parametrize(("lost", "rungs"), [((1, 0, 0), 1), ((3, 1, 0), 2), ((9, 3, 0), 3)])
def test_the_first_rung_within_the_margin_is_taken_and_no_finer_one_is_made(
    climb: Callable[..., bytes], tried: list[tuple[int, int]], lost: tuple[int, ...], rungs: int
) -> None:
    assert climb(*lost) == missing(lost[rungs - 1])
    assert tried == list(RUNGS[:rungs])


@pytest.mark.parametrize("lost", [(5, 3, 9), (3, 5, 9), (9, 5, 3)])
def test_without_one_the_best_is_taken(climb: Callable[..., bytes], lost: tuple[int, ...]) -> None:
    assert climb(*lost) == missing(3)


def test_rungs_go_from_the_fastest_to_the_finest() -> None:
    assert [sum(rung) for rung in RUNGS] == sorted(sum(rung) for rung in RUNGS)
    assert RUNGS[0] == (1, 1)


def test_a_threshold_of_its_own_counts_for_a_rung(climb: Callable[..., bytes]) -> None:
    # Background of -4 became -4 and foreground -5 + 9 = 4 in the trained network: a shift alone is no loss.
    answers = Answers(LOGITS[None, None] - 3.0, CALIBRATION.probability, halo_px=0)
    assert climb(0, 9, 9, calibration=answers) == missing(0)
