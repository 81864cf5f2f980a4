"""The page: docs/results/throughput.md from the contest's JSON, the efficiency's JSON and the kept text."""

import json
from pathlib import Path
from typing import Any

from contest.environments import PINS
from contest.plots import plot_iou, plot_speed
from contest.roster import ROSTERS
from contest.scores import EDGE_PX
from contest.store import Record, Store
from contest.verdict import EQUAL_IOU, JUDGED, Spread, Verdict, ratio, speed, verdicts
from dmn_runtime.errors import UsageError
from dmn_runtime.whole_file import whole_file

PAGE = "throughput.md"
SHOWN = (
    "monai", "torch-em", "torch_em", "bioimageio.core", "bioimageio-core", "torch", "torchvision",
    "onnxruntime", "openvino", "numpy",
)  # fmt: skip
"""Packages that the page names, where an environment has them; the JSON holds all."""
EFFICIENCY = "throughput.json"
KEPT = PINS / "kept.md"
PLOTS = {"throughput-speed.png": plot_speed, "throughput-iou.png": plot_iou}


COLUMNS = (
    "- **Mvoxel/s**: of the working grid, median and range. **is faster**: seconds of the contestant over "
    "those of DMN in the same round.",
    "- **IoU**: of the foreground against the labels, on the working grid, at the package's threshold. "
    f"**inner**: the same without {EDGE_PX} px at the volume's edge, where peers that are fed whole "
    "slices leave the outside to zeros and DMN reflects: what differs outside the parentheses alone is a "
    "matter of that edge.",
    "- **off untiled**: difference from PyTorch's result on whole slices, in grey levels of 255, "
    f"{EDGE_PX} px or more away from the volume's edge: what tiling costs, and for int8, bf16 and autocast "
    "what the arithmetic does. **seams**: largest difference beside tile faces in DMN's own check, with "
    "tiles of 128 px.",
    "- **work**: pixels that the network computes for each pixel delivered. DMN reflects a halo of 64 px "
    "around the volume too, which weighs most on small slices; PyTorch on whole slices leaves the edge to "
    "the convolutions' zeros.",
)


def write_page(store: Store, out: Path) -> list[Path]:
    """Write the page and its plots; return their paths.

    Raises:
        UsageError: nothing was measured, or the efficiency's JSON is missing or damaged.
    """
    if not store.measurements:
        raise UsageError(f"{store.path} holds no measurement yet: measure first")
    text = page(store, efficiency_table(out / EFFICIENCY))
    written = []
    for name, plot in PLOTS.items():
        with whole_file(out / name, "plot") as partial:
            plot(store, partial)
        written.append(out / name)
    with whole_file(out / PAGE, "page") as partial:
        partial.write_text(text, encoding="utf-8")
    return [*written, out / PAGE]


def page(store: Store, efficiency: str) -> str:
    """Return the page's Markdown."""
    parts = ["# Throughput and memory\n", *_head(store)]
    for course in courses(store):
        parts += _course(store, course)
    parts += [
        *_acceptance(store),
        *_method(store),
        KEPT.read_text(encoding="utf-8").replace("{efficiency}", efficiency),
    ]
    return "\n".join(parts)


def courses(store: Store) -> list[Record]:
    """Return every volume with every student, in the order in which they were named."""
    return [
        {"volume": volume, "student": student}
        for volume in store.config["volumes"]
        for student in store.config["students"]
    ]


def efficiency_table(path: Path) -> str:
    """Return the table of end to end against the network alone.

    Raises:
        UsageError: its JSON is missing or damaged.
    """
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
        lines = [_efficiency_row(row) for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} gives no pipeline efficiency ({type(error).__name__}: {error}): put it back beside "
            "the page, it is part of the repository"
        ) from error
    head = [
        "| package | slices | workers | network alone, Mvoxel/s | end to end, Mvoxel/s | ratio |",
        "|---|---|---|---|---|---|",
    ]
    return "\n".join([*head, *lines])


def _efficiency_row(row: dict[str, Any]) -> str:
    return (
        f"| {row['package']} | {row['slices']} | {row['workers']} | {row['network_only_mvoxel_per_s']:.2f} "
        f"| {row['end_to_end_mvoxel_per_s']:.2f} | {row['ratio_median']:.3f} "
        f"({row['ratio_min']:.3f} to {row['ratio_max']:.3f}) |"
    )


