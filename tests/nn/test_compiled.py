"""Compiled steps are the steps: energies, forces, losses and gradients, for any size of a batch."""

from __future__ import annotations

import pytest
import torch

from etn.errors import SettingsError
from etn.nn.compiled import CompiledLoss, compiled_outcome
from etn.nn.recipe import Recipe
from etn.nn.samples import Sample, Samples
from etn.nn.start import untrained
from etn.nn.trainer import train
from etn.potential import Dataset, Weights

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
DATA = Dataset.read("etn:Mo/train", index="::24")


def start(name="tensornet", **changes):
    settings = {"channels": 4, "layers": 1, "n_max": 5} | changes
    return untrained(name, DATA, r_max=3.6, settings=settings, dtype="float64")


def small(name):
    return start(name, **({"heads": 2, "l_max": 1, "hidden": 5} if name == "tdn" else {}))


def batches(potential):
    samples = Samples.of(DATA, potential, Weights())
    return [Sample.join(samples.items[a:b]) for a, b in ((0, 2), (2, 5), (5, 6))]


def test_a_compiled_outcome_is_the_plain_one():
    potential = small("tensornet")
    outcome = compiled_outcome(potential.model, backend="eager")
    for sample in batches(potential):
        eager = potential.model.outcome(sample.batch, training=False)
        for one, two in zip(eager, outcome(sample.batch), strict=True):
            torch.testing.assert_close(two, one.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "backend"), [("tensornet", "eager"), ("tdn", "eager"), ("tensornet", "inductor")]
)
def test_a_compiled_loss_and_its_gradients_are_the_plain_ones(name, backend):
    potential = small(name)
    recipe, model = Recipe(), potential.model
    loss = CompiledLoss(model, recipe, backend=backend)
    for sample in batches(potential):
        eager = model.outcome(sample.batch, training=True)
        expected = recipe.loss(sample.goal.residuals(sample.goal.errors(eager, sample.batch)))
        model.zero_grad()
        (0.5 * expected).backward()
        gradients = {n: w.grad for n, w in model.named_parameters() if w.grad is not None}
        found, parts = loss(*sample, 0.5)
        torch.testing.assert_close(found, 0.5 * expected.detach(), rtol=1e-10, atol=0)
        for key, weight in model.named_parameters():
            expected = gradients.get(key, torch.zeros_like(weight))
            torch.testing.assert_close(weight.grad, expected, rtol=1e-8, atol=1e-8)
        for one, two in zip(eager, parts, strict=True):
            torch.testing.assert_close(two, one.detach(), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_compiled_training_learns_the_same():
    potential = start()
    plain, fast = (
        train(potential, DATA, valid=0.3, recipe=Recipe(max_epochs=3, batch_size=3, compiled=c))
        for c in (False, True)
    )
    for one, two in zip(plain.epochs, fast.epochs, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=1e-8)
        assert two.valid == pytest.approx(one.valid, rel=1e-8)


def test_forces_that_are_predicted_are_not_compiled():
    potential = start("tdn", channels=4, heads=2, l_max=1, forces="direct")
    sample = Samples.of(DATA[:1], potential, Weights()).items[0]
    with pytest.raises(SettingsError, match="compile: networks that predict forces"):
        compiled_outcome(potential.model)(sample.batch)
