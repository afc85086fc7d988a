"""Tensor products of features: one interface, several schemes, and what a decomposition costs.

python examples/tensor_products.py
"""

from __future__ import annotations

import numpy as np

from etn import o3
from etn.product import DecomposedProduct, SphericalProduct, TensorProduct, decompose, fused_cg

rng = np.random.default_rng(0)

# Messages along edges: features of the sender times harmonics of the direction.  The harmonics
# have one channel, so they meet the coupling first, once for all layers.
edges = SphericalProduct("16x0e+16x1o+16x2e", "0e+1o+2e", mode="uvu", scheme="y_first")
directions = o3.spherical_harmonics(2, rng.normal(size=(200, 3)))
K = edges.fold(directions)
x, w = rng.normal(size=(200, edges.irreps_in1.dim)), rng.normal(size=(200, 16))
messages = edges.apply_folded(x, K, w)
print(edges)
print("largest difference to the product itself:", abs(messages - edges(x, directions, w)).max())

# Features times features: both have channels, and a decomposition of the coupling is cheaper.
leg = "32x0e+32x1e+32x2e+32x3e"
products = {
    "cp": DecomposedProduct(leg, leg, leg, mode="uuu"),
    "auto": TensorProduct(leg, leg, leg, mode="uuu", coefficients="free"),
}
a, b = rng.normal(size=(2, 100, products["cp"].irreps_in1.dim))
print("\n" + products["auto"].cost(batch=100))
print("rank", products["cp"].cp_rank, "of an exact form; largest difference:", end=" ")
print(abs(products["cp"](a, b) - products["auto"](a, b)).max())

# A decomposition with an error, and what that means for equivariance.
cp = decompose(fused_cg(l_max=2), cp_rank=20, starts=2, seed=0)
certificate = cp.certificate()
print("\n" + str(certificate))

# The bound holds: rotate the inputs, or the output.
u, v = rng.normal(size=(2, 1000, 9))
u, v = (t / np.linalg.norm(t, axis=1, keepdims=True) for t in (u, v))
D = o3.irreps_d("0e+1e+2e", o3.random_rotation(rng))
error = np.linalg.norm(cp(u @ D.T, v @ D.T) - cp(u, v) @ D.T, axis=1).max()
print(f"\nlargest error of 1000 pairs {error:.3f}, bound {certificate.sup_error:.3f}")
