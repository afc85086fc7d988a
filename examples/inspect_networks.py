"""Build a chain of equivariant cores, look inside, truncate it, and recouple it as a tree."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from etn import Chain, Irreps, o3
from etn.network import Tree, load, save
from etn.tensor import Truncation

# Four sites that all read the same leg; the first 0e is meant as a constant channel.
leg = Irreps("1x0e+2x0e+2x1o+1x2e")
chain = Chain.random([leg] * 4, out="0e", max_bond=4, seed=0)
print(chain)

# Canonical around site 2: isometries left and right of it, so its norm is that of the tensor.
canonical = chain.canonicalize(center=2)
print(canonical.show())
print(canonical.info())
print(f"norm {canonical.norm():.6f}, orthogonality error {canonical.orthogonality_error():.1e}")
assert canonical.orthogonality_error() < 1e-12

# The dense tensor, with axes (start, four sites, out), is the same before and after.
dense = chain.to_dense()
assert dense.shape == (1, *[leg.dim] * 4, 1)
assert np.allclose(canonical.to_dense(), dense)
assert np.isclose(canonical.norm(), np.linalg.norm(dense))

# It is invariant under rotations and reflections of all four legs together.
D = o3.irreps_d(leg, o3.random_rotation(np.random.default_rng(0), reflect=True))
rotated = np.einsum("sabcdo,ai,bj,ck,dl->sijklo", dense, D, D, D, D, optimize=True)
assert np.allclose(rotated, dense)

# A core is a set of reduced arrays, one for each triple of irreps that may couple.
print(canonical[2])
for (left, site, right), block in canonical[2].blocks.items():
    print(f"  {left} x {site} -> {right}: {block.shape}")

# Singular values of a bond: one of irrep l stands for 2 l + 1 of the dense matrix.
spectrum = canonical.singular_values(1)
expected = np.linalg.svd(dense.reshape(leg.dim**2, -1), compute_uv=False)
values = sorted((s for ir in spectrum for s in np.repeat(spectrum[ir], ir.dim)), reverse=True)
print(f"bond 1: entropy {spectrum.entropy():.4f}")
print(spectrum)
assert np.allclose(values, expected[: len(values)])

# Rules combine; what they drop is known, and it is the error of the dense tensor.
small = chain.truncate(Truncation(max_bond=3) & Truncation(rel_tol=1e-8))
error = float(np.linalg.norm(small.to_dense() - dense))
print(f"{chain.n_parameters} -> {small.n_parameters} parameters, error {error:.6f}")
assert np.isclose(small.discarded_weight, error)

# The same tensor with its legs coupled in pairs, by 6j symbols on the reduced blocks; leaf 0 is
# the start of the chain.
tree = Tree.from_chain(small).reshape(((0, 1), (2, (3, 4))))
print(tree)
assert np.allclose(tree.to_dense(), small.to_dense())

# One more site, passed through its constant channel: the same function of the constant leg.
longer = canonical.insert(2, channel=0)
assert len(longer) == 5
assert np.allclose(longer.to_dense()[:, :, :, 0], dense)

# Files hold arrays and JSON.
with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "tree.etn"
    save(tree, path)
    loaded = load(path)
assert isinstance(loaded, Tree)
assert np.array_equal(loaded.to_dense(), tree.to_dense())
