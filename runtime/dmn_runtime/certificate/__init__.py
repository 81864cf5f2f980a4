"""Certificates: whether an arithmetic, run by an engine, still gives the same segmentation."""
