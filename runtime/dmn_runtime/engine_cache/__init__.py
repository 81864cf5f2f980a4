"""The engines built on this machine, kept outside the packages (docs/engine-cache.md)."""
