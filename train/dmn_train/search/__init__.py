"""Grid search with cross-validation on the labelled source (docs/selection.md)."""
