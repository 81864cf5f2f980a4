"""Step numbers come back out of the share done; random numbers depend on seed, step and stream alone."""

import torch

from dmn_train.methods.dismemnet_parts.facts import RunFacts


def facts(seed: int, steps: int = 600) -> RunFacts:
    return RunFacts(seed, steps, clip=2.0, trained_start=False)


def test_every_step_is_found_again() -> None:
    for steps in (1, 7, 600, 9973):
        assert [facts(0, steps).step(done / steps) for done in range(steps)] == list(range(steps))


def drawn(seed: int, step: int, stream: int) -> float:
    return float(torch.rand((), generator=facts(seed).random(step / 600, stream)))


def test_random_numbers_are_a_function_of_seed_step_and_stream() -> None:
    ways = [(0, 0, 4), (1, 0, 4), (0, 1, 4), (0, 0, 5)]
    assert len({drawn(*way) for way in ways}) == len(ways)
    assert [drawn(*way) for way in ways] == [drawn(*way) for way in ways]
