"""A bench as text for people."""

from dmn_runtime.bench.load import busy_sentence
from dmn_runtime.bench.result import Bench, VolumeFacts
from dmn_runtime.bench.stages import limit_of
from dmn_runtime.bench.wording import WORDINGS, shown, table
from dmn_runtime.machine import possible_cores


def bench_text(bench: Bench) -> list[str]:
    """Return the lines of the report: what was measured on, figures, stages, queues, what to think of it."""
    return [
        *_head(bench),
        "",
        *_figures(bench),
        "",
        *_stages(bench),
        "",
        *_notes(bench),
    ]


def volume_words(volume: VolumeFacts) -> str:
    """Say what was measured on: name, shape, voxel size, and whether it was resampled."""
    words = f"{volume.name}, {' x '.join(map(str, volume.shape))} voxels (zyx), {volume.dtype}"
    if volume.voxel_nm is not None:
        words += f", {' x '.join(f'{nm:g}' for nm in volume.voxel_nm)} nm"
    if volume.resampled and volume.working_voxel_nm is not None:
        words += f", resampled to {volume.working_voxel_nm[1]:g} nm for the network and back"
    return words


def _head(bench: Bench) -> list[str]:
    machine, memory = bench.machine, bench.machine.memory_bytes
    rounds = len(bench.rounds)
    facts = [
        ("package", f"{bench.package.name}, sha256 {bench.package.sha256[:12]}"),
        ("engine", f"{bench.engine.description}; {bench.workers} workers"),
        ("volume", volume_words(bench.volume)),
        (
            "machine",
            f"{machine.cpu}, {machine.logical_cores} cores"
            + ("" if memory is None else f", {memory / 2**30:.0f} GiB")
            + "".join(f", {gpu}" for gpu in bench.gpus),
        ),
        (
            "measured",
            f"{bench.measured}, {rounds} round{'s' if rounds > 1 else ''}, dmn {bench.versions['dmn']}",
        ),
    ]
    return [f"{name:<10}{words}" for name, words in facts]


def _figures(bench: Bench) -> list[str]:
    figures = bench.figures
    rows: list[tuple[str, ...]] = [("", "median", "min", "max", "")]
    rows += [
        (
            wording.words,
            *(shown(name, value) for value in (figures[name].median, figures[name].min, figures[name].max)),
            wording.unit,
        )
        for name, wording in WORDINGS.items()
        if name in figures
    ]
    return table(rows)


def _stages(bench: Bench) -> list[str]:
    rows = [("stage", "threads", "busy s", "% of their time")]
    rows += [
        (
            stage.name,
            f"{stage.threads} {stage.kind}{'s' if stage.threads > 1 else ''}",
            f"{stage.busy_s.median:.2f}",
            f"{stage.percent_of_threads.median:.1f}",
        )
        for stage in bench.stages
    ]
    names = dict.fromkeys(name for one in bench.rounds for name in one.end_to_end.queues)
    means = ", ".join(
        f"{name} {min(found):.1f}" + (f" to {max(found):.1f}" if max(found) > min(found) else "")
        for name in names
        if (found := [one.end_to_end.queues[name] for one in bench.rounds if name in one.end_to_end.queues])
    )
    return [
        "stages of the runs end to end, medians:",
        *table(rows, left=2),
        f"blocks in the queues on average, of {bench.threads.slots} at most: {means}",
    ]


def _notes(bench: Bench) -> list[str]:
    limit = limit_of(bench.stages)
    lines = [f"limit: {limit.name}, done by the {limit.kind}{'s' if limit.threads > 1 else ''}"]
    lines += _through_gpu(bench)
    if bench.peak_rss_bytes is not None:
        lines.append(f"peak memory of a run: {bench.peak_rss_bytes / 2**20:.0f} MiB")
    lines.append(f"ceilings: {bench.ceilings}")
    if bench.multiply_adds_per_px is None:
        lines.append(
            "the package does not state its multiply-adds, so its share of the matrix product is unknown"
        )
    busy = busy_sentence(bench.load_average, possible_cores())
    return lines if busy is None else [*lines, f"warning: {busy}"]


def _through_gpu(bench: Bench) -> list[str]:
    """Say what went through the GPU at once, each share once."""
    told: dict[tuple[int, ...], str] = {}
    for one in bench.rounds:
        if (gpu := one.end_to_end.gpu) is not None:
            told.setdefault(gpu.share, f"on the GPU at once: {gpu.words()}")
    return list(told.values())
