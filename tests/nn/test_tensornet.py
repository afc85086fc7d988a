"""TensorNet against torchmd-net, published numbers of parameters, and the matrices of rank2."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from etn.data.frame import Frame
from etn.errors import SettingsError
from etn.nn.graph import Batch
from etn.nn.model import AtomicModel
from etn.nn.tensornet import SIZES, TensorNet, Units, multiply, norm, shapes
from etn.o3.cartesian import rank2
from etn.potential.features.pairs import Pairs


@pytest.mark.parametrize(
    ("channels", "layers", "count"),
    [(128, 0, 301_441), (128, 1, 535_681), (128, 2, 769_921), (256, 3, 3_925_249)],
)
def test_published_numbers_of_parameters(channels, layers, count):
    network = TensorNet(("C", "H"), channels=channels, layers=layers, n_max=32, n_embeddings=128)
    assert sum(weight.numel() for weight in network.parameters()) == count


def test_matrices_are_those_of_rank2(rng):
    r = rng.normal(size=(7, 3))
    r /= np.linalg.norm(r, axis=1, keepdims=True)
    parts = rank2.embed(r)
    expected = rank2.pack(parts.scalar + parts.vector + parts.tensor)
    np.testing.assert_allclose(torch.cat(shapes(torch.as_tensor(r)), 1), expected, atol=1e-15)
    units = Units()
    flat = [torch.as_tensor(rng.normal(size=(4, 9, 5))) for _ in range(2)]
    X, Y = (tuple(x.split(SIZES, dim=1)) for x in flat)
    np.testing.assert_allclose(torch.cat(units.parts(units.matrices(X)), 1), flat[0], atol=1e-14)
    one, two = (M.permute(0, 2, 1).numpy() for M in flat)
    x, y = units.matrices(X), units.matrices(Y)
    found = torch.cat(units.parts(multiply(x, y) + multiply(y, x)), 1)
    np.testing.assert_allclose(found.permute(0, 2, 1), rank2.packed_product(one, two), atol=1e-13)
    squares = rank2.squared_norms(rank2.unpack(one))
    np.testing.assert_allclose(norm(X)[:, 0], squares.sum(-1), atol=1e-13)


# Names of the weights of torchmd-net, and of the same here.
RULES = (
    (r"distance_proj([123])\.", lambda m: f"distance.{int(m[1]) - 1}."),
    (r"\.emb\.", ".elements."),
    (r"\.emb2\.", ".pair."),
    (r"tensor_embedding\.linears_tensor", "tensor_embedding.parts"),
    (r"tensor_embedding\.linears_scalar", "tensor_embedding.gate"),
    (r"init_norm", "norm"),
    (r"layers\.(\d)\.linears_scalar", r"interactions.\1.distance"),
    (r"layers\.(\d)\.linears_tensor\.([012])", r"interactions.\1.before.\2"),
    (r"layers\.(\d)\.linears_tensor\.([345])",
     lambda m: f"interactions.{m[1]}.after.{int(m[2]) - 3}"),
    (r"representation_model\.linear\.", "mix."),
    (r"out_norm", "norm"),
    (r"output_model\.output_network\.layers", "readout"),
    (r"representation_model\.tensor_embedding", "embedding"),
    (r"representation_model\.", ""),
)  # fmt: skip


@pytest.mark.parametrize(("group", "charge"), [("O(3)", 0), ("SO(3)", 0), ("O(3)", -2)])
def test_it_is_that_of_torchmd_net(group, charge):
    create_model = pytest.importorskip("torchmdnet.models.model").create_model
    from ase.build import molecule

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        theirs = create_model(
            {
                "precision": 64, "model": "tensornet", "embedding_dimension": 16,
                "num_layers": 2, "num_rbf": 32, "rbf_type": "expnorm", "trainable_rbf": False,
                "activation": "silu", "cutoff_lower": 0.0, "cutoff_upper": 4.5, "max_z": 128,
                "max_num_neighbors": 64, "equivariance_invariance_group": group,
                "static_shapes": False, "derivative": True, "atom_filter": -1,
                "prior_model": None, "output_model": "Scalar", "reduce_op": "add",
                "output_mlp_num_layers": 0,
            }
        )  # fmt: skip
    state = {}
    for name, value in theirs.state_dict().items():
        new = name
        for pattern, replacement in RULES:
            new = re.sub(pattern, replacement, new)
        state[new] = value.clone()
    elements = state["embedding.elements.weight"]
    elements[:3] = elements[[1, 6, 8]].clone()
    network = TensorNet(
        ("H", "C", "O"), 4.5, channels=16, cutoff_name="cosine", group=group, n_embeddings=128
    )
    network.load_state_dict({name: state[name] for name in network.state_dict()})
    atoms = molecule("CH3CH2OH")
    frame = Frame(atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, charge=charge)
    batch = Batch.of(Pairs.find([frame], network.elements, 4.5))
    model = AtomicModel(network)
    neutral = torch.zeros_like(batch.charge)
    lone = model(batch._replace(charge=neutral, first=batch.first[:0], second=batch.second[:0],
                                vector=batch.vector[:0]))  # fmt: skip
    assert lone.abs().max() == 0  # alone, every atom has nothing beyond its E0
    vector = batch.vector.requires_grad_(True)
    energy = network(batch.graph()).sum()
    (gradient,) = torch.autograd.grad(energy, vector)
    expected, forces = theirs(
        torch.as_tensor(atoms.numbers), torch.as_tensor(atoms.positions),
        torch.zeros(len(atoms), dtype=torch.long), q=torch.tensor([float(charge)]),
    )  # fmt: skip
    # Constants of their radial functions are rounded to float32.
    torch.testing.assert_close(energy, expected[0, 0], rtol=1e-6, atol=0)
    torch.testing.assert_close(batch.forces(gradient), forces, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 3}, "channels: expected an even number"),
        ({"layers": -1}, "layers: expected at least 0"),
        ({"group": "U(1)"}, "group: expected"),
        ({"n_embeddings": 1}, "n_embeddings: expected at least 2"),
    ],
)
def test_what_is_out_of_range(change, message):
    with pytest.raises(SettingsError, match=message):
        TensorNet(("C", "H"), **change)
