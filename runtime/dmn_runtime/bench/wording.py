"""How figures are called and scaled for people."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Wording:
    """`words`: for a figure; `unit` that it is shown in; shown = measured * `scale`, `digits` decimals."""

    words: str
    unit: str
    scale: float = 1.0
    digits: int = 2


WORDINGS = {
    "network_only_voxels_per_s": Wording("network only", "Mvoxel/s", 1e-6),
    "network_only_px_per_s": Wording("network only, halo included", "Mpx/s", 1e-6),
    "gather_voxels_per_s": Wording("gather only", "Mvoxel/s", 1e-6, 1),
    "scatter_voxels_per_s": Wording("scatter only", "Mvoxel/s", 1e-6, 1),
    "end_to_end_voxels_per_s": Wording("end to end", "Mvoxel/s", 1e-6),
    "end_to_end_percent_of_network_only": Wording("end to end, of network only", "%", digits=1),
    "first_tile_s": Wording("first tile after", "s"),
    "copy_bytes_per_s": Wording("ceiling: copy", "GB/s", 1e-9),
    "gather_bytes_per_s": Wording("gather", "GB/s", 1e-9),
    "gather_percent_of_copy": Wording("gather, of the copy", "%", digits=1),
    "scatter_bytes_per_s": Wording("scatter", "GB/s", 1e-9),
    "scatter_percent_of_copy": Wording("scatter, of the copy", "%", digits=1),
    "engine_matmul_macs_per_s": Wording("ceiling: matrix product by the engine", "Gmac/s", 1e-9, 1),
    "matmul_1_thread_macs_per_s": Wording("matrix product by NumPy, float32, 1 thread", "Gmac/s", 1e-9, 1),
    "matmul_all_threads_macs_per_s": Wording("matrix product by NumPy, float32, all", "Gmac/s", 1e-9, 1),
    "network_macs_per_s": Wording("network only", "Gmac/s", 1e-9, 1),
    "network_percent_of_engine_matmul": Wording("network only, of the engine's product", "%", digits=1),
    "network_percent_of_matmul": Wording("network only, of NumPy's product", "%", digits=1),
}
"""Every figure of `figures_of`, in the order in which it is shown; the last two are never both there."""


def shown(name: str, value: float) -> str:
    """Return a figure's value in its unit for people."""
    wording = WORDINGS[name]
    return f"{value * wording.scale:.{wording.digits}f}"


def table(rows: Sequence[tuple[str, ...]], left: int = 1) -> list[str]:
    """Return rows as aligned lines, the first `left` columns to the left and the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if column < left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
