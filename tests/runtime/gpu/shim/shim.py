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
    "-shared",
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
            ValueError: a launch that a GPU would refuse.
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
        self.library.shim_launch(name.encode(), triple(*grid), triple(*block), addresses)


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
    rows = "".join(f'  if (!std::strcmp(name, "{name}")) return ACTION({name});\n' for name in names)
    launch = rows.replace("ACTION(", "shim::run(").replace(");", ", arguments, grid, block);")
    asked = rows.replace("ACTION(", "shim::signature(")
    return (
        f'#include "cuda_on_cpu.h"\n{text}\n'
        'extern "C" void shim_launch(const char* name, const unsigned* grid, const unsigned* block,\n'
        f"                            void** arguments) {{\n{launch}}}\n"
        f'extern "C" const char* shim_signature(const char* name) {{\n{asked}  return "";\n}}\n'
    )


def _compile(program: str, flags: tuple[str, ...], library: Path) -> None:
    """Compile into a folder of its own, then rename: processes of pytest-xdist may do so side by side."""
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        source, built = Path(folder, "kernels.cpp"), Path(folder, "kernels.so")
        source.write_text(program)
        command = [compiler(), *flags, f"-I{HERE}", "-o", str(built), str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"g++ refuses the kernels:\n{done.stderr}")
        built.replace(library)


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
    loaded.shim_launch.restype = None
    loaded.shim_launch.argtypes = [ctypes.c_char_p, *[ctypes.c_void_p] * 3]
    return Shim(loaded, names)
