"""Recipes: learning rates, optimizers, losses, and what is out of range."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.special
import torch

from etn.errors import SettingsError
from etn.nn.recipe import Recipe
from etn.potential import Weights


def test_the_learning_rate_rises_and_falls():
    recipe = Recipe(learning_rate=1.0, warmup=9, schedule="cosine")
    rates = np.array([recipe.rate(step, steps=1000) for step in range(1000)])
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10, rtol=1e-3)
    assert (np.diff(rates[10:]) < 0).all()
    np.testing.assert_allclose(rates[500], 0.505, rtol=1e-3)
    np.testing.assert_allclose(rates[-1], 0.01, rtol=1e-2)
    flat = Recipe(learning_rate=1.0, warmup=0, schedule="plateau")
    assert flat.rate(5, steps=10, factor=0.25) == 0.25


def test_matrices_alone_decay():
    weights = [torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))]
    optimizer = Recipe(optimizer="adamw", weight_decay=0.1, learning_rate=0.5).make_optimizer(
        weights
    )
    for weight in weights:
        weight.grad = torch.zeros_like(weight)
    optimizer.step()
    torch.testing.assert_close(weights[0].detach(), torch.full((2, 2), 0.95))
    torch.testing.assert_close(weights[1].detach(), torch.ones(2))
    kinds = {name: type(Recipe(optimizer=name).make_optimizer(weights)) for name in
             ("adam", "amsgrad", "adamw")}  # fmt: skip
    assert kinds["adamw"] is torch.optim.AdamW
    assert kinds["adam"] is torch.optim.Adam
    assert Recipe().make_optimizer(weights).defaults["amsgrad"]


@pytest.mark.parametrize("name", ["adam", "amsgrad", "adamw"])
def test_the_unit_of_the_loss_does_not_matter(name):
    # Squares of small residuals, as those of a fit below, have gradients of 1e-6 and less.
    def moved(unit):
        weight = torch.nn.Parameter(torch.ones(3))
        optimizer = Recipe(optimizer=name, learning_rate=1e-2).make_optimizer([weight])
        for gradient in ([1.0, -2.0, 3.0], [-0.5, 1.0, 4.0], [2.0, 0.1, -1.0]):
            weight.grad = unit * torch.tensor(gradient)
            optimizer.step()
        return weight.detach()

    torch.testing.assert_close(moved(1e-6), moved(1.0), rtol=1e-5, atol=0.0)


def test_huber_is_that_of_scipy(rng):
    residuals = torch.as_tensor(rng.normal(size=50) * 3)
    expected = 2 * scipy.special.huber(1.5, residuals.numpy()).sum()
    np.testing.assert_allclose(Recipe(huber=1.5).loss(residuals), expected, rtol=1e-12)
    np.testing.assert_allclose(Recipe().loss(residuals), residuals.square().sum(), rtol=1e-12)


def test_weights_of_labels_move_in_equal_ratios():
    recipe = Recipe(final_weights={"energy": 270.0, "stress": 0.125}, max_epochs=4)
    np.testing.assert_allclose(
        [recipe.balance(epoch) for epoch in range(1, 5)],
        [(9.0**share, 1.0, 0.125**share) for share in (0, 1 / 3, 2 / 3, 1)],
    )
    assert Recipe(max_epochs=1, final_weights={"energy": 60.0}).balance(1) == (1.0, 1.0, 1.0)


def test_products_of_matrices_are_rounded_within_steps_alone():
    x, cpu = torch.full((8, 8), 1.0 + 2.0**-9), torch.device("cpu")
    before = torch.get_float32_matmul_precision()
    with Recipe(arithmetic="bfloat16").rounded(cpu):
        assert torch.equal((x @ x).float(), torch.full((8, 8), 8.0))
    with Recipe(arithmetic="tf32").rounded(cpu):
        assert torch.get_float32_matmul_precision() == "high"
    assert torch.get_float32_matmul_precision() == before
    with Recipe().rounded(cpu):
        assert (x @ x).dtype == torch.float32
        assert (x @ x).max() > 8.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch_size": 0}, "batch_size: expected at least 1"),
        ({"learning_rate": 0.0}, "learning_rate: expected a number above zero"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a number above zero"),
        ({"average": 1.0}, "average: expected 0 to below 1"),
        ({"clip": -1.0}, "clip: expected zero or more"),
        ({"optimizer": "sgd"}, "optimizer: expected one of amsgrad, adam, adamw"),
        ({"schedule": "step"}, "schedule: expected one of cosine"),
        ({"arithmetic": "int8"}, "arithmetic: expected one of full, tf32, bfloat16"),
        ({"final_weights": {"energies": 1.0}}, "final_weights: expected weights of energy, forces"),
        (
            {"final_weights": {"forces": 2.0}, "weights": Weights(forces=0.0)},
            "final_weights: expected forces to go from one number above zero to another, got 0",
        ),
    ],
)
def test_what_is_out_of_range(change, message):
    with pytest.raises(SettingsError, match=message):
        Recipe(**change)
