"""Plots: what they show, and that they touch no global state."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex

from etn.errors import CoreError, DataError
from etn.network import Chain
from etn.o3 import Irrep
from etn.plot import convergence, parity, spectra
from etn.potential import Dataset, Frame, Prediction
from etn.sweep import Report, SweepRecord


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.read("etn:Mo/test", index="::4")


def shifted(data: Dataset, energy: float = 0.0, force: float = 0.0) -> list[Prediction]:
    """Predictions with the same error everywhere; energy in eV/atom."""
    return [
        Prediction(f.energy + energy * f.n_atoms, np.zeros(f.n_atoms), f.forces + force)
        for f in data
    ]


def record(n_sites: int, sweep: int, losses: tuple[float, ...], **measures: float) -> SweepRecord:
    named = {key.replace("_", " "): value for key, value in measures.items()}
    return SweepRecord(
        n_sites, sweep, losses[-1], losses, 1e3, "cholesky", 0.1, 9, "3x0e", measures=named
    )


def report(*records: SweepRecord) -> Report:
    return Report(records, Chain.random(["2x0e"] * 2, seed=0), True, "settled")


def test_parity_shows_the_errors_with_their_units(data):
    results = {
        "train": (data, shifted(data, 2e-3, 0.1)),
        "test": (data, shifted(data, -3e-3, 0.2)),
    }
    energy, forces, energy_error, force_error = parity(results).axes
    labels = [text.get_text() for text in energy.get_legend().get_texts()]
    assert labels == ["train: MAE 2 meV/atom", "test: MAE 3 meV/atom"]
    labels = [text.get_text() for text in forces.get_legend().get_texts()]
    assert labels == ["train: MAE 0.1 eV/Å", "test: MAE 0.2 eV/Å"]
    assert energy.get_ylabel() == "predicted energy per atom (eV)"
    assert energy_error.get_xlabel() == "reference energy per atom (eV)"
    assert energy_error.get_ylabel() == "error (meV/atom)"
    assert force_error.get_xlabel() == "reference force component (eV/Å)"
    assert energy.get_xlim() == energy.get_ylim()
    lines = {line.get_label(): line for line in force_error.get_lines()}
    np.testing.assert_allclose(lines["test: MAE 0.2 eV/Å"].get_ydata(), 0.2)
    drawn = forces.get_lines()[1].get_xdata()
    np.testing.assert_array_equal(drawn, np.concatenate([f.forces.ravel() for f in data]))


def test_parity_keeps_the_colours_of_the_sets(data):
    results = {"test": (data, shifted(data))}
    alone = parity(results).axes[0].get_lines()[1].get_color()
    both = parity({"train": (data, shifted(data)), **results}).axes[0].get_lines()[2].get_color()
    assert to_hex(alone) == to_hex(both)


def test_parity_thins_out_very_many_points(rng):
    n = 12_000
    frame = Frame(
        np.full(n, 42), rng.normal(size=(n, 3)), np.eye(3), [False] * 3, forces=np.ones((n, 3))
    )
    found = Prediction(0.0, np.zeros(n), np.full((n, 3), 1.5))
    (forces, _) = parity({"test": (Dataset([frame]), [found])}).axes
    assert forces.get_title() == "Forces"
    assert len(forces.get_lines()[1].get_xdata()) == 20_000
    # The error is that of all points.
    assert forces.get_legend().get_texts()[0].get_text() == "test: MAE 0.5 eV/Å"


def test_parity_without_labels():
    frame = Frame([42], np.zeros((1, 3)), np.eye(3), [False] * 3)
    with pytest.raises(DataError, match="no data set has energies or forces"):
        parity({"test": (Dataset([frame]), [Prediction(0.0, np.zeros(1), np.zeros((1, 3)))])})


def test_parity_of_one_frame_with_equal_labels():
    frame = Frame([42], np.zeros((1, 3)), np.eye(3), [False] * 3, energy=-1.0)
    found = Prediction(-1.0, np.zeros(1), np.zeros((1, 3)))
    energy, _ = parity({"test": (Dataset([frame]), [found])}).axes
    assert np.diff(energy.get_xlim()) > 0


def test_convergence_shows_losses_errors_and_growth():
    figure = convergence(
        report(
            record(2, 1, (9.0, 8.0), train_F=0.3, train_E=8.0, valid_F=0.4, valid_E=9.0),
            record(2, 2, (7.0, 6.0), train_F=0.2, train_E=6.0, valid_F=0.3, valid_E=7.0),
            record(3, 1, (5.0, 4.0, 3.0, 2.0), train_F=0.1, train_E=3.0, valid_F=0.2, valid_E=4.0),
        )
    )
    loss, forces, energies = figure.axes
    np.testing.assert_array_equal(loss.get_lines()[0].get_ydata(), [9, 8, 7, 6, 5, 4, 3, 2])
    np.testing.assert_array_equal(loss.get_lines()[2].get_xdata(), [2, 4, 8])
    assert [text.get_text() for text in loss.texts] == ["2 sites", "3 sites"]
    train, valid = forces.get_lines()[:2]
    np.testing.assert_array_equal(train.get_xdata(), [2, 4, 8])
    np.testing.assert_array_equal(valid.get_ydata(), [0.4, 0.3, 0.2])
    assert forces.get_lines()[2].get_xdata() == pytest.approx([4.5, 4.5])
    assert forces.get_ylabel() == "force MAE\n(eV/Å)"
    assert energies.get_ylabel() == "energy MAE\n(meV/atom)"
    assert energies.get_xlabel() == "local solves"


def test_convergence_without_measures_shows_the_loss():
    figure = convergence(report(record(2, 1, (9e3, 1.0))))
    (loss,) = figure.axes
    assert loss.get_yscale() == "log"
    assert loss.get_xlabel() == "local solves"


def test_convergence_names_cycles_and_their_start_with_the_first():
    cycles = [
        replace(record(n, 1, (3.0, 1.0)), chain=chain, cycle=cycle)
        for cycle, n, chain in (
            (0, 3, "readout"),
            (1, 3, "readout"),
            (1, 2, "value"),
            (2, 3, "readout"),
        )
    ]
    figure = convergence(report(record(2, 1, (9.0, 4.0)), *cycles))
    assert [text.get_text() for text in figure.axes[0].texts] == ["2 sites", "cycle 1", "cycle 2"]


def test_convergence_of_nothing():
    with pytest.raises(DataError, match="no sweep"):
        convergence(report())


def test_spectra_show_weighted_singular_values():
    scalar, vector, odd = Irrep("0e"), Irrep("1o"), Irrep("0o")
    figure = spectra({3: {vector: [2.0, 1.0, 0.0], scalar: [0.5]}, 7: {scalar: [3.0], odd: [1.0]}})
    (axes,) = figure.axes
    assert axes.get_yscale() == "log"
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["3", "7"]
    lines = {line.get_label(): line for line in axes.get_lines()}
    assert list(lines) == ["0e", "0o", "1o"]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == list(lines)
    assert len({to_hex(line.get_color()) for line in lines.values()}) == 3
    # Zero is not drawn; a multiplet of l = 1 counts sqrt(3) times.
    np.testing.assert_allclose(lines["1o"].get_ydata(), np.sqrt(3) * np.array([2.0, 1.0]))
    np.testing.assert_allclose(lines["0e"].get_ydata(), [0.5, 3.0])
    for line, columns in ((lines["1o"], [0, 0]), (lines["0e"], [0, 1]), (lines["0o"], [1])):
        np.testing.assert_array_equal(np.rint(line.get_xdata()), columns)


def test_spectra_of_a_chain():
    chain = Chain.random(["2x0e+2x1o"] * 60, max_bond=3, seed=0)
    (axes,) = spectra(chain.spectra()).axes
    drawn = sum(len(line.get_ydata()) for line in axes.get_lines())
    assert drawn == sum(len(s) for spectrum in chain.spectra() for s in spectrum.values())
    # The weighted values of a bond are the norm of the chain.
    first = [
        y for line in axes.get_lines() for x, y in zip(*line.get_data(), strict=True) if x < 0.5
    ]
    assert np.linalg.norm(first) == pytest.approx(chain.norm())
    assert len(axes.get_xticks()) <= 40


def test_spectra_that_cannot_be_drawn():
    with pytest.raises(CoreError, match="no positive singular value"):
        spectra({0: {Irrep("0e"): [0.0]}})
    with pytest.raises(CoreError, match="no positive singular value"):
        spectra([])
    chain = Chain.random(["1x0e+1x1o"] * 3, seed=0)
    for wrong in ("chain", 3, [1.0], chain.singular_values(1)):
        with pytest.raises(CoreError, match=r"singular values} for each bond, such as chain.spec"):
            spectra(wrong)
    for value in (-1.0, np.nan, np.inf):
        with pytest.raises(CoreError, match="finite and not negative"):
            spectra([{Irrep("0e"): [1.0, value]}])


def test_figures_can_be_written_and_leave_the_style_alone(data, tmp_path):
    before = dict(mpl.rcParams)
    parity({"test": (data, shifted(data))}).savefig(tmp_path / "parity.png")
    convergence(report(record(2, 1, (2.0, 1.0)))).savefig(tmp_path / "convergence.pdf")
    spectra([{Irrep("0e"): [1.0, 0.1]}]).savefig(tmp_path / "spectra.png")
    assert (tmp_path / "spectra.png").stat().st_size > 1000
    assert (tmp_path / "parity.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "convergence.pdf").read_bytes().startswith(b"%PDF")
    assert dict(mpl.rcParams) == before


def test_matplotlib_is_loaded_when_a_plot_is_drawn_and_pyplot_never():
    code = (
        "import sys, etn.plot; a = 'matplotlib' in sys.modules\n"
        "from etn.potential import Dataset, Prediction\n"
        "d = Dataset.read('etn:Mo/test', index=':1')\n"
        "etn.plot.parity({'test': (d, [Prediction(0.0, d[0].forces[:, 0], d[0].forces)])})\n"
        "print(a, 'matplotlib.figure' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert result.stdout.split() == ["False", "True", "False"]


def test_spectra_of_a_chain_itself():
    from etn.network import Chain

    chain = Chain.random(["1x0e+1x1o"] * 3, seed=0)
    one, two = spectra(chain), spectra(chain.spectra())
    lines = [[line.get_ydata() for line in f.axes[0].get_lines()] for f in (one, two)]
    np.testing.assert_array_equal(lines[0], lines[1])
