"""Messages against dense sums, and their derivatives against adjoints and finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from etn.data.stress import VOIGT
from etn.potential import Radial
from etn.potential.features.pairs import Pairs
from etn.potential.message_passing.edges import Edges, Sources


def test_a_message_is_the_sum_over_pairs_of_scored_products(rng, make_model, make_frames):
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


def test_a_message_is_linear_in_each_source(rng, make_model, make_frames):
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


@pytest.fixture
def pooled(rng, make_model, make_frames):
    """Edges of a frame whose cell is smaller than the radius, sources, and weights of messages."""
    model = make_model(rng, elements=("Nb", "Mo"), attention="1x0e+1x1o")
    frame = make_frames(rng, [41, 42])[3]

    def edges(frame):
        pairs = Pairs.find([frame], model.elements, model.r_max)
        return Edges(model.basis, model.messages, pairs)

    n, coupling = frame.n_atoms, model.coupling
    sources = Sources(*(rng.normal(size=(n, k)) for k in (coupling.n_source, 5, 5)))
    return edges, frame, sources, rng.normal(size=(n, coupling.n_edge, coupling.n_source))


@pytest.mark.parametrize("name", Sources._fields)
def test_pulling_back_is_the_adjoint_of_a_message(pooled, rng, name):
    edges, frame, sources, gradient = pooled
    edges = edges(frame)
    along = rng.normal(size=getattr(sources, name).shape)
    # Linear in each source: the derivative along a direction is the message of the direction.
    expected = np.vdot(gradient, edges.message(sources._replace(**{name: along})))
    pulled = getattr(edges.pull_back(sources, gradient), name)
    assert np.vdot(pulled, along) == pytest.approx(expected, rel=1e-10)


def derivative(value, step=1e-3):
    """Of fourth order in the step."""
    low, near, far, high = (value(t * step) for t in (-2, -1, 1, 2))
    return (low - 8 * near + 8 * far - high) / (12 * step)


def strained(frame, a, b, t):
    """Positions and cell with r_a changed by t r_b."""
    strain = np.eye(3)
    strain[a, b] += t
    return replace(frame, positions=frame.positions @ strain.T, cell=frame.cell @ strain.T)


def moved(frame, atom, axis, t):
    positions = frame.positions.copy()
    positions[atom, axis] += t
    return replace(frame, positions=positions)


def test_forces_and_strain_are_finite_differences(pooled):
    edges, frame, sources, gradient = pooled

    def value(frame):
        return np.vdot(gradient, edges(frame).message(sources))

    forces, strain = edges(frame).forces_and_strain(sources, gradient)
    for atom in range(frame.n_atoms):
        for axis in range(3):
            slope = derivative(lambda t, at=(atom, axis): value(moved(frame, *at, t)))
            assert forces[atom, axis] == pytest.approx(-slope, rel=1e-7, abs=1e-8)
    for a, b in np.ndindex(3, 3):
        slope = derivative(lambda t, at=(a, b): value(strained(frame, *at, t)), step=2e-4)
        assert strain[0, a, b] == pytest.approx(slope, rel=1e-6, abs=1e-7)


def test_slopes_along_rows_are_finite_differences(pooled, rng):
    """Of messages and of what is pulled back, while the sources and the gradient move as well."""
    edges, frame, sources, gradient = pooled
    here, n = edges(frame), frame.n_atoms
    rows = 3 * n + len(VOIGT)
    slopes = Sources(*(rng.normal(size=(n, rows, part.shape[1])) for part in sources))
    gradient_slopes = rng.normal(size=(n, rows, *gradient.shape[1:]))
    along = here.slopes(strain=True)
    messages = here.message_slopes(along, sources, slopes)
    pulled = here.pull_back_slopes(along, sources, slopes, gradient, gradient_slopes)
    for row in range(rows):

        def at(t, row=row):
            if row < 3 * n:
                there = moved(frame, row // 3, row % 3, -t)  # a force is minus the derivative
            else:
                there = strained(frame, *VOIGT[row - 3 * n], t)
            parts = (part + t * slope[:, row] for part, slope in zip(sources, slopes, strict=True))
            return edges(there), Sources(*parts), gradient + t * gradient_slopes[:, row]

        def message(t):
            there, source, _ = at(t)
            return there.message(source)

        def back(t):
            there, source, gradient = at(t)
            return np.concatenate(there.pull_back(source, gradient), axis=1)

        for got, value in (
            (messages[:, row], message),
            (np.concatenate([part[:, row] for part in pulled], axis=1), back),
        ):
            expected = derivative(value, step=2e-4)
            scale = np.abs(expected).max()
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-7 * scale)
