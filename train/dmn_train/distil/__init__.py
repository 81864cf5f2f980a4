"""What a student learns from a teacher at several scales: its output, where it looks, and side outputs.

Our reading of DiSMemNet's multi-scale distillation, inspired by its README, which is all of it that is
public. docs/memory.md is its law. A training method wires the parts; none of them is in a package.
"""
