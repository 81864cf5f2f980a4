"""Voxel sizes that TIFF files state: OME-XML, ImageJ's description, or the resolution tags."""

from typing import Any

import tifffile

from dmn_runtime.geometry import Spacing
from dmn_runtime.volume.lengths import is_plausible, nm_per, spacing

PRINT_NM = 10_000.0
"""Resolution tags in inch or cm that say more than this are a printer's (300 dpi is 84667 nm)."""
_NM_PER_RESOLUTION_UNIT = {2: 2.54e7, 3: 1e7}  # inch, cm; 1 = no unit


def tiff_spacing(tiff: tifffile.TiffFile, series: int, slices: int) -> Spacing | None:
    """Return the voxel size (nm, zyx) of image `series` of a file, or None where it does not say.

    Args:
        tiff: the open file.
        series: index of the image among those of an OME-TIFF.
        slices: how many slices the volume has, of which this file may be one.
    """
    page = tiff.pages.first
    if page.is_ome:  # the page, not the file: slices of a folder are opened as if they were not OME
        return _ome_spacing(page.description, series, slices)
    if tiff.is_imagej and tiff.imagej_metadata:
        unit = nm_per(str(tiff.imagej_metadata.get("unit", "")))
        if unit is not None:
            thickness = tiff.imagej_metadata.get("spacing")
            z = abs(float(thickness)) * unit if thickness else None
            return spacing(z, _edge_nm(page, 283, unit), _edge_nm(page, 282, unit), slices)
    return _tag_spacing(page, slices)


def _tag_spacing(page: tifffile.TiffPage, slices: int) -> Spacing | None:
    unit = _NM_PER_RESOLUTION_UNIT.get(int(page.tags.valueof(296, default=1)))
    if unit is None:
        return None
    y, x = _edge_nm(page, 283, unit), _edge_nm(page, 282, unit)
    if y is None or x is None or not (is_plausible(y, PRINT_NM) and is_plausible(x, PRINT_NM)):
        return None
    return spacing(None, y, x, slices)


def _edge_nm(page: tifffile.TiffPage, tag: int, unit_nm: float) -> float | None:
    """Return the pixel edge of a resolution tag: a fraction, pixels per unit."""
    value = page.tags.valueof(tag)
    if value is None or len(value) != 2 or value[0] == 0:
        return None
    return unit_nm * float(value[1]) / float(value[0])


def _ome_spacing(xml: str, series: int, slices: int) -> Spacing | None:
    images = tifffile.xml2dict(xml).get("OME", {}).get("Image", [])
    images = images if isinstance(images, list) else [images]
    if series >= len(images):
        return None
    pixels = images[series].get("Pixels", {})
    z, y, x = (_ome_edge_nm(pixels, axis) for axis in "ZYX")
    return spacing(z, y, x, slices)


def _ome_edge_nm(pixels: dict[str, Any], axis: str) -> float | None:
    size = pixels.get(f"PhysicalSize{axis}")
    unit = nm_per(str(pixels.get(f"PhysicalSize{axis}Unit", "µm")))
    if unit is None or not isinstance(size, int | float):
        return None
    return float(size) * unit
