"""Two-layer potentials: laws, messages against dense sums, the reach, rows and fits."""

from __future__ import annotations

import itertools
import logging
import warnings
from dataclasses import replace

import numpy as np
import pytest

from etn.errors import CoreError, DataError, ModelFileError, SettingsError
from etn.network import Chain
from etn.o3 import Irreps
from etn.potential import (
    Baseline,
    Basis,
    Dataset,
    Frame,
    PolynomialPotential,
    Radial,
    Weights,
    load,
)
from etn.potential.features.pairs import Pairs
from etn.potential.fitting.memory import MemoryPlan
from etn.potential.message_passing import (
    Layers,
    MessageCoupling,
    MessagePassingPotential,
    Messages,
    fit_layers,
)
from etn.potential.message_passing import rows as rows_module
from etn.potential.message_passing.edges import Edges, Sources
from etn.potential.message_passing.layers import wide_leg
from etn.potential.message_passing.problem import LayerProblem
from etn.potential.message_passing.rows import LayerRows
from etn.potential.message_passing.start import first_layer, make_room
from etn.sweep import Callback, Schedule, State
from etn.testing import PotentialLaws

NAMES = ("readout", "value", "query", "key")
WEIGHTS = Weights(energy=7.0, forces=1.5, stress=3.0)


def random_layers(basis, messages, coupling, rng, *, body_order=4, max_bond=3):
    """Random chains, of which the scores are not near zero."""
    sites = [basis.leg] * (messages.body_order - 1)

    def first(out):
        return Chain.random(sites, start=basis.start, out=out, max_bond=messages.max_bond, seed=rng)

    legs = [basis.leg] * (body_order - 2) + [wide_leg(basis, coupling)]
    readout = Chain.random(legs, start=basis.start, max_bond=max_bond, seed=rng)
    scores = {}
    if messages.attention is not None:
        scores = {name: first(messages.score) for name in ("query", "key")}
    return Layers(readout, first(messages.outputs), **scores)


def make_model(rng, *, elements=("Mo",), attention=None, r_max=4.0, l_max=2, zbl=False):
    basis = Basis(elements, r_max=r_max, n_max=3, l_max=l_max, r_min=1.2, scale=4.0)
    messages = Messages(
        "2x0e+1x1o+1x2e", max_bond=2, n_max=2, l_max=2, body_order=3, attention=attention
    )
    e0 = dict(zip(elements, (-10.5, 3.0, -0.7), strict=False))
    empty = MessagePassingPotential(basis, messages, max_bond=3, baseline=Baseline(e0, zbl=zbl))
    return empty.with_layers(random_layers(basis, messages, empty.coupling, rng))


def make_frames(rng, numbers):
    """A cluster, a slab, a crystal, and a cell smaller than the radius."""
    grid = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), -1).reshape(-1, 3)[:5]
    out = []
    for cell, pbc in (
        (np.zeros((3, 3)), (False, False, False)),
        (np.diag([4.0, 4.3, 12.0]), (True, True, False)),
        (np.array([[4.2, 0.4, 0], [0.3, 4.4, -0.5], [0.7, 0, 4.1]]), (True, True, True)),
    ):
        positions = 2.1 * grid + 0.2 * rng.normal(size=grid.shape)
        z = rng.permutation(np.resize(numbers, len(grid)))
        out.append(Frame(z, positions, cell, pbc))
    small = np.array([[2.3, 0, 0.1], [0, 2.5, 0.2], [0, 0, 3.2]])
    out.append(Frame(np.resize(numbers, 2), [[0, 0, 0], [1.2, 1.3, 1.6]], small, [True] * 3))
    return out


class Base(PotentialLaws):
    elements = ("Mo",)
    attention = None
    zbl = False
    seeds = (0,)

    def make_potential(self, rng):
        return make_model(rng, elements=self.elements, attention=self.attention, zbl=self.zbl)

    def make_frames(self, rng):
        from ase.data import atomic_numbers

        return make_frames(rng, [atomic_numbers[symbol] for symbol in self.elements])


