"""Kernels on the CPU: the text that nvcc compiles, compiled by g++ and run on host addresses.

`compiled()` builds `tiles.cu` once per source; `Shim.launch` takes what `Stream.launch` of the seam takes and
has run the kernel when it returns. Threads of a block run one after another (`cuda_on_cpu.h`).
"""

import ctypes
import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

import dmn_runtime
from dmn_runtime.geometry import Triple
from dmn_runtime.gpu.device import Argument

HERE = Path(__file__).parent
TILES = Path(dmn_runtime.__file__).parent / "gpu" / "tiles.cu"
FLAGS = (
    "-std=c++17",
    "-ffp-contract=off",
    "-fno-strict-aliasing",
    "-U_FORTIFY_SOURCE",
    "-w",
    "-fPIC",
)
# A kernel is named in full where it is defined, or where a macro in capitals defines it.
_KERNEL = re.compile(r'^(?:extern "C" __global__ void |[A-Z][A-Z0-9_]*\()((?:dmn|ladder)_\w+)', re.MULTILINE)
_LETTERS = {
    np.dtype(np.uint64): "p",
    np.dtype(np.int32): "i",
    np.dtype(np.int64): "l",
    np.dtype(np.float32): "f",
}


@dataclass(frozen=True)
class Shim:
    """Compiled kernels; safe to use from several threads."""

    library: ctypes.CDLL
    names: tuple[str, ...]

    def launch(self, name: str, grid: Triple, block: Triple, arguments: Sequence[Argument]) -> None:
        """Run a kernel, now.

        Args:
            name: of the kernel.
            grid: blocks along x, y, z.
            block: threads along x, y, z.
            arguments: NumPy scalars by value; an address is a uint64.

        Raises:
            KeyError: no kernel has that name.
            TypeError: the arguments are not those of the source, in number or type.
            ValueError: a launch that a GPU would refuse, or break off at an address that is not aligned.
        """
        if name not in self.names:
            raise KeyError(f"no kernel is named {name}")
        wanted = self.library.shim_signature(name.encode()).decode()
        given = "".join(_LETTERS[np.dtype(type(argument))] for argument in arguments)
        if given != wanted:
            raise TypeError(f"{name} takes {wanted}, given {given}")
        check_launch(grid, block)
        held = [np.array(argument) for argument in arguments]
        addresses = (ctypes.c_void_p * len(held))(*(each.ctypes.data for each in held))
        triple = ctypes.c_uint * 3
        misaligned = self.library.shim_launch(name.encode(), triple(*grid), triple(*block), addresses)
        if misaligned:
            raise ValueError(f"{name} moved {misaligned} packs from or to addresses that are not aligned")


def check_launch(grid: Triple, block: Triple) -> None:
    """Refuse what every GPU refuses (CUDA C++ programming guide, compute capabilities)."""
    most_blocks, most_threads = (2**31 - 1, 65535, 65535), (1024, 1024, 64)
    for what, sizes, most in (("grid", grid, most_blocks), ("block", block, most_threads)):
        if any(not 1 <= size <= limit for size, limit in zip(sizes, most, strict=True)):
            raise ValueError(f"a {what} of {sizes}, at most {most}")
    if np.prod(block) > 1024:
        raise ValueError(f"a block of {np.prod(block)} threads, at most 1024")


@cache
def compiled(source: Path = TILES, optimise: str = "-O2") -> Shim:
    """Compile a file of kernels, or take the library that an earlier process made of the same text."""
    return compiled_text(source.read_text(), optimise)


def compiled_text(text: str, optimise: str = "-O2") -> Shim:
    """Compile kernels; `text` may include tiles.cu, and the flag `optimise` is g++'s."""
    names = kernel_names(text)
    program = _program(text, names)
    flags = (*FLAGS, optimise, f"-I{TILES.parent}", *(["-mf16c"] if platform.machine() == "x86_64" else []))
    inputs = (program, (HERE / "cuda_on_cpu.h").read_text(), TILES.read_text(), *flags)
    digest = hashlib.sha256("\0".join(inputs).encode()).hexdigest()[:24]
    folder = Path(tempfile.gettempdir()) / f"dmn-kernels-on-cpu-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    library = folder / f"{digest}.so"
    if not library.exists():
        _compile(program, flags, library)
    return _loaded(library, names)


def kernel_names(text: str) -> tuple[str, ...]:
    """Return the names of the kernels that `text` defines, tiles.cu's too where it is included."""
    own = tuple(_KERNEL.findall(text))
    return own + kernel_names(TILES.read_text()) if '#include "tiles.cu"' in text else own


def _program(text: str, names: tuple[str, ...]) -> str:
    launches = "".join(
        f'  if (name == "{name}") shim::run({name}, arguments, grid, block);\n' for name in names
    )
    signatures = "".join(f'  if (name == "{name}") return shim::signature({name});\n' for name in names)
    return f"""#include "cuda_on_cpu.h"
{text}
#include <string>
extern "C" int shim_launch(const char* asked, const unsigned* grid, const unsigned* block,
                           void** arguments) {{
  const std::string name(asked);
  shim::misaligned = 0;
{launches}  return shim::misaligned;
}}
extern "C" const char* shim_signature(const char* asked) {{
  const std::string name(asked);
{signatures}  return "";
}}
"""


def _compile(program: str, flags: tuple[str, ...], library: Path) -> None:
    """Compile into a folder of its own, then rename: processes of pytest-xdist may do so side by side."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        Path(folder, "kernels.cpp").write_text(program)
        # Linked apart from the check of alignment, or g++ would link the sanitizer's library.
        _run(
            "-c", *flags, "-fsanitize=alignment", f"-I{HERE}", "-o", "kernels.o", "kernels.cpp", folder=folder
        )
        _run("-shared", "-o", "kernels.so", "kernels.o", folder=folder)
        Path(folder, "kernels.so").replace(library)


def _run(*words: str, folder: str) -> None:
    done = subprocess.run([compiler(), *words], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"g++ refuses the kernels:\n{done.stderr}")


def compiler() -> str:
    """Return the path of g++, which tests of kernels cannot do without."""
    found = shutil.which("g++")
    if found is None:
        raise FileNotFoundError("g++ is not there: install it to run the kernels on the CPU")
    return found


def _loaded(library: Path, names: tuple[str, ...]) -> Shim:
    loaded = ctypes.CDLL(str(library))
    loaded.shim_signature.restype = ctypes.c_char_p
    loaded.shim_signature.argtypes = [ctypes.c_char_p]
    loaded.shim_launch.restype = ctypes.c_int
    loaded.shim_launch.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 3]
    return Shim(loaded, names)
