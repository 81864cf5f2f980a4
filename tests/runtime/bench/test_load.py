"""A busy machine is told."""

from dmn_runtime.bench.load import busy_sentence


def test_only_a_load_above_the_cores_is_told() -> None:
    assert busy_sentence(None, 2) is None
    assert busy_sentence(2.0, 2) is None
    assert busy_sentence(2.1, 2) == (
        "the machine is busy: a load average of 2.1 on 2 cores before the measurement began; "
        "figures of a busy machine are not to be quoted"
    )
