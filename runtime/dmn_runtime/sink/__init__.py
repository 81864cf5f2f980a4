"""Outputs: one file a format, all offering `Sink`, and the ledger that makes a run resumable."""
