"""The job's journey through JSON, and what is no job."""

import json
from typing import Any

import pytest

from dmn_runtime.errors import EngineError
from dmn_runtime.trt.build_job import BuildJob
from dmn_runtime.trt.profile import fixed_profile
from dmn_runtime.trt.targets import WINDOWS

JOB = BuildJob("tensorrt_rtx", "int8-trt", fixed_profile(1, 64, 4), ("SM86", "SM89"), WINDOWS, 3, 2)


def test_the_json() -> None:
    assert json.loads(json.dumps(JOB.to_json())) == {
        "library": "tensorrt_rtx",
        "precision": "int8-trt",
        "profile": {"least": [1, 1, 64, 64], "best": [4, 1, 64, 64], "most": [4, 1, 64, 64]},
        "compute_capabilities": ["SM86", "SM89"],
        "platform": "windows_x86_64",
        "optimisation_level": 3,
        "contexts": 2,
    }


@pytest.mark.parametrize("job", [JOB, BuildJob("tensorrt", "fp32", fixed_profile(3, 8, 1))])
def test_there_and_back(job: BuildJob) -> None:
    assert BuildJob.from_json(json.loads(json.dumps(job.to_json()))) == job
    assert BuildJob.from_json(job.to_json()) == job


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"library": "tensorrt_lean"}, "library must be one of tensorrt, tensorrt_rtx, not 'tensorrt_lean'"),
        ({"precision": "int8"}, "precision must be one of fp32, fp16, int8-trt, not 'int8'"),
        ({"platform": "linux"}, "platform must be one of linux_x86_64, windows_x86_64, not 'linux'"),
        ({"compute_capabilities": ["SM90"]}, "compute capability must be one of SM75"),
        ({"compute_capabilities": ["SM86", "SM86"]}, "names each GPU family once"),
        ({"compute_capabilities": "SM86"}, "must be a list"),
        ({"optimisation_level": 6}, "level must be 0 to 5, not 6"),
        ({"optimisation_level": True}, "whole numbers, not True"),
        ({"contexts": 0}, "one context or more, not 0"),
        ({"contexts": 1.0}, "whole numbers, not 1.0"),
        ({"profile": {"least": [1, 1, 8, 8]}}, "a profile must have exactly the fields least, best, most"),
        ({"profile": {name: [1, 1, 8] for name in ("least", "best", "most")}}, "four positive numbers"),
        ({"profile": {name: [1, 1, 8, "8"] for name in ("least", "best", "most")}}, "whole numbers, not '8'"),
        ({"flags": 1}, "a build job must have exactly the fields library, precision"),
    ],
)
def test_what_is_no_job(change: dict[str, Any], said: str) -> None:
    with pytest.raises(EngineError, match=said):
        BuildJob.from_json(JOB.to_json() | change)


@pytest.mark.parametrize("document", [None, [], {}, "job"])
def test_what_is_no_object(document: Any) -> None:
    with pytest.raises(EngineError, match="a build job must have exactly the fields"):
        BuildJob.from_json(document)
