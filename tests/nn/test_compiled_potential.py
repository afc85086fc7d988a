"""A compiled potential has the numbers of the plain one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.nn.calibration import with_uncertainty
from etn.nn.compiled_potential import CompiledPotential
from etn.nn.start import untrained
from etn.potential import Basis, Dataset, PolynomialPotential

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
DATA = Dataset.read("etn:Mo/train", index="::24")


def start(name="tensornet", **changes):
    settings = {"channels": 4, "layers": 1, "n_max": 5} | changes
    return untrained(name, DATA, r_max=3.6, settings=settings, dtype="float64")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("name", "backend"), [("tdn", "eager"), ("tensornet", "inductor")])
def test_a_compiled_calculator_says_the_same_and_can_be_copied(name, backend):
    potential = start(name, **({"heads": 2, "l_max": 1, "hidden": 5} if name == "tdn" else {}))
    fast = CompiledPotential(potential, backend=backend).calculator()
    plain = potential.calculator()
    for frame in DATA[:3]:
        one, two = frame.to_atoms(), frame.to_atoms()
        one.calc, two.calc = plain, fast
        np.testing.assert_allclose(two.get_forces(), one.get_forces(), atol=1e-9)
        np.testing.assert_allclose(two.get_stress(), one.get_stress(), atol=1e-10)
    assert pickle.loads(pickle.dumps(fast)).model.elements == potential.elements  # noqa: S301


def test_error_bars_and_grades_are_those_of_the_potential():
    known = with_uncertainty(start(), DATA[:4])
    fast = CompiledPotential(known)
    assert fast.uncertainty is known.uncertainty
    assert not CompiledPotential(start()).has_uncertainty


def test_what_is_no_network_is_not_compiled():
    chain = PolynomialPotential(Basis(("Mo",), l_max=1))
    with pytest.raises(SettingsError, match="expected a neural potential"):
        CompiledPotential(chain)
    direct = start("tdn", channels=4, heads=2, l_max=1, forces="direct")
    with pytest.raises(SettingsError, match="predict forces are not compiled"):
        CompiledPotential(direct)
