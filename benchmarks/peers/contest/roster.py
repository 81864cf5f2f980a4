"""Who takes part. A contestant is a program of `children/`, its environment and its settings.

Where settings are a list of choices, a short trial on the first slices of each volume picks the fastest, for
the benefit of the contestant.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from contest.environments import OWN

Device = Literal["cpu", "cuda"]
Settings = dict[str, Any]
ROI_PX = (256, 512, 1024)
COVER_PX = (256, 512, 1024, 2048)
SW_BATCH = (1, 4)


@dataclass(frozen=True)
class Contestant:
    """One line of the table.

    Attributes:
        name: its word.
        words: what it is, for people.
        environment: name of it.
        program: file of `children/`, without its ending.
        choices: settings; more than one are tried first.
        window: "slides": only windows smaller than the slice come into question, where there are any;
            "covers": only the smallest that is not smaller; "any": all choices do.
        precision: that the package must hold; None: nothing is asked of it.
    """

    name: str
    words: str
    environment: str
    program: str
    choices: tuple[Settings, ...]
    window: Literal["any", "slides", "covers"] = "any"
    precision: str | None = None
    is_dmn: bool = field(default=False)


REFERENCE = Contestant(
    "untiled", "whole slices, reflected at the edge", "torch", "torch_slices", ({"border_px": 64},)
)
"""Not measured: the truth of the arithmetic, which every contestant's probability is held against."""


def _monai(name: str, words: str, blending: Settings, more: Settings) -> Contestant:
    choices = tuple(
        {"roi_px": roi, "sw_batch": batch, **blending, **more} for roi in ROI_PX for batch in SW_BATCH
    )
    return Contestant(name, words, "monai", "monai_window", choices, window="slides")


def _monai_all(more: Settings, suffix: str = "", note: str = "") -> tuple[Contestant, ...]:
    return (
        _monai(
            f"monai-gaussian{suffix}",
            f"MONAI sliding window, overlap 0.5, Gaussian{note}",
            {"overlap": 0.5, "mode": "gaussian"},
            more,
        ),
        _monai(
            f"monai-default{suffix}",
            f"MONAI sliding window, its defaults (overlap 0.25, constant){note}",
            {"overlap": 0.25, "mode": "constant"},
            more,
        ),
        _monai(
            f"monai-none{suffix}",
            f"MONAI sliding window, no overlap{note}",
            {"overlap": 0.0, "mode": "constant"},
            more,
        ),
        Contestant(
            f"monai-one-window{suffix}",
            f"MONAI, one window that covers the slice{note}",
            "monai",
            "monai_window",
            tuple(
                {"roi_px": roi, "sw_batch": 1, "overlap": 0.0, "mode": "constant", **more} for roi in COVER_PX
            ),
            window="covers",
        ),
    )


def _torch(name: str, words: str, settings: Settings) -> Contestant:
    return Contestant(name, f"PyTorch, whole slices, {words}", "torch", "torch_slices", (settings,))


def _dmn(name: str, words: str, program: str, engine: str, precision: str) -> Contestant:
    held = None if precision == "auto" else precision
    settings = {"engine": engine, "precision": precision}
    return Contestant(name, words, OWN, program, (settings,), precision=held, is_dmn=True)


def _torch_em(more: Settings, note: str = "") -> Contestant:
    choices = tuple({"patch_px": patch, "halo_px": 32, **more} for patch in ROI_PX)
    return Contestant(
        "torch-em", f"torch-em predict_with_halo, halo 32 px{note}", "torch-em", "torch_em_halo", choices
    )


ON_CPU = (
    *_monai_all({}),
    _torch_em({}),
    Contestant(
        "bioimageio",
        "bioimageio.core on the package, ONNX Runtime",
        "bioimageio",
        "bioimageio_blocks",
        tuple({"block_px": block} for block in (*ROI_PX, 0)),
    ),
    _torch("torch-eager", "eager", {}),
    _torch("torch-channels-last", "channels_last", {"channels_last": True}),
    _torch("torch-compile", "torch.compile", {"compile": True}),
    _torch("torch-amp", "channels_last, autocast to bf16", {"channels_last": True, "amp": True}),
    _torch(
        "torch-compile-amp", "torch.compile, autocast to bf16",
        {"channels_last": True, "compile": True, "amp": True},
    ),
    _dmn("dmn-fp32", "`dmn infer`, fp32 by ONNX Runtime", "dmn_infer", "cpu", "fp32"),
    _dmn("dmn-int8", "`dmn infer`, int8 by OpenVINO", "dmn_infer", "openvino", "int8"),
    _dmn("dmn-bf16", "`dmn infer`, bf16 by OpenVINO", "dmn_infer", "openvino", "bf16"),
    _dmn("dmn-auto", "`dmn infer` as it comes, --engine auto", "dmn_infer", "auto", "auto"),
    _dmn("dmn-ram", "DMN from memory to memory, --engine auto", "dmn_ram", "auto", "auto"),
)  # fmt: skip

_FAST = {"channels_last": True, "compile": True, "amp": True}
ON_CUDA = (
    *_monai_all({}),
    *_monai_all(_FAST, "-fast", ", torch.compile, autocast to fp16"),
    _torch_em(_FAST, ", torch.compile, autocast to fp16"),
    _torch("torch-eager", "eager", {"batch": 8}),
    _torch("torch-amp", "channels_last, autocast to fp16", {"batch": 8, "channels_last": True, "amp": True}),
    _torch("torch-compile-amp", "torch.compile, autocast to fp16", {"batch": 8, **_FAST}),
    _dmn("dmn-fp32", "`dmn infer`, fp32 by ONNX Runtime", "dmn_infer", "cuda", "fp32"),
    _dmn("dmn-auto", "`dmn infer` as it comes, --engine auto", "dmn_infer", "auto", "auto"),
    _dmn("dmn-ram", "DMN from memory to memory, --engine auto", "dmn_ram", "auto", "auto"),
)
ROSTERS: dict[Device, tuple[Contestant, ...]] = {"cpu": ON_CPU, "cuda": ON_CUDA}


def eligible(contestant: Contestant, slice_shape: tuple[int, int]) -> tuple[Settings, ...]:
    """Return the choices that come into question for slices of a shape, yx.

    A window that covers the slice along both axes slides nowhere and overlaps nothing, whatever it is told to
    do; it has a line of its own. None may be left.
    """
    wide = max(slice_shape)
    if contestant.window == "slides":
        sliding = tuple(one for one in contestant.choices if one["roi_px"] < wide)
        return sliding or contestant.choices
    if contestant.window == "covers":
        return tuple(one for one in contestant.choices if one["roi_px"] >= wide)[:1]
    return contestant.choices
