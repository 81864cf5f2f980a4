"""Prototypes of structures that training remembers, and what they say about made-up labels.

Our reading of DiSMemNet's memory, inspired by its README, which is all of it that is public: what is
retrieved and how labels are refined is ours, after ProDA (Zhang et al., CVPR 2021) and CAFA (MICCAI 2023).
docs/memory.md is its law. A training method wires the parts; none of them is in a package.
"""
