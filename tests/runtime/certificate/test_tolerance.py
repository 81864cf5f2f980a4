"""The table of tolerances: what is promised to users stands here a second time, on purpose."""

import pytest

from dmn_runtime.certificate.tolerance import TOLERANCES


@pytest.mark.parametrize(
    ("precision", "max_dp", "iou_change", "speedup"),
    [
        ("fp32", 1e-4, 0.0005, 0.0),
        ("fp16", 0.05, 0.002, 0.0),
        ("bf16", 0.2, 0.005, 0.0),
        ("int8", 0.5, 0.005, 1.5),
        ("int8-trt", 0.5, 0.005, 0.0),
    ],
)
def test_what_is_promised(precision: str, max_dp: float, iou_change: float, speedup: float) -> None:
    tolerance = TOLERANCES[precision]
    assert (tolerance.max_dp, tolerance.iou_change, tolerance.speedup) == (max_dp, iou_change, speedup)


def test_no_precision_is_without_a_test() -> None:
    assert set(TOLERANCES) == {"fp32", "fp16", "bf16", "int8", "int8-trt"}
