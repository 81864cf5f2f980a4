"""The benchmarks are programs, not packages: their folders go on the path, as they are when started."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "peers"))