class TestOneElement(Base):
    pass


class TestChannels(Base):
    elements = ("Nb", "Mo")
    attention = "1x0e"

    def make_potential(self, rng):
        plain = make_model(rng, elements=self.elements, attention=self.attention)
        frames = Dataset(self.make_frames(rng))
        basis = Basis.for_dataset(
            frames, r_max=plain.basis.r_max, n_max=3, l_max=2, max_channels=(3, 2)
        )
        assert basis.leg.dim < plain.basis.leg.dim
        layers = random_layers(basis, plain.messages, plain.coupling, rng)
        return MessagePassingPotential(
            basis, plain.messages, max_bond=3, baseline=plain.baseline, layers=layers
        )


class TestThreeElementsWithAttention(Base):
    elements = ("Nb", "Mo", "W")
    attention = "1x0e+1x1o"
    zbl = True


def dense_coupling(wigner_3j, coupling, n_max, l_max, outputs, into):
    """The isometric map from edge ⊗ outputs to the leg, from the tensors of e3nn."""
    import torch

    rows = {ir: [] for ir in into.unique}
    at_edge = 0
    for l in range(l_max + 1):
        at_source = 0
        for ir in outputs.unique:
            mul = outputs.count(ir)
            for result, parts in rows.items():
                fits = abs(l - ir.l) <= result.l <= l + ir.l and (-1) ** l * ir.p == result.p
                if not fits:
                    continue
                w = np.sqrt(result.dim) * wigner_3j(l, ir.l, result.l, dtype=torch.float64).numpy()
                for n in range(n_max):
                    for r in range(mul):
                        part = np.zeros((coupling.n_edge, coupling.n_source, result.dim))
                        e, s = at_edge + n * (2 * l + 1), at_source + r * ir.dim
                        part[e : e + 2 * l + 1, s : s + ir.dim] = w
                        parts.append(part)
            at_source += mul * ir.dim
        at_edge += n_max * (2 * l + 1)
    return {ir: np.stack(parts) for ir, parts in rows.items() if parts}