def _head(store: Store) -> list[str]:
    machine, config = store.machine, store.config
    gpus = ", ".join(machine["gpus"])
    where = gpus if config["device"] == "cuda" else f"{config['cores']} logical cores"
    sets = ", ".join(machine["instruction_sets"])
    rounds = max(int(one["round"]) for one in store.measurements) + 1
    return [
        "## Beside the peers\n",
        f"`benchmarks/peers/run.py` on {machine['cpu']} ({sets}), {where}, {rounds} rounds. Every contestant "
        "is given the same voxels, in 8 bits on the network's working grid, the same intensity map and the "
        "same weights, and runs in a fresh process on the same cores; they take turns round by round.\n",
        "**The peers are timed from memory to memory**: look-up of the intensities, network, stitching, "
        "sigmoid. **DMN is timed complete**, as `dmn infer` reports it: from a deflate-compressed TIFF on "
        "disk to the finished OME-Zarr with pyramid, mask, report and preview. That favours the peers. "
        "Loading, warming up and choosing an engine count for nobody.\n",
        *(f"![]({name})\n" for name in PLOTS),
    ]


def _course(store: Store, course: Record) -> list[str]:
    volume = store.config["volumes"][course["volume"]]
    shape = " x ".join(map(str, volume["working_shape"]))
    lines = [
        f"### {course['volume']}, {course['student']}\n",
        f"`{volume['file']}`, {shape} voxels on the working grid{_enlarged(volume)}.\n",
        "| contestant | Mvoxel/s | dmn-fp32 is faster | dmn-auto is faster | IoU (inner) "
        "| off untiled: most, mean | work |",
        "|---|---|---|---|---|---|---|",
    ]
    measured = [one for one in store.config["contestants"] if speed(store, course, one)]
    measured.sort(key=lambda one: -_known(speed(store, course, one)).median)
    return [*lines, *(_row(store, course, one) for one in measured), "", *_left_out(store, course)]


def _row(store: Store, course: Record, contestant: str) -> str:
    fast = _known(speed(store, course, contestant))
    times = " | ".join(
        "" if contestant.startswith("dmn") else _times(ratio(store, course, dmn, contestant))
        for dmn in JUDGED
    )
    good = store.find("accuracy", **course, contestant=contestant)
    shown = f"**{contestant}**" if contestant.startswith("dmn") else contestant
    mega = Spread(fast.median / 1e6, fast.low / 1e6, fast.high / 1e6, fast.n)
    work = _work(store, course, contestant)
    return f"| {shown} | {_spread(mega)} | {times} | {_iou(good)} | {_off(good)} | {work} |"


def _known(spread: Spread | None) -> Spread:
    assert spread is not None
    return spread


def _spread(spread: Spread) -> str:
    return f"{spread.median:.2f} ({spread.low:.2f}-{spread.high:.2f})"


def _times(found: Spread | None) -> str:
    return "" if found is None else f"{_spread(found)} x"


def _iou(record: Record | None) -> str:
    return (
        "" if record is None or record["iou"] is None else f"{record['iou']:.4f} ({record['iou_inner']:.4f})"
    )


def _off(record: Record | None) -> str:
    if record is None or record["max_grey"] is None:
        return ""
    seams = record.get("seams_max_grey")
    own = "" if seams is None else f"; seams {seams}"
    return f"{record['max_grey']}, {record['mean_grey']:.4f}{own}"


def _work(store: Store, course: Record, contestant: str) -> str:
    record = store.find("measurements", **course, contestant=contestant)
    if record is None or record["computed_px"] is None:
        return ""
    _, height, width = store.config["volumes"][course["volume"]]["working_shape"]
    return f"{record['computed_px'] / (height * width):.2f}"


def _enlarged(volume: Record) -> str:
    said = []
    if volume["slices"]:
        said.append(f"forwards and backwards up to {volume['slices']} slices")
    if volume["mosaic"] > 1:
        said.append(f"every slice mirrored into {volume['mosaic']} x {volume['mosaic']}")
    return f" ({', '.join(said)})" if said else ""


def _left_out(store: Store, course: Record) -> list[str]:
    lines = [f"- not measured: {one['contestant']}: {one['why']}" for one in store.of("left_out", **course)]
    return [*lines, ""] if lines else []


