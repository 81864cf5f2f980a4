import json

import pytest

from dmn_runtime.checkup import Finding
from dmn_runtime.cli import main
from dmn_runtime.commands import doctor

WORKS = Finding("system", "works", "dmn 1")
OPTIONAL = Finding("hdf5", "optional", "reads HDF5 volumes; not installed", "pip install 'dmn-em[hdf5]'")
SLOW = Finding("memory", "slow", "2.0 GB")
BROKEN = Finding("package", "broken", "no demo package", "pip install --force-reinstall dmn-em")


@pytest.fixture
def run(capsys, monkeypatch):
    """Return a runner of the command on given findings."""

    def run_on(findings, *words):
        monkeypatch.setattr(doctor, "check_up", lambda: findings)
        status = main(["doctor", *words])
        return status, capsys.readouterr().out

    return run_on


def test_a_healthy_machine(run):
    status, out = run([WORKS, OPTIONAL])
    assert status == 0
    assert out.splitlines() == [
        "ok     system       dmn 1",
        "-      hdf5         reads HDF5 volumes; not installed",
        "                    pip install 'dmn-em[hdf5]'",
        "",
        "verdict: dmn works here",
    ]


def test_what_could_be_better_is_said_last(run):
    status, out = run([WORKS, SLOW])
    assert status == 0
    assert out.endswith("verdict: dmn works here\ncould be better: 2.0 GB\n")


def test_a_broken_machine_is_status_2(run):
    status, out = run([WORKS, SLOW, BROKEN])
    assert status == 2
    assert out.endswith("verdict: dmn does not work here; broken: package\n")


@pytest.mark.parametrize(("findings", "status", "can_work"), [([WORKS], 0, True), ([BROKEN], 2, False)])
def test_json(run, findings, status, can_work):
    found, out = run(findings, "--json")
    assert found == status
    document = json.loads(out)
    assert document["can_work"] is can_work
    assert document["findings"][0]["state"] == findings[0].state
