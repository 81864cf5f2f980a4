"""The tree of errors. A DmnError is the user's to mend; anything else is a bug of ours.

    DmnError                    exit status 2
    ├── UsageError              an option or a combination of options makes no sense
    ├── MissingExtra            an optional dependency is not installed
    ├── VolumeError             an input volume cannot be read or is not what was wanted
    ├── PackageError            a package breaks its contract; one subclass a clause
    │   ├── NotAPackage         not a zip, or no dmn.json in it
    │   ├── UnknownVersion      written by a newer DMN
    │   ├── MissingMember       a file that dmn.json names is not in the zip
    │   ├── WrongHash           a member's sha256 differs from the one recorded
    │   ├── UnsafeMember        path traversal, duplicate, link, or a member not recorded
    │   ├── OversizedMember     larger than the contract allows (zip bombs)
    │   └── InvalidField        a field of dmn.json is missing or out of its range
    ├── PlanError               block, tile or halo cannot be laid out
    ├── OutputError             the output exists, cannot be written, or the disk is full
    ├── ResumeError             what is on disk belongs to another input, package or plan
    ├── EngineError             an engine cannot be had on this machine
    │   └── GpuMemoryError      the GPU, or what it may pin, has not enough memory: less would do
    ├── RecipeError             a recipe's key or value is wrong
    ├── RunError                a run folder is missing, damaged or of another recipe
    └── CertificateError        an exported network does not give the same segmentation

Messages say what was found, what was wanted and what to do, in one sentence.
Context is added once, by the code that knows it; `dmn_runtime.cli` prints it.
"""

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130


class DmnError(Exception):
    """Something that the user can mend; the message is one sentence."""


class UsageError(DmnError):
    """An option or a combination of options makes no sense."""


class MissingExtra(DmnError, ModuleNotFoundError):
    """An optional dependency is not installed; the message is the command that mends it."""


class VolumeError(DmnError):
    """An input volume cannot be read or is not what was wanted."""


class PackageError(DmnError):
    """A package breaks its contract (docs/package.md)."""


class NotAPackage(PackageError):
    """Not a zip archive, or one without dmn.json."""


class UnknownVersion(PackageError):
    """The package's format version is not one this runtime reads."""


class MissingMember(PackageError):
    """A file that dmn.json names is not in the archive."""


class WrongHash(PackageError):
    """A member's sha256 differs from the recorded one."""


class UnsafeMember(PackageError):
    """A member's name leaves the archive, repeats, is a link, or is not recorded."""


class OversizedMember(PackageError):
    """A member, or all together, is larger than the contract allows."""


class InvalidField(PackageError):
    """A field of dmn.json is missing, of the wrong type or out of range."""


class PlanError(DmnError):
    """Block, tile or halo cannot be laid out."""


class OutputError(DmnError):
    """The output exists, cannot be written, or the disk is full."""


class ResumeError(DmnError):
    """What is on disk belongs to another input, package or plan."""


class EngineError(DmnError):
    """An engine cannot be had on this machine."""


class GpuMemoryError(EngineError):
    """The GPU, or the host's memory that it may pin, is too small for what was wanted; less would do."""


class RecipeError(DmnError):
    """A recipe's key or value is wrong."""


class RunError(DmnError):
    """A run folder is missing, damaged or made from another recipe."""


class CertificateError(DmnError):
    """An exported network does not give the same segmentation as its source."""
