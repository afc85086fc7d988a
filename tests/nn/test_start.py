"""What a training starts from: the scales of the data, and weights by seed alone."""

from __future__ import annotations

import numpy as np
import torch

from etn.nn.start import untrained
from etn.potential import Baseline, Dataset

DATA = Dataset.read("etn:Mo/train", index="::30")


def test_scales_are_those_of_the_labels():
    baseline = Baseline.fit(DATA, zbl=False)
    start = untrained("tensornet", DATA, r_max=4.0, settings={"channels": 4}, baseline=baseline,
                      dtype="float64")  # fmt: skip
    forces = np.concatenate([frame.forces.ravel() for frame in DATA])
    np.testing.assert_allclose(start.model.scale.numpy(), np.sqrt(np.mean(forces**2)))
    n = np.array([frame.n_atoms for frame in DATA])
    energies = np.array([frame.energy for frame in DATA]) - n * baseline.e0["Mo"]
    np.testing.assert_allclose(start.model.mean.numpy(), (n @ energies) / (n @ n))
    assert start.inner is not None
    assert start.inner.closest[0, 0] > 1.5


def test_energies_alone_have_a_scale_too():
    data = Dataset.read("etn:Mo/train", index="::30", forces=None, stress=None)
    start = untrained("tensornet", data, r_max=4.0, settings={"channels": 4})
    assert 0 < float(start.model.scale[0]) < 1.0


def test_weights_follow_from_the_seed_and_nothing_global_moves():
    options = {"r_max": 4.0, "settings": {"channels": 4}}
    before = torch.random.get_rng_state()
    one, two, other = (untrained("tensornet", DATA, seed=seed, **options) for seed in (1, 1, 2))
    assert torch.equal(torch.random.get_rng_state(), before)
    names = [name for name, _ in one.network.named_parameters()]
    states = [dict(p.network.named_parameters()) for p in (one, two, other)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in names)
    assert not all(torch.equal(states[0][name], states[2][name]) for name in names)
