"""Polynomial potentials: laws for several settings, brute force, files and errors."""

from __future__ import annotations

import numpy as np
import pytest

from etn.errors import CoreError, DataError, ModelFileError, SettingsError
from etn.native import is_built
from etn.network import Chain
from etn.potential import Baseline, Basis, Frame, PolynomialPotential
from etn.testing import PotentialLaws


def spread(rng, n_atoms, cell, pbc, *, gap):
    """Random positions in a cell of which no two (images) are nearer than the gap."""
    for _ in range(10000):
        x = rng.uniform(size=(n_atoms, 3))
        d = x[:, None] - x
        images = np.array(np.meshgrid(*[[-1, 0, 1] if p else [0] for p in pbc])).reshape(3, -1).T
        r = np.linalg.norm((d[None] + images[:, None, None]) @ cell, axis=-1)
        r[np.all(images == 0, axis=1), np.arange(n_atoms), np.arange(n_atoms)] = np.inf
        if r.min() > gap:
            return x @ cell
    raise AssertionError("no room")


def frames_of(rng, numbers):
    """A cluster, a slab, a wire and crystals, one of them with a cell smaller than r_max."""
    out = []
    for cell, pbc in (
        (np.zeros((3, 3)), (False, False, False)),
        (np.diag([6.0, 6.5, 14.0]), (True, True, False)),
        (np.diag([14.0, 6.0, 14.0]), (False, True, False)),
        (np.array([[6.0, 0.4, 0], [0.3, 6.2, -0.5], [0.7, 0, 5.8]]), (True, True, True)),
    ):
        box = cell if cell.any() else 5.0 * np.eye(3)
        z = rng.permutation(np.resize(numbers, 5))
        out.append(Frame(z, spread(rng, 5, box, pbc, gap=1.7), cell, pbc))
    small = np.array([[0, 1.9, 1.9], [1.9, 0, 2.0], [2.0, 1.8, 0]])
    out.append(Frame(numbers[:1], [[0.1, 0.2, 0.3]], small, [True] * 3))
    both = np.array([[2.7, 0, 0.1], [0, 2.9, 0.2], [0, 0, 4.2]])
    out.append(Frame(np.resize(numbers, 2), [[0, 0, 0], [1.4, 1.5, 1.9]], both, [True] * 3))
    return out


class Base(PotentialLaws):
    elements = ("Mo",)
    body_order = 4
    l_max = 3
    zbl = False
    e0 = (-10.5, 3.0, -0.7)
    seeds = (0,)

    @pytest.fixture(autouse=True, params=["compiled", "numpy"])
    def evaluated(self, request, monkeypatch):
        """By the compiled evaluator, where it was built, and by NumPy."""
        if request.param == "compiled" and not is_built():
            pytest.skip("the compiled evaluator was not built")
        monkeypatch.setenv("ETN_NATIVE", str(int(request.param == "compiled")))

    def make_potential(self, rng):
        basis = Basis(self.elements, r_max=4.0, n_max=4, l_max=self.l_max, r_min=1.5, scale=1.3)
        sites = [basis.leg] * (self.body_order - 1)
        chain = Chain.random(sites, start=basis.start, max_bond=3, seed=rng)
        e0 = dict(zip(self.elements, self.e0, strict=False))
        return PolynomialPotential(
            basis,
            body_order=self.body_order,
            max_bond=3,
            baseline=Baseline(e0, zbl=self.zbl),
            chain=chain,
        )

    def make_frames(self, rng):
        from ase.data import atomic_numbers

        return frames_of(rng, [atomic_numbers[symbol] for symbol in self.elements])


class TestOneElement(Base):
    seeds = (0, 1)


class TestThreeElements(Base):
    elements = ("Nb", "Mo", "W")


class TestHighBodyOrder(Base):
    elements = ("Cu", "Zr")
    body_order = 6
    l_max = 2


class TestScalarsOnly(Base):
    l_max = 0


class TestRepulsion(Base):
    elements = ("Mo", "Cu")
    zbl = True


class TestRepulsionThatReachesBeyondTheNeighbourhood(Base):
    # Twice the covalent radius of caesium is 4.88 Å, r_max is 4 Å.
    elements = ("Cs",)
    zbl = True


class TestBaselineAlone(Base):
    zbl = True

    def make_potential(self, rng):
        return super().make_potential(rng).with_chain(None)

    def test_smooth_where_an_atom_leaves_the_neighbourhood(self):
        pass  # nothing reaches that far


