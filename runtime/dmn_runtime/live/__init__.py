"""Live mode: slices that appear in a folder are segmented as they come (docs/live.md)."""
