"""TDN: products and their certificates, attention, and what is out of range."""

from __future__ import annotations

import pytest
import torch

from etn.errors import SettingsError
from etn.nn.tdn import TDN, Product, _softmax
from etn.o3 import Irreps
from etn.product import DecomposedProduct


def test_a_cp_form_says_how_far_from_equivariant_it_is(potential, frames, rng, rotation):
    from dataclasses import replace

    data = frames(rng, [41, 42])[:1]
    turned = [replace(data[0], positions=data[0].positions @ rotation.T)]
    rough = potential("tdn", rng, l_max=1, products="cp:5", group="SO(3)")
    fine = potential("tdn", rng, l_max=1, products="cp", group="SO(3)")
    off = [abs(p.predict(data)[0].energy - p.predict(turned)[0].energy) for p in (rough, fine)]
    assert off[0] > 1e-6
    assert off[1] < 1e-12
    assert "rank 5, not equivariant" in rough.describe()["products"]
    assert "exact" in fine.describe()["products"]
    irreps, directions = Irreps("2x0e+2x1e"), Irreps("0e+1e")
    product = Product(irreps, directions, "cp")
    assert isinstance(product.decomposed, DecomposedProduct)
    assert product.decomposed.certificate().is_exact


def test_attention_is_a_softmax_with_a_silent_neighbour(rng):
    scores = torch.as_tensor(rng.normal(size=(6, 2)) * 30)
    ends = torch.as_tensor(rng.uniform(size=6))
    center = torch.tensor([0, 0, 2, 0, 2, 2])
    found = _softmax(scores, ends, center, 3)
    for atom in (0, 2):
        here = center == atom
        weights = ends[here, None] * scores[here].exp()
        torch.testing.assert_close(found[here], weights / (1 + weights.sum(0)))
    # A neighbour at the end of its reach is silent, and the others do not notice.
    ends[0] = 0.0
    assert _softmax(scores, ends, center, 3)[0].abs().max() == 0


def test_parameters_do_not_grow_with_the_degree():
    sizes = [
        sum(
            weight.numel()
            for name, weight in TDN(("C",), l_max=l, group="SO(3)").named_parameters()
            if "gates" not in name and "norm" not in name and ".scale" not in name
        )
        for l in (1, 2, 3)
    ]
    assert len(set(sizes)) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": 3}, "channels: expected a multiple of heads = 3"),
        ({"l_max": 0}, "l_max: expected at least 1"),
        ({"group": "SU(2)"}, "group: expected"),
        ({"forces": "none"}, "forces: expected conservative or direct"),
        ({"products": "cp:0"}, "products: expected exact, cp, cp:RANK or even, got 'cp:0'"),
    ],
)
def test_what_is_out_of_range(change, message):
    with pytest.raises(SettingsError, match=message):
        TDN(("C", "H"), **change)
