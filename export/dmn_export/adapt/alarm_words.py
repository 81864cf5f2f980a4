"""A training's alarms in a microscopist's words."""

from dmn_train.alarms import LEAST_CONFIDENT, LEAST_OF_SOURCE, MOST_OF_SOURCE

CHECK = (
    "check both voxel sizes and whether the two volumes show the same structures with the same contrast, and "
    "look at the segmentation before it is used"
)
WORDS = (
    (
        "the pseudo-labels hold little foreground",
        f"while it learned, less than {LEAST_OF_SOURCE:g} times the source's share of foreground was found "
        f"in the target, so objects may be missed: {CHECK}",
    ),
    (
        "the pseudo-labels hold much foreground",
        f"while it learned, more than {MOST_OF_SOURCE:g} times the source's share of foreground was found "
        f"in the target, so other things may be taken for objects: {CHECK}",
    ),
    (
        "the teacher finds much foreground",
        f"while it learned, more than {MOST_OF_SOURCE:g} times the source's share of foreground was found "
        "in the target, of which --most-foreground kept the surest, so other things may be taken for "
        f"objects: {CHECK}",
    ),
    (
        "the memory has collapsed",
        "its memory of what objects look like came to tell nothing apart, so its labels were not set "
        f"right: {CHECK}",
    ),
    (
        "the teacher is sure of",
        f"while it learned, hardly a pixel of the target (below {LEAST_CONFIDENT:.0%}) was certain, so the "
        f"target may be too unlike the source: {CHECK}",
    ),
    (
        "select.most_foreground allows",
        "it is so sure of more of the target than --most-foreground lets be foreground that no threshold "
        "keeps that bound: raise the bound if it may be wrong, else look at what is taken for objects "
        "before the segmentation is used",
    ),
)
"""What a training's sentence holds, and what is told in its place."""
OTHER = f"its training was not sound: {CHECK}"


def alarm_words(sentence: str) -> str:
    """Return what to tell of a sentence that a training ended with; of an unknown one, that there is one."""
    return next((words for part, words in WORDS if part in sentence), OTHER)
