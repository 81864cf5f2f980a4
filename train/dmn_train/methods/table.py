"""Which file a recipe's method.name means."""

from dmn_train.methods.base import Method
from dmn_train.methods.source_only import SourceOnly
from dmn_train.recipe import MethodSection


def make_method(section: MethodSection) -> Method:
    """Build the method that a recipe names."""
    match section.name:
        case "source_only":
            return SourceOnly(section.dice_weight)
