"""The rule of Nielsen, and when steps stagnate."""

from __future__ import annotations

import pytest

from etn.product.solve.damping import Damping, stagnates


@pytest.mark.parametrize(
    ("gain", "factor"),
    # max(1/10, 1 - (2 gain - 1)^3): the model was right, half right, too bold.
    [(1.0, 0.1), (0.5, 1.0), (0.0, 2.0), (0.75, 0.875), (10.0, 0.1)],
)
def test_the_damping_follows_the_gain(gain: float, factor: float) -> None:
    damping = Damping(1e-2)
    damping.accept(gain)
    assert damping.value == pytest.approx(1e-2 * factor)


def test_it_grows_faster_each_time_and_starts_anew_after_a_step() -> None:
    damping = Damping(1.0)
    values = []
    for _ in range(3):
        assert damping.grow()
        values.append(damping.value)
    assert values == [2.0, 8.0, 64.0]
    damping.accept(0.5)
    damping.grow()
    assert damping.value == pytest.approx(128.0)


def test_it_has_bounds() -> None:
    damping = Damping(1e-13)
    damping.accept(1.0)
    assert damping.value == damping.smallest
    tries = 0
    while damping.grow():
        tries += 1
    assert damping.value > 1e8
    assert tries < 20


def test_ten_steps_together_have_to_lower_the_loss() -> None:
    assert not stagnates([1.0] * 10, 0.5)
    assert stagnates([1.0] * 11, 0.5)
    assert stagnates([5.0, 1.0, *[0.95] * 10], 0.1)
    assert not stagnates([5.0, 1.0, *[0.85] * 10], 0.1)
