"""Fit a small potential from Python, test it, save it, and relax a vacancy with it in ASE.

The model is kept small so that this takes seconds; `etn fit etn:Mo` fits a better one.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path

import numpy as np
from ase.build import bulk
from ase.optimize import BFGS

import etn
from etn.potential import Baseline, Basis, Dataset, PolynomialPotential, fit
from etn.sweep import Schedule

# Data: every third training frame of the embedded molybdenum set, and the whole test set.
train = Dataset.read("etn:Mo/train")[::3]
test = Dataset.read("etn:Mo/test")
print(train)

# Four-body terms; at most three copies of each irrep on a bond.
model = PolynomialPotential(
    Basis.for_dataset(train, r_max=4.5, n_max=5, l_max=2),
    body_order=4,
    max_bond=3,
    baseline=Baseline.fit(train),
)
report = fit(model, train, weights={"energy": 100.0}, schedule=Schedule(max_sweeps=1), seed=0)
print(report)
losses = [loss for record in report.records for loss in record.losses]
assert all(after <= before * (1 + 1e-9) for before, after in pairwise(losses))

metrics = report.model.evaluate(test)
print(metrics)
assert metrics.forces is not None
assert metrics.forces.mae < 0.3  # eV/Å; the forces themselves have a mean size of 0.95 eV/Å

# A loaded potential predicts the same numbers, to the last bit.
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "mo.etn"
    report.model.save(path)
    loaded = etn.load(path)
(before,), (after,) = report.model.predict(test[:1]), loaded.predict(test[:1])
assert before.energy == after.energy
assert np.array_equal(before.forces, after.forces)

# A vacancy in bcc molybdenum, relaxed.
perfect = bulk("Mo", "bcc", a=3.16, cubic=True) * (3, 3, 3)
perfect.calc = loaded.calculator()
vacancy = perfect.copy()
del vacancy[0]
vacancy.calc = loaded.calculator()
unrelaxed = vacancy.get_potential_energy()
assert BFGS(vacancy, logfile=None).run(fmax=0.02, steps=100)
relaxed = vacancy.get_potential_energy()
formation = relaxed - perfect.get_potential_energy() * len(vacancy) / len(perfect)
print(f"vacancy formation energy {formation:.2f} eV, relaxation {relaxed - unrelaxed:.3f} eV")
assert relaxed <= unrelaxed
