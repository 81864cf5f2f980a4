"""The no-adaptation baseline: source-trained runs, exported, streamed over labelled volumes and evaluated.

.venv/bin/python benchmarks/baseline.py RUN... --data ../shared/data --work FOLDER --results docs/results

One RUN a seed (`dmn train recipes/epfl.toml -o RUN --seed N`). Everything goes through the commands that
users have: export, infer, evaluate. Writes baseline.json and baseline.md; the volumes stay where they are.
"""

import argparse
import json
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Target:
    """A labelled volume: its folder, its voxel size in nm (zyx) and what it stands for."""

    folder: str
    voxel_nm: str
    words: str


TARGETS = (
    Target("epfl_test", "5,5,5", "EPFL test, in domain"),
    Target("vnc", "50,4.6,4.6", "VNC stack1, out of domain"),
    Target("cdeep3m", "50,5,5", "CDeep3M, out of domain (voxel size assumed)"),
)


def dmn(*words: object) -> str:
    """Run one command of DMN and return what it prints."""
    command = [sys.executable, "-m", "dmn_runtime", *map(str, words)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def measure(run: Path, target: Target, data: Path, work: Path) -> dict[str, Any]:
    """Export a run, stream one volume through it and return the evaluation's figures."""
    package, output = work / f"{run.name}.zip", work / f"{run.name}-{target.folder}.ome.zarr"
    if not package.exists():
        dmn("export", run, "-o", package)
    image, mask = (data / target.folder / name for name in ("image.tif", "mito.tif"))
    dmn("infer", package, image, "-o", output, "--voxel-nm", target.voxel_nm, "--overwrite")
    found = json.loads(dmn("evaluate", output, mask, "--json"))
    return {
        "run": run.name,
        "target": target.folder,
        "iou": found["volume"]["iou"],
        "iou_interval": found["volume_iou_interval"],
        "slice_iou_mean": found["slices"]["iou_mean"],
        "average_precision": found["average_precision"],
        "pq": found["objects"]["pq"],
        "objects": found["objects"]["true_positives"] + found["objects"]["false_negatives"],
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Return the figures as a Markdown table: mean and sd over runs, then every run."""
    lines = [
        "| volume | runs | fg IoU, volume | fg IoU, slices | AP | PQ (objects) | fg IoU of each run [95 %] |",
        "|---|---|---|---|---|---|---|",
    ]
    for target in TARGETS:
        own = [row for row in rows if row["target"] == target.folder]
        each = ", ".join(
            f"{r['iou']:.3f} [{r['iou_interval'][0]:.3f}, {r['iou_interval'][1]:.3f}]" for r in own
        )
        keys = ("iou", "slice_iou_mean", "average_precision", "pq")
        figures = " | ".join(_spread([row[key] for row in own]) for key in keys)
        lines.append(f"| {target.words} | {len(own)} | {figures} ({own[0]['objects']}) | {each} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{deviation}"


def main() -> None:
    """Measure every run on every volume and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    given = parser.parse_args()
    rows = [measure(run, target, given.data, given.work) for run in given.runs for target in TARGETS]
    (given.results / "baseline.json").write_text(json.dumps(rows, indent=2) + "\n")
    (given.results / "baseline.md").write_text(f"{HEAD}\n{table(rows)}\n{FOOT}")
    print(table(rows))


HEAD = """# The baseline without adaptation

`recipes/epfl.toml`: s16 (536,209 weights), EPFL training volume slices 0-77, in-plane 10 nm, strong
intensity augmentation, 2,000 steps of 8 crops of 160 px, last weights (moving average), no target data, no
choice made on a target. Evaluated on the volume's own grid at threshold 0.5, no post-processing, no test-time
augmentation. Mean ± sd over seeds; intervals resample slices. On two cores, torch 2.13 for the CPU, bfloat16.
"""

FOOT = """
Beside it: Roels et al. 2019 report 0.287 for EPFL -> VNC without adaptation, on the right third of the stack
only (17 objects), with another network and weaker augmentation; supervised 2D networks reach 0.865 on EPFL
(DA-ISC). CDeep3M does not state its voxel size; 5 nm is an assumption.

Made by
```
for seed in 0 1 2; do .venv/bin/dmn train recipes/epfl.toml -o runs/epfl-s16-seed$seed --seed $seed; done
.venv/bin/python benchmarks/baseline.py runs/epfl-s16-seed* --data ../shared/data --work runs \\
    --results docs/results
```
"""

if __name__ == "__main__":
    main()
