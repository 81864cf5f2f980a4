"""What all tests share: a cache of their own, where the labelled EM volumes are, property-test settings."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

EM_DATA = Path(__file__).parents[2] / "shared" / "data"

settings.register_profile(
    "dmn", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dmn"))


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep tests and the processes that they start away from the user's cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DMN_CACHE_DIR", str(folder))
        yield folder


@pytest.fixture(scope="session")
def em_data() -> Path:
    """Return the folder of labelled EM volumes, or skip."""
    if not EM_DATA.is_dir():
        pytest.skip("the labelled EM volumes are not beside the checkout (../shared/data)")
    return EM_DATA
