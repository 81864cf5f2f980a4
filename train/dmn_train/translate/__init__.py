"""Gated contrastive translation: source crops in the target's style, while a network is trained.

Our reading of the first module of DiSMemNet, inspired by its README, of which nothing more is public;
grounded in CUT (Park et al., Contrastive learning for unpaired image-to-image translation, ECCV 2020) and
CFDA-M (BIBM 2022). Nothing of it leaves the training: `docs/translation.md`.
"""