def test_energy_is_the_chain_contracted_densely(rng):
    from scipy.special import sph_harm_y

    model = TestThreeElements().make_potential(rng)
    basis, chain = model.basis, model.chain
    frame = TestThreeElements().make_frames(rng)[0]
    dense = chain.to_dense()[..., 0]
    index = {symbol: k for k, symbol in enumerate(basis.elements)}
    energies = []
    for i, symbol in enumerate(frame.symbols):
        leg, alone = np.zeros(basis.leg.dim), np.zeros(basis.leg.dim)
        leg[0] = alone[0] = 1.0
        for j, other in enumerate(frame.symbols):
            x, y, z = frame.positions[j] - frame.positions[i]
            r = np.sqrt(x * x + y * y + z * z)
            if i == j or r >= basis.r_max:
                continue
            g = basis.radial.compute(np.array([r]))[0][0]
            at = 1
            for l in range(basis.l_max + 1):
                m = np.arange(-l, l + 1)
                Y = sph_harm_y(l, np.abs(m), np.arccos(z / r), np.arctan2(y, x)) * (-1.0) ** m
                real = np.where(m < 0, np.sqrt(2) * Y.imag, np.where(m, np.sqrt(2), 1) * Y.real)
                for e in range(len(basis.elements)):
                    for n in range(basis.n_max):
                        if e == index[other]:
                            w = basis.scale / ((1 + n) * (1 + l))
                            leg[at : at + 2 * l + 1] += w * g[n] * real
                        at += 2 * l + 1
        here = dense[index[symbol]]
        value = np.einsum("abc,a,b,c", here, leg, leg, leg)
        value -= np.einsum("abc,a,b,c", here, alone, alone, alone)
        energies.append(value + model.baseline.e0[symbol])
    got = model.predict([frame])[0].energies
    np.testing.assert_allclose(got, energies, rtol=1e-12)


def test_the_constant_channel_holds_all_lower_orders():
    # A potential of body order 4 that was grown from one of body order 3 is the same function.
    rng = np.random.default_rng(0)
    low = TestOneElement()
    low.body_order = 3
    model = low.make_potential(rng)
    frames = low.make_frames(rng)
    longer = PolynomialPotential(
        model.basis,
        body_order=4,
        max_bond=3,
        baseline=model.baseline,
        chain=model.chain.canonicalize(1).insert(1),
    )
    for one, two in zip(model.predict(frames), longer.predict(frames), strict=True):
        np.testing.assert_allclose(two.energies, one.energies, rtol=1e-12)
        np.testing.assert_allclose(two.forces, one.forces, atol=1e-11 * np.abs(one.forces).max())


@pytest.mark.parametrize(("atoms_at_once", "chunk"), [(1, 1), (7, 2), (12, 5)])
def test_batches_of_any_size_give_the_same(monkeypatch, rng, atoms_at_once, chunk):
    suite = TestThreeElements()
    model, frames = suite.make_potential(rng), suite.make_frames(rng)
    expected = model.predict(frames)
    monkeypatch.setattr("etn.potential.features.batching.ATOMS_AT_ONCE", atoms_at_once)
    monkeypatch.setattr("etn.potential.response.CHUNK", chunk)
    for one, two in zip(expected, model.predict(frames), strict=True):
        np.testing.assert_allclose(two.energies, one.energies, rtol=1e-12)
        np.testing.assert_allclose(two.forces, one.forces, atol=1e-12 * np.abs(one.forces).max())


def test_coincident_atoms_and_unknown_elements_name_the_frame(rng):
    model = TestOneElement().make_potential(rng)
    cell = 5 * np.eye(3)
    twice = Frame([42, 42], [[0, 0, 0], [5, 0, 1e-5]], cell, [True] * 3, name="a.xyz:3")
    with pytest.raises(DataError, match=r"frame a.xyz:3: atoms 0 and 1 coincide"):
        model.predict([twice])
    other = Frame([42, 29], [[0, 0, 0], [2.5, 0, 0]], cell, [True] * 3, name="b.xyz:0")
    with pytest.raises(DataError, match=r"frame b.xyz:0: element Cu is unknown .* made for Mo"):
        model.predict([other])


def test_a_huge_cell_of_isolated_atoms(rng):
    model = TestThreeElements().make_potential(rng)
    frame = Frame([41, 42, 74], 1e3 * np.eye(3), 1e4 * np.eye(3), [True] * 3)
    p = model.predict([frame])[0]
    np.testing.assert_allclose(p.energies, [-10.5, 3.0, -0.7], rtol=1e-10)
    assert not p.forces.any()
    assert not p.stress.any()


def test_no_frames_no_predictions(rng):
    assert TestOneElement().make_potential(rng).predict([]) == []


def test_note_and_settings_survive_the_file(tmp_path, rng):
    model = TestThreeElements().make_potential(rng)
    path = tmp_path / "model.etn"
    model.save(path, note={"who": "Å"})
    again = PolynomialPotential.load(path)
    assert again.basis == model.basis
    assert again.baseline == model.baseline
    assert again.max_bond == model.max_bond
    assert again.body_order == model.body_order
    assert repr(again) == repr(model)


def test_damaged_files_are_refused(tmp_path, rng):
    path = tmp_path / "model.etn"
    TestOneElement().make_potential(rng).save(path)
    data = bytearray(path.read_bytes())
    data[-20] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(ModelFileError):
        PolynomialPotential.load(path)
    path.write_bytes(data[:100])
    with pytest.raises(ModelFileError):
        PolynomialPotential.load(path)


def test_settings_out_of_range():
    basis = Basis(("Mo",), l_max=1)
    with pytest.raises(SettingsError, match="body_order: expected at least 3, got 2"):
        PolynomialPotential(basis, body_order=2)
    with pytest.raises(CoreError, match="site legs"):
        PolynomialPotential(basis, chain=Chain.random(["2x0e"] * 2))