def test_messages_are_couplings_of_e3nn(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        e3nn_o3 = pytest.importorskip("e3nn.o3")
    outputs, into = Irreps("2x0e+1x1o+1x1e+1x2e"), Irreps("1x0e+1x1o+1x1e+1x2e")
    coupling = MessageCoupling(2, 2, outputs, into)
    dense = dense_coupling(e3nn_o3.wigner_3j, coupling, 2, 2, outputs, into)
    assert {ir: len(part) for ir, part in dense.items()} == {
        ir: coupling.leg.count(ir) for ir in coupling.leg.unique
    }
    x = rng.normal(size=(4, 3, coupling.n_edge, coupling.n_source))
    got = coupling.couple(x)
    for ir, part in dense.items():
        np.testing.assert_allclose(got[ir], np.einsum("abes,kesm->abkm", x, part), atol=1e-12)
    g = {ir: rng.normal(size=(4, *part.shape[::3])) for ir, part in dense.items()}
    expected = sum(np.einsum("akm,kesm->aes", g[ir], part) for ir, part in dense.items())
    np.testing.assert_allclose(coupling.uncouple(g), expected, atol=1e-12)


def test_a_message_is_the_sum_over_pairs_of_scored_products(rng):
    from scipy.special import sph_harm_y

    model = make_model(rng, elements=("Nb", "Mo"), attention="1x0e+1x1o")
    basis, messages = model.basis, model.messages
    frame = make_frames(rng, [41, 42])[3]
    pairs = Pairs.find([frame], basis.elements, basis.r_max)
    edges = Edges(basis, messages, pairs)
    n = frame.n_atoms
    sources = Sources(*(rng.normal(size=(n, k)) for k in (model.coupling.n_source, 5, 5)))
    expected = np.zeros((n, model.coupling.n_edge, model.coupling.n_source))
    radial = Radial(messages.n_max, basis.r_min, basis.r_max)
    shifts = np.stack(np.meshgrid(*[range(-3, 4)] * 3), -1).reshape(-1, 3) @ frame.cell
    for i in range(n):
        for j in range(n):
            for shift in shifts:
                x, y, z = frame.positions[j] + shift - frame.positions[i]
                r = np.sqrt(x * x + y * y + z * z)
                if r < 1e-8 or r >= basis.r_max:
                    continue
                g = radial.compute(np.array([r]))[0][0]
                edge = []
                for l in range(messages.l_max + 1):
                    m = np.arange(-l, l + 1)
                    Y = sph_harm_y(l, np.abs(m), np.arccos(z / r), np.arctan2(y, x)) * (-1.0) ** m
                    real = np.where(m < 0, np.sqrt(2) * Y.imag, np.where(m, np.sqrt(2), 1) * Y.real)
                    for k in range(messages.n_max):
                        edge.append(basis.scale * g[k] * real / ((1 + k) * (1 + l)))
                score = sources.query[i] @ sources.key[j]
                expected[i] += score * np.outer(np.concatenate(edge), sources.value[j])
    np.testing.assert_allclose(edges.message(sources), expected, atol=1e-12)


def test_a_message_is_linear_in_each_source(rng):
    model = make_model(rng, attention="2x0e")
    frame = make_frames(rng, [42])[0]
    pairs = Pairs.find([frame], model.elements, model.basis.r_max)
    edges = Edges(model.basis, model.messages, pairs)
    shapes = (model.coupling.n_source, 3, 3)
    one, two = (Sources(*(rng.normal(size=(5, k)) for k in shapes)) for _ in range(2))
    for name in Sources._fields:
        a, b = getattr(one, name), getattr(two, name)
        mixed = edges.message(one._replace(**{name: 2 * a - 3 * b}))
        parts = edges.message(one), edges.message(one._replace(**{name: b}))
        np.testing.assert_allclose(mixed, 2 * parts[0] - 3 * parts[1], atol=1e-12)
        assert np.abs(parts[0] - parts[1]).max() > 1e-3


def test_the_energy_is_linear_in_every_core(rng):
    model = make_model(rng, elements=("Nb", "Mo"), attention="1x1o")
    frames = make_frames(rng, [41, 42])
    e0 = [sum(model.baseline.e0[s] for s in f.symbols) for f in frames]

    def energies(layers):
        # The vacuum is subtracted, and is linear in the readout as well.
        return np.array([p.energy for p in model.with_layers(layers).predict(frames)]) - e0

    zero = energies(model.layers.replace("value", model.layers.value * 0.0))
    for name, chain in model.layers.chains().items():
        rest = 0.0 if name == "readout" else zero
        for site, core in enumerate(chain):
            other = core.from_vector(rng.normal(size=core.n_parameters))
            mixed = core.from_vector(2 * core.to_vector() - 3 * other.to_vector())
            one, two, both = (
                energies(model.layers.replace(name, chain.replace(site, c))) - rest
                for c in (core, other, mixed)
            )
            scale = np.abs(one).max() + np.abs(two).max()
            np.testing.assert_allclose(both, 2 * one - 3 * two, atol=1e-11 * scale)


def test_an_atom_feels_twice_the_radius_and_no_more(rng):
    model = make_model(rng, attention="1x0e")
    deaf = model.with_layers(model.layers.replace("value", model.layers.value * 0.0))
    r = model.basis.r_max

    def energy(potential, *x):
        row = Frame([42] * len(x), [[v, 0, 0] for v in x], np.zeros((3, 3)), [False] * 3)
        return potential.predict([row])[0].energies[0] - model.baseline.e0["Mo"]

    near = [energy(model, 0, 0.7 * r, t * r) for t in (1.1, 1.2, 1.3)]
    assert min(abs(near[0] - near[1]), abs(near[1] - near[2])) > 1e-4 * abs(near[0])
    alone = pytest.approx(energy(model, 0, 0.7 * r), rel=1e-10)
    assert energy(model, 0, 0.7 * r, 1.701 * r) == alone
    # The third atom hears the fourth, but does not pass on what it heard.
    assert energy(model, 0, 0.7 * r, 1.701 * r, 2.3 * r) == alone
    # Without messages the second layer sees one radius.
    assert energy(deaf, 0, 0.7 * r, 1.1 * r) == pytest.approx(energy(deaf, 0, 0.7 * r), rel=1e-10)


def test_ones_as_queries_and_keys_are_no_attention(rng):
    plain = make_model(rng, elements=("Nb", "Mo"))
    frames = make_frames(rng, [41, 42])
    messages = replace(plain.messages, attention="1x0e+1x1o")
    start = first_layer(plain.basis, messages, Dataset(frames), seed=0)
    layers = Layers(plain.layers.readout, plain.layers.value, start["query"], start["key"])
    model = MessagePassingPotential(
        plain.basis, messages, max_bond=3, baseline=plain.baseline, layers=layers
    )
    for one, two in zip(model.predict(frames), plain.predict(frames), strict=True):
        np.testing.assert_allclose(one.forces, two.forces, atol=1e-10 * np.abs(two.forces).max())


def test_ase_calculator_is_the_potential(rng):
    from ase import Atoms

    pytest.importorskip("etn.interfaces.ase")
    model = make_model(rng)
    atoms = Atoms("Mo3", [[0, 0, 0], [2.2, 0, 0], [0, 2.4, 0.3]])
    atoms.calc = model.calculator()
    frame = Frame(atoms.numbers, atoms.positions, np.zeros((3, 3)), [False] * 3)
    assert atoms.get_potential_energy() == model.predict([frame])[0].energy
    np.testing.assert_array_equal(atoms.get_forces(), model.predict([frame])[0].forces)


def test_what_does_not_fit_is_refused(rng, tmp_path):
    model = make_model(rng)
    plain = Chain.random([model.basis.leg] * 3, start=model.basis.start, max_bond=2)
    with pytest.raises(CoreError, match="readout: expected site 2"):
        model.with_layers(model.layers.replace("readout", plain))
    with pytest.raises(CoreError, match="expected readout, value, query, key, got"):
        MessagePassingPotential(
            model.basis, replace(model.messages, attention="0e"), max_bond=3, layers=model.layers
        )
    with pytest.raises(SettingsError, match="couple to none"):
        Messages("1x1e", l_max=0).coupling("1x0e+1x1o")
    with pytest.raises(SettingsError, match="n_max"):
        Messages(n_max=0)
    with pytest.raises(SettingsError, match="l_max"):
        Messages(l_max=-1)
    with pytest.raises(SettingsError, match="body_order"):
        Messages(body_order=1)
    with pytest.raises(SettingsError, match="at least one irrep"):
        Messages("")
    with pytest.raises(SettingsError, match="body_order"):
        MessagePassingPotential(model.basis, body_order=2)
    path = tmp_path / "model.etn"
    model.save(path)
    assert isinstance(load(path), MessagePassingPotential)
    with pytest.raises(ModelFileError, match="expected a file of kind 'polynomial potential'"):
        PolynomialPotential.load(path)
    unfitted = MessagePassingPotential(model.basis, model.messages)
    unfitted.save(path)
    assert repr(MessagePassingPotential.load(path)) == repr(unfitted)


def labelled(frames, potential):
    """Frames with what a potential says as labels."""
    out = []
    for frame, p in zip(frames, potential.predict(frames), strict=True):
        labels = {"energy": p.energy, "forces": p.forces, "stress": p.stress}
        out.append(replace(frame, **labels))
    return Dataset(out)


def setting(rng, *, seed=5):
    """A model, and data of another one."""
    model = make_model(rng, elements=("Nb", "Mo"), attention="1x0e+1x1o", zbl=True)
    teacher = make_model(
        np.random.default_rng(seed), elements=("Nb", "Mo"), attention="1x0e+1x1o", zbl=True
    )
    data = labelled(make_frames(rng, [41, 42]), teacher)
    rows = LayerRows(data, model.basis, model.messages, model.coupling, model.baseline, WEIGHTS)
    return model, data, rows


def test_rows_are_predictions(rng):
    model, data, rows = setting(rng)
    errors = []
    for frame, p in zip(data, model.predict(data), strict=True):
        n = frame.n_atoms
        errors.append([WEIGHTS.energy / np.sqrt(n) * (p.energy - frame.energy)])
        errors.append(WEIGHTS.forces * (p.forces - frame.forces).ravel())
        if frame.stress is not None:
            errors.append(WEIGHTS.stress / n * frame.volume * (p.stress - frame.stress))
    expected = np.concatenate(errors)
    scale = np.abs(expected).max()
    for name in NAMES:
        chain = model.layers.chains()[name]
        for center in range(len(chain)):
            moved = chain.canonicalize(center)
            problem = LayerProblem(rows, model.layers, name, ridge=0.0)
            residual = problem.residuals(moved)
            np.testing.assert_allclose(residual, expected, atol=1e-10 * scale)


def test_frames_without_labels_have_no_rows(rng):
    model, data, _ = setting(rng)
    missing = {0: "forces", 1: "energy", 3: "stress"}
    bare = Dataset([replace(data[k], **{label: None}) for k, label in missing.items()])
    rows = LayerRows(bare, model.basis, model.messages, model.coupling, model.baseline, WEIGHTS)
    full = [1 + 3 * f.n_atoms + 6 * (f.volume > 0) for f in data]
    assert len(rows) == 1 + (full[1] - 1) + (full[3] - 6)


@pytest.mark.parametrize("name", NAMES)
def test_an_update_is_the_optimum(rng, name):
    model, _, rows = setting(rng)
    ridge = 1e-2
    chain = model.layers.chains()[name].canonicalize(1)
    problem = LayerProblem(rows, model.layers, name, ridge=ridge)
    solution = problem.solve(chain)
    best = chain.replace(1, solution.core)
    assert problem.loss(best) == pytest.approx(solution.loss, rel=1e-8)
    assert solution.loss < 0.999 * problem.loss(chain)
    # The loss, from predictions alone, rises whichever entry moves.
    a = solution.core.to_vector()
    size = 1e-2 * np.abs(a).max()
    lowest = problem.loss(best)
    for entry in rng.choice(len(a), size=min(12, len(a)), replace=False):
        for sign in (-1, 1):
            moved = a.copy()
            moved[entry] += sign * size
            other = best.replace(1, solution.core.from_vector(moved))
            assert problem.loss(other) > lowest


def test_a_planted_core_of_the_first_layer_is_found(rng):
    model, _, _ = setting(rng)
    frames = make_frames(rng, [41, 42]) + make_frames(rng, [42, 41])
    data = labelled(frames, model)
    rows = LayerRows(data, model.basis, model.messages, model.coupling, model.baseline, WEIGHTS)
    chain = model.layers.value.canonicalize(1)
    start = chain.replace(1, chain[1].from_vector(rng.normal(size=chain[1].n_parameters)))
    layers = model.layers.replace("value", start)
    problem = LayerProblem(rows, layers, "value", ridge=0.0)
    assert problem.loss(start) > 1.0
    assert problem.solve(start).loss < 1e-12 * problem.loss(start)


def fitted(rng, **options):
    model = make_model(rng, elements=("Nb", "Mo"), attention=options.pop("attention", None))
    frames = [f for _ in range(4) for f in make_frames(rng, [41, 42])]
    data = labelled(frames, make_model(rng, elements=("Nb", "Mo")))
    # Plain squares: what the predictions say.  Not every frame has a stress: no number demands one.
    options = {"robust": None, **options}
    return fit_layers(model, data, weights=replace(WEIGHTS, stress=None), **options), data


def test_the_loss_never_rises(rng):
    report, data = fitted(rng, attention="1x0e+1x1o", max_cycles=3, rel_tol=0.0, ridge=1e-2)
    losses = [loss for record in report.records for loss in record.losses]
    pairs = itertools.pairwise(losses)
    assert all(after <= before * (1 + 1e-9) for before, after in pairs)
    assert losses[-1] < 0.9 * losses[0]
    order = [record.chain for record in report.records[:5]]
    assert order == ["readout", "readout", "value", "key", "query"]
    # The loss that is reported is that of the predictions.
    model = report.model
    total = 1e-2 * model.layers.norm() ** 2
    for frame, p in zip(data, model.predict(data), strict=True):
        n = frame.n_atoms
        total += (WEIGHTS.energy * (p.energy - frame.energy)) ** 2 / n
        total += np.sum((WEIGHTS.forces * (p.forces - frame.forces)) ** 2)
        if frame.stress is not None:
            total += np.sum((frame.volume / n * (p.stress - frame.stress)) ** 2)
    assert losses[-1] == pytest.approx(total, rel=1e-6)
    assert "query" in str(report)


def test_each_sweep_is_logged_in_one_line(rng, caplog):
    with caplog.at_level(logging.INFO, logger="etn"):
        report, _ = fitted(rng, attention="1x0e", max_cycles=1)
    assert [record.getMessage() for record in caplog.records] == [str(r) for r in report.history]
    assert caplog.messages[-1].startswith("cycle 1, query: loss ")


def test_the_fit_starts_as_one_layer(rng):
    report, data = fitted(rng, max_cycles=1)
    single = report.one_layer
    coupling = report.model.coupling
    layers = report.model.layers.replace("readout", make_room(single.chain, single.basis, coupling))
    for one, two in zip(
        report.model.with_layers(layers).predict(data), single.predict(data), strict=True
    ):
        np.testing.assert_allclose(one.forces, two.forces, atol=1e-10)


def test_validation_picks_the_best_cycle(rng):
    report, _ = fitted(rng, max_cycles=2, rel_tol=0.0, valid=0.25)
    assert "valid F" in report.records[-1].measures
    assert report.model.layers is not None


def test_what_cannot_be_fitted_is_refused(rng, monkeypatch):
    model, data, rows = setting(rng)
    with pytest.raises(SettingsError, match="ridge"):
        fit_layers(model, data, ridge=-1.0)
    with pytest.raises(SettingsError, match="max_cycles"):
        fit_layers(model, data, max_cycles=0)
    problem = LayerProblem(rows, model.layers, "value", ridge=0.0)
    with pytest.raises(CoreError, match="canonical"):
        problem.solve(model.layers.value)
    monkeypatch.setattr(rows_module, "MAX_FRAME", 1e3)
    with pytest.raises(DataError, match="atoms, whose derivatives"):
        LayerRows(data, model.basis, model.messages, model.coupling, model.baseline, WEIGHTS)


def test_what_is_built_anew_gives_the_same_solution(rng, monkeypatch):
    model, data, rows = setting(rng)
    chain = model.layers.value.canonicalize(0)
    one = LayerProblem(rows, model.layers, "value", ridge=1e-2).solve(chain)
    monkeypatch.setattr(rows_module, "FRAMES_AT_ONCE", 1)
    again = LayerRows(
        data,
        model.basis,
        model.messages,
        model.coupling,
        model.baseline,
        WEIGHTS,
        memory=MemoryPlan(kept=0.0),
    )
    problem = LayerProblem(again, model.layers, "value", ridge=1e-2)
    two, three = problem.solve(chain), problem.solve(chain)
    assert two.loss == pytest.approx(one.loss, rel=1e-10)
    assert three.loss == two.loss


class Interrupt(Callback):
    """Raises after some sweeps and cycles, as Ctrl-C would; keeps what a checkpoint would hold."""

    def __init__(self, path, after):
        self.path, self.left = path, after

    def on_sweep(self, state):
        state.save(self.path, note={"data": "x"})
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_an_interrupted_fit_goes_on_to_the_same_result(rng, tmp_path, after):
    options = {
        "attention": "1x0e",
        "robust": "huber",
        "ridge": "evidence",
        "valid": 0.25,
        "max_cycles": 2,
        "rel_tol": 0.0,
        "schedule": Schedule(max_sweeps=1),
    }
    whole, data = fitted(rng, **options)
    del options["attention"]
    model = whole.model.with_layers(None)
    options["weights"] = replace(WEIGHTS, stress=None)
    path = tmp_path / "checkpoint.etn"
    with pytest.raises(KeyboardInterrupt):
        fit_layers(model, data, **options, callbacks=[Interrupt(path, after)])
    again = fit_layers(model, data, **options, resume=State.load(path))
    assert [r.chain for r in again.records] == [r.chain for r in whole.records]
    for one, two in zip(again.records, whole.records, strict=True):
        assert one.losses == pytest.approx(two.losses, rel=1e-9)
        assert one.measures == pytest.approx(two.measures, rel=1e-7)
    assert again.ridge == pytest.approx(whole.ridge, rel=1e-9)
    for one, two in zip(again.model.predict(data), whole.model.predict(data), strict=True):
        np.testing.assert_allclose(one.forces, two.forces, atol=1e-8 * np.abs(two.forces).max())


def test_wrong_labels_pull_less_in_a_robust_fit(rng):
    model = make_model(rng, elements=("Nb", "Mo"))
    frames = [f for _ in range(6) for f in make_frames(rng, [41, 42])]
    clean = labelled(frames, make_model(rng, elements=("Nb", "Mo")))
    wrong = Dataset([replace(f, energy=f.energy + 50.0 * (k == 7)) for k, f in enumerate(clean)])
    options = {"weights": replace(WEIGHTS, stress=None), "max_cycles": 2, "ridge": 1e-2}
    plain, robust = (fit_layers(model, wrong, robust=r, **options) for r in (None, "huber"))

    def error(report):
        return report.model.evaluate(clean[[k != 7 for k in range(len(clean))]]).energy.mae

    assert error(robust) < 0.5 * error(plain)
    assert [doubt.frame for doubt in robust.doubts if doubt.label == "energy"] == [wrong[7].name]
    assert robust.records[-1].measures["outliers E"] >= 1
    assert plain.doubts == ()


def test_callbacks_see_steps_sweeps_and_may_stop(rng):
    seen = []

    class Watch(Callback):
        def on_step(self, step):
            seen.append(("step", len(step.chain)))

        def on_sweep(self, state):
            seen.append(("sweep", state.records[-1].chain))

        def verdict(self, records):
            return "enough" if records[-1].chain == "value" else ""

    report, _ = fitted(rng, max_cycles=5, rel_tol=0.0, callbacks=[Watch()])
    assert report.reason == "enough"
    assert report.records[-1].cycle == 1
    assert [name for kind, name in seen if kind == "sweep"][-2:] == ["readout", "value"]
    assert sum(kind == "step" for kind, _ in seen) > 8


def test_evidence_chooses_the_ridge(rng):
    report, _ = fitted(rng, max_cycles=1, ridge="evidence")
    assert report.ridge == report.records[-1].measures["ridge"] != 1e-3


def test_missing_labels_and_options_are_refused(rng):
    model, data, _ = setting(rng)
    bare = Dataset([replace(data[0], forces=None), *data[1:]])
    with pytest.raises(DataError, match=r"training set: 1 of .* frames have no forces"):
        fit_layers(model, bare)
    with pytest.raises(SettingsError, match="robust"):
        fit_layers(model, data, robust="tukey")
    with pytest.raises(SettingsError, match="evidence"):
        fit_layers(model, data, ridge="much")
    report = fit_layers(model, bare, missing="skip", max_cycles=1, schedule=Schedule(max_sweeps=1))
    assert report.records[-1].chain == "query"
