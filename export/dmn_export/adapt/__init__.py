"""From two volumes to a certified package in one call (docs/adapt.md)."""
