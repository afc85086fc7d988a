"""Chains that a fit of two layers starts with."""

from __future__ import annotations

import math

import numpy as np

from etn.data.dataset import Dataset
from etn.network import Chain
from etn.network.values import left_values
from etn.o3 import Irreps
from etn.potential.features.basis import Basis
from etn.potential.features.pairs import Pairs
from etn.potential.message_passing.layers import wide_leg
from etn.potential.message_passing.message import SCALAR, MessageCoupling, Messages
from etn.tensor import Core


def make_room(chain: Chain, basis: Basis, coupling: MessageCoupling) -> Chain:
    """The same function, with a last site that has room for messages."""
    core = chain[-1]
    wide = Core([core.legs[0], wide_leg(basis, coupling), core.legs[2]])
    for path, block in core:
        wide.blocks[path][:, : block.shape[1]] = block
    return Chain([*chain.cores[:-1], wide])


def first_layer(basis: Basis, messages: Messages, train: Dataset, *, seed: int) -> dict[str, Chain]:
    """Chains of the first layer to start with.

    Outputs and queries are random, of unit variance over the data; with attention the first
    entry of queries and keys is the constant 1 and the other keys are zero, so that all scores
    are 1.
    """
    rng = np.random.default_rng(seed)
    sites = [basis.leg] * (messages.body_order - 1)

    def random(out: Irreps) -> Chain:
        chain = Chain.random(
            sites, start=basis.start, out=out, max_bond=messages.max_bond, seed=rng
        )
        return normalized(chain, basis, train)

    found = {"value": random(Irreps(messages.outputs))}
    if messages.attention is not None:
        found["query"] = _with_constant(random(messages.score), 1.0)
        found["key"] = _with_constant(random(messages.score), 0.0)
    return found


def normalized(chain: Chain, basis: Basis, train: Dataset, *, n_frames: int = 20) -> Chain:
    """The chain with each irrep of its last bond scaled to unit variance on some frames."""
    step = max(1, len(train) // n_frames)
    pairs = Pairs.find(list(train)[::step], basis.elements, basis.r_max)
    site = basis.expand(pairs).values
    outputs = left_values(chain, basis.start_values(pairs), [site] * len(chain))[-1]
    size = {ir: math.sqrt(float(np.mean(block**2))) or 1.0 for ir, block in outputs.items()}
    last = chain[-1]
    scaled = last.replace({path: block / size[path[2]] for path, block in last})
    return chain.replace(len(chain) - 1, scaled)


def _with_constant(chain: Chain, scale: float) -> Chain:
    """First scalar of the last bond 1 for any atom, the other outputs times a number."""
    cores = []
    for site, core in enumerate(chain):
        blocks = {path: block.copy() for path, block in core}
        if site == len(chain) - 1:
            blocks = {path: scale * block for path, block in blocks.items()}
        for path, block in blocks.items():
            if path[2] == SCALAR:
                block[:, :, 0] = 0.0
        # The constant channel of the leg takes it on; every element starts it.
        elements = slice(None) if site == 0 else slice(1)
        blocks[SCALAR, SCALAR, SCALAR][elements, 0, 0] = 1.0
        cores.append(core.replace(blocks))
    return Chain(cores)
