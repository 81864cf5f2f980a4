"""Segmentation networks and their named sizes."""