def _acceptance(store: Store) -> list[str]:
    lines = [
        "### Against the acceptance\n",
        "Wanted: so many times as fast as each of MONAI's ways, at equal or better IoU (equal: at most "
        f"{EQUAL_IOU:g} below). Ratios are those of each round, median and range.\n",
        "| volume | student | DMN | over | wanted | measured | IoU of DMN | IoU of the peer | |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for course in courses(store):
        lines += [_verdict_row(course, one) for one in verdicts(store, course)]
    return [*lines, ""]


def _verdict_row(course: Record, one: Verdict) -> str:
    ious = " | ".join("not known" if iou is None else f"{iou:.4f}" for iou in (one.iou_dmn, one.iou_peer))
    measured = "not measured" if one.ratio is None else _times(one.ratio)
    said = {True: "met", False: "**not met**", None: "cannot be said"}[one.met]
    if not one.settled:
        said = "**not settled** (ONNX against PyTorch, below)"
    return (
        f"| {course['volume']} | {course['student']} | {one.dmn} | {one.peer} | {one.wanted:g} x "
        f"| {measured} | {ious} | {said} |"
    )


def _method(store: Store) -> list[str]:
    roster = {one.name: one.words for one in ROSTERS[store.config["device"]]}
    named = [
        f"- **{name}**: {roster.get(name, name)}{_ran(store, name)}" for name in store.config["contestants"]
    ]
    return [
        "### What the columns and contestants are\n",
        *COLUMNS,
        *named,
        "",
        *_tried(store),
        *_equal(store),
        *_versions(store),
        "```",
        command(store.config),
        "```\n",
    ]


def _ran(store: Store, contestant: str) -> str:
    engines = sorted(
        {one["detail"]["engine"] for one in store.of("measurements", contestant=contestant)
         if "engine" in one["detail"]}
    )  # fmt: skip
    return f"; ran {', '.join(engines)}" if engines else ""


def _tried(store: Store) -> list[str]:
    if not store.trials:
        return []
    lines = [
        "Settings that were chosen by a short trial, for the contestant's benefit (seconds for 3 slices):\n"
    ]
    for trial in store.trials:
        tried = "; ".join(
            f"{_settings(one['settings'])}: " + (f"{one['seconds']:.2f}" if "seconds" in one else "refused")
            for one in trial["tried"]
        )
        lines.append(
            f"- {trial['volume']}, {trial['student']}, {trial['contestant']}: "
            f"took {_settings(trial['chosen'])} ({tried})"
        )
    return [
        *lines,
        "\nA window of MONAI's that covers the whole slice slides nowhere: it is a contestant of its own "
        "(monai-one-window) and not among the choices of the others.\n",
    ]


def _settings(settings: Record) -> str:
    shown = {key: value for key, value in settings.items() if key.endswith("_px") or key == "sw_batch"}
    return " ".join(f"{key} {value}" for key, value in shown.items())


def _equal(store: Store) -> list[str]:
    lines = [
        f"- {one['volume']}, {one['student']}: largest difference of probabilities {one['max_dp']:.1e}"
        + ("" if one["settled"] else ", **more than 1e-4**")
        for one in store.equality
    ]
    return ["The ONNX network of the package against PyTorch's, on the first slice:\n", *lines, ""]


def _versions(store: Store) -> list[str]:
    lines = []
    for name, found in store.machine["environments"].items():
        packages = found["packages"]
        shown = ", ".join(f"{one} {packages[one]}" for one in SHOWN if one in packages)
        lines.append(f"- {name}: Python {found['python']}, {shown}")
    return ["Environments:\n", *lines, ""]


def command(config: Record) -> str:
    """Return the command that made a contest, paths shortened to file names."""
    words = ["python benchmarks/peers/run.py"]
    for name, facts in config["volumes"].items():
        voxel = "x".join(f"{edge:g}" for edge in facts["voxel_nm"])
        more = ",LABELS" if facts["labels"] else ""
        more += f",slices={facts['slices']}" if facts["slices"] else ""
        more += f",mosaic={facts['mosaic']}" if facts["mosaic"] > 1 else ""
        words.append(f"    --volume {name}={facts['file']},{voxel}{more}")
    words += [f"    --student {name}=RUN,{name}.zip" for name in config["students"]]
    words.append(f"    --device {config['device']} --cores {config['cores']} --out docs/results")
    return " \\\n".join(words)
