"""What all tests share: where the labelled EM volumes are, and property-test settings."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

EM_DATA = Path(__file__).parents[2] / "shared" / "data"

settings.register_profile(
    "dmn", deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "dmn"))


@pytest.fixture(scope="session")
def em_data() -> Path:
    """Return the folder of labelled EM volumes, or skip."""
    if not EM_DATA.is_dir():
        pytest.skip("the labelled EM volumes are not beside the checkout (../shared/data)")
    return EM_DATA
