"""Build a chain of equivariant cores, bring it into canonical form, and look inside."""

from __future__ import annotations

import numpy as np

from etn import Chain, Irreps, o3

# Four sites that all read the same leg; the first 0e is meant as a constant channel.
leg = Irreps("1x0e+2x0e+2x1o+1x2e")
chain = Chain.random([leg] * 4, out="0e", max_bond=2, seed=0)
print(chain)

# Canonical around site 2: isometries left and right of it, so its norm is that of the tensor.
canonical = chain.canonicalize(center=2)
print(canonical.show())
print("bonds:", ", ".join(map(str, canonical.bonds)))
print(f"norm {canonical.norm():.6f}, orthogonality error {canonical.orthogonality_error():.1e}")
assert canonical.orthogonality_error() < 1e-12

# The dense tensor, with axes (start, four sites, out), is the same before and after.
dense = chain.to_dense()
print(f"{chain.n_parameters} parameters describe a dense tensor of {dense.size} entries")
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

# One more site, passed through its constant channel: the same function of the constant leg.
longer = canonical.insert(2, channel=0)
assert len(longer) == 5
assert np.allclose(longer.to_dense()[:, :, :, 0], dense)
