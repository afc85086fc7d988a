"""Memory of a fit: how a limit is divided, and that fits of growing data stay under it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import etn.machine
from etn.errors import SettingsError
from etn.native import is_built
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
from etn.potential.fitting import memory as module
from etn.potential.fitting.memory import MemoryPlan
from etn.sweep import Schedule
from etn.sweep.threads import count_threads

LINUX = sys.platform.startswith("linux")


@pytest.fixture(scope="module")
def mo():
    return Dataset.read("etn:Mo/train", index="5::48")


@pytest.fixture(scope="module")
def basis(mo):
    return Basis.for_dataset(mo, r_max=4.0, n_max=4, l_max=2)


def test_a_large_machine_is_as_without_a_limit(mo, basis):
    plan = MemoryPlan.divide(1e12, mo, basis, unknowns=3000, held=1e9)
    default = MemoryPlan()
    assert (plan.directions, plan.rows, plan.threads) == (default.directions, None, None)
    assert plan.grams >= default.grams
    assert plan.kept > 100 * default.kept


@pytest.mark.parametrize("unknowns", [100, 1000, 10000])
@pytest.mark.parametrize("limit", [2e8, 1e9, 4e9])
def test_the_parts_do_not_exceed_the_whole(mo, basis, unknowns, limit):
    held = 1e8
    plan = MemoryPlan.divide(limit, mo, basis, unknowns=unknowns, held=held)
    threads = plan.threads or count_threads()
    batch = module._Batch.largest(mo, basis)
    rows = batch.rows if plan.rows is None else plan.rows
    directions = min(plan.directions, batch.directions)
    each = replace(batch, rows=rows, directions=directions, features=0.0).nbytes(unknowns)
    assert plan.grams + plan.kept + threads * each <= limit - held
    assert min(plan.grams, plan.kept, plan.directions) >= 0


def test_less_memory_means_less_of_everything(mo, basis):
    plans = [
        MemoryPlan.divide(limit, mo, basis, unknowns=2000, held=0.0) for limit in (3e9, 3e8, 6e7)
    ]
    assert plans[0].grams > plans[1].grams > plans[2].grams
    assert plans[0].kept > plans[1].kept > plans[2].kept
    assert 3 <= plans[2].rows < module._Batch.largest(mo, basis).rows


def test_part_of_the_data_keeps_part_of_the_features():
    plan = MemoryPlan(kept=1e9)
    assert plan.part(0.25).kept == 0.25e9
    assert replace(plan.part(0.25), kept=1e9) == plan


def test_a_limit_that_is_too_small_says_what_is_needed(mo, basis):
    with pytest.raises(SettingsError, match=r"expected at least [\d.]+ GB .* got 0.101") as caught:
        MemoryPlan.divide(1.01e8, mo, basis, unknowns=1000, held=1e8)
    needed = float(str(caught.value).split("at least ")[1].split(" GB")[0])
    assert 0.101 < needed < 0.2
    MemoryPlan.divide(needed * 1e9, mo, basis, unknowns=1000, held=1e8)


@pytest.mark.parametrize("memory", [0.0, -1.0, np.inf, np.nan])
def test_a_limit_is_a_positive_number(mo, basis, memory):
    with pytest.raises(SettingsError, match="memory: expected a positive number of GB"):
        MemoryPlan.for_fit(memory, mo, basis, unknowns=10)


def test_memory_of_a_machine_that_does_not_say(monkeypatch, mo, basis):
    monkeypatch.setattr(etn.machine, "available_memory", lambda: None)
    assert MemoryPlan.for_fit(None, mo, basis, unknowns=10) == MemoryPlan()
    # A full machine is tried all the same.
    monkeypatch.setattr(etn.machine, "available_memory", lambda: 0.0)
    assert MemoryPlan.for_fit(None, mo, basis, unknowns=10).kept > 1e8


def test_a_limit_with_room_changes_no_bit(monkeypatch, mo, basis):
    # On any machine: many cores would not have room for a batch each under the limit, and other
    # numbers of threads add up in another order.
    monkeypatch.setattr(module, "count_threads", lambda: 1)
    monkeypatch.setattr(etn.machine, "available_memory", lambda: 64e9)
    model = PolynomialPotential(basis, body_order=3, max_bond=2, baseline=Baseline.fit(mo))
    options = {"schedule": Schedule(max_sweeps=1), "uncertainty": False}
    chains = [fit(model, mo, memory=memory, **options).chain for memory in (None, 4.0)]
    for one, two in zip(*chains, strict=True):
        np.testing.assert_array_equal(one.to_vector(), two.to_vector())


SCRIPT = """
import json, re, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
from etn.machine import resident_memory
from etn.sweep import Schedule

seeds = Dataset.read("etn:Mo/test", index="::4")
rng = np.random.default_rng(0)
frames = Dataset(
    replace(f, positions=f.positions + 0.02 * rng.normal(size=f.positions.shape))
    for f in (seeds[k % len(seeds)] for k in range(int(sys.argv[1])))
)
basis = Basis.for_dataset(frames, r_max=4.5, n_max=5, l_max=2)
model = PolynomialPotential(basis, body_order=3, max_bond=2, baseline=Baseline.fit(frames))
held, room = resident_memory(), float(sys.argv[2])
memory = (held + room) / 1e9 if room else None
report = fit(model, frames, memory=memory, schedule=Schedule(max_sweeps=1))
# Not the maximum that getrusage knows, which a process inherits from the one that starts it.
peak = 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
print(json.dumps([peak - held, report.records[-1].loss]))
"""


def growth(n_frames, room, *, native=True):
    """Memory that a fit takes in a process of its own, and its loss."""
    command = [sys.executable, "-c", SCRIPT, str(n_frames), str(room)]
    environment = os.environ | {"ETN_NATIVE": str(int(native))}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout)


@pytest.mark.skipif(not LINUX, reason="reads /proc")
@pytest.mark.parametrize("native", [True, False])
def test_a_fit_stays_under_the_limit(native):
    room = 45e6
    assert growth(40, room, native=native)[0] < room


@pytest.mark.slow
@pytest.mark.skipif(not LINUX, reason="reads /proc")
def test_fits_of_growing_data_stay_under_the_limit():
    # By NumPy, which keeps features where it may.
    room = 45e6
    few, _ = growth(15, room, native=False)
    many, loss = growth(150, room, native=False)
    free, expected = growth(150, 0.0, native=False)
    assert few < room
    assert many < room < free
    assert many - few < 0.5 * (free - few)
    assert loss == pytest.approx(expected, rel=1e-4)
    if is_built():
        compiled, again = growth(150, 0.0)
        assert compiled < free
        assert again == pytest.approx(expected, rel=1e-4)


def test_a_fit_without_memory_for_gram_matrices(monkeypatch, mo, basis):
    model = PolynomialPotential(basis, body_order=4, max_bond=2, baseline=Baseline.fit(mo))
    options = {"schedule": Schedule(max_sweeps=1), "uncertainty": False}
    direct = fit(model, mo, **options)
    tiny = MemoryPlan(grams=8.0 * 100**2, threads=1)
    monkeypatch.setattr(MemoryPlan, "for_fit", lambda *_, **__: tiny)
    report = fit(model, mo, **options)
    assert report.records[-1].solver == "cg"
    losses = np.concatenate([record.losses for record in report.records])
    assert np.all(np.diff(losses) <= 1e-9 * losses[:-1])
    assert losses[-1] == pytest.approx(direct.records[-1].loss, rel=0.05)
    json.dumps(report.to_dict())
