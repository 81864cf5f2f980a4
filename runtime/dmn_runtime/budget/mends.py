"""What would mend a lag: ordered sentences, none of which claims a speed that was not measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from dmn_runtime.bench.result import Bench
from dmn_runtime.bench.stages import limit_of
from dmn_runtime.budget.verdict import Verdict
from dmn_runtime.extras import is_present

AUTO = "auto"
LIMIT_WORDS = {
    "read": "reading the volume",
    "resample": "resampling the volume to the network's voxel size",
    "gather": "gathering tiles",
    "network": "the network",
    "scatter": "scattering tiles",
    "stage": "carrying blocks to and from the GPU",
    "device": "the GPU",
    "assemble": "resampling the result to the volume's voxel size",
    "write": "writing the result",
}
"""Stage -> what it is for people."""

_MENDS_AROUND_THE_NETWORK = {
    "read": "read from a faster disk, or from a file that is cheaper to decode (not or less compressed)",
    "resample": "acquire or bin at the network's voxel size, so that nothing is resampled",
    "assemble": "dmn infer --at working: the result stays on the network's grid, and is not resampled back",
    "write": "write to a faster disk (this bench wrote to the folder for temporary files: TMPDIR)",
}


@dataclass(frozen=True)
class Situation:
    """What there is to mend.

    Attributes:
        limit: name of the stage that holds up the others.
        on_gpu: whether the engine computes on a GPU.
        asked_engine: "auto" or the word that was asked for.
        asked_precision: the same of the precision.
        precision: that ran.
        held: precisions in the package.
        has_openvino: whether OpenVINO is installed.
        workers: engine threads.
        cores: that there are.
        gpus: that the driver names.
    """

    limit: str
    on_gpu: bool
    asked_engine: str
    asked_precision: str
    precision: str
    held: tuple[str, ...]
    has_openvino: bool
    workers: int
    cores: int
    gpus: tuple[str, ...]


def situation_of(bench: Bench, held: Sequence[str]) -> Situation:
    """Return the situation of a bench on this machine; `held`: precisions in its package."""
    return Situation(
        limit=limit_of(bench.stages).name,
        on_gpu=bench.engine.on_gpu,
        asked_engine=bench.engine.asked_engine,
        asked_precision=bench.engine.asked_precision,
        precision=bench.engine.precision,
        held=tuple(held),
        has_openvino=is_present("openvino"),
        workers=bench.workers,
        cores=bench.machine.logical_cores,
        gpus=bench.gpus,
    )


def mends(situation: Situation, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """Return what would mend the lags, the cheapest first; nothing where there is none."""
    lagging = [one for one in verdicts if one.keeps_up is False]
    if not lagging:
        return ()
    if situation.limit in _MENDS_AROUND_THE_NETWORK:
        return (_MENDS_AROUND_THE_NETWORK[situation.limit], _not_by_network(situation))
    if situation.on_gpu:
        return (*_asked(situation), _smaller(), "a faster GPU")
    return (
        *_idle_cores(situation),
        *_asked(situation),
        *_openvino(situation),
        _smaller(),
        _cores(situation, lagging),
        _gpu(situation),
    )


def _idle_cores(situation: Situation) -> list[str]:
    if situation.workers >= situation.cores:
        return []
    return [f"--workers {situation.cores}: {situation.workers} of {situation.cores} cores worked"]


def _asked(situation: Situation) -> list[str]:
    """Advise to lift what the user narrowed; what auto has passed over is no advice."""
    asked = [
        f"--{name} {word}"
        for name, word in (("engine", situation.asked_engine), ("precision", situation.asked_precision))
        if word != AUTO
    ]
    if not asked:
        return []
    sentence = f"leave out {' and '.join(asked)}: the fastest that passes the package's certificate here runs"
    unused = situation.asked_precision != AUTO and "int8" in situation.held and situation.precision != "int8"
    return [sentence + ("; int8, which the package holds, is then in question" if unused else "")]


def _openvino(situation: Situation) -> list[str]:
    if situation.has_openvino:
        return []
    return ["pip install 'dmn-em[openvino]': another engine for processors, then measure again"]


def _smaller() -> str:
    return "a smaller student, with fewer base channels: dmn train, dmn export, and measure it"


def _cores(situation: Situation, lagging: Sequence[Verdict]) -> str:
    needed = ", ".join(f"{ceil(situation.workers / one.ratio)} for {one.acquisition.name}" for one in lagging)
    plural = "s" if situation.workers > 1 else ""
    return f"more cores like the {situation.workers} core{plural} that worked, if it scales: {needed}"


def _gpu(situation: Situation) -> str:
    if situation.gpus:
        return f"the GPU here ({', '.join(situation.gpus)}) did not work: dmn doctor says what is missing"
    return "a GPU: none answers here, so what it would do was not measured"


def _not_by_network(situation: Situation) -> str:
    return f"a faster network would not mend it: the workers wait for {LIMIT_WORDS[situation.limit]}"
