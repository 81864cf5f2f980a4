"""What the package's certificates say, in a table for people."""

from collections.abc import Iterator

from dmn_runtime.contract import Certificate, Contract

_HEAD = (
    "| arithmetic | run by | measured on | change of the segmentation (1 - IoU) "
    "| largest change of probability "
    "| million voxels a second | times as fast as fp32 |\n|---|---|---|---|---|---|---|"
)


def certificate_table(contract: Contract) -> str:
    """Return a table in Markdown, one row for each precision and engine that was certified."""
    return "\n".join([_HEAD, *_rows(contract)])


def _rows(contract: Contract) -> Iterator[str]:
    for name, precision in contract.precisions.items():
        for certificate in precision.certificates:
            yield _row(name, certificate)


def _row(precision: str, certificate: Certificate) -> str:
    cells = (
        precision,
        f"{certificate.engine} ({certificate.library})",
        certificate.device,
        f"{certificate.iou_change:.4f}",
        f"{certificate.max_dp:.4f}",
        "not measured" if certificate.voxels_per_s is None else f"{certificate.voxels_per_s / 1e6:.2f}",
        "" if certificate.speedup is None else f"{certificate.speedup:.1f}",
    )
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
