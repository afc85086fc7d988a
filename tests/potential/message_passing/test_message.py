"""Settings of messages, and their couplings against the tensors of e3nn."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.o3 import Irreps
from etn.potential.message_passing import MessageCoupling, Messages


def dense_coupling(wigner_3j, coupling, n_max, l_max, outputs, into):
    """The isometric map from edge ⊗ outputs to the leg, from the tensors of e3nn."""
    import torch

    rows = {ir: [] for ir in into.unique}
    at_edge = 0
    for l in range(l_max + 1):
        at_source = 0
        for ir in outputs.unique:
            mul = outputs.count(ir)
            for result, parts in rows.items():
                fits = abs(l - ir.l) <= result.l <= l + ir.l and (-1) ** l * ir.p == result.p
                if not fits:
                    continue
                w = np.sqrt(result.dim) * wigner_3j(l, ir.l, result.l, dtype=torch.float64).numpy()
                for n in range(n_max):
                    for r in range(mul):
                        part = np.zeros((coupling.n_edge, coupling.n_source, result.dim))
                        e, s = at_edge + n * (2 * l + 1), at_source + r * ir.dim
                        part[e : e + 2 * l + 1, s : s + ir.dim] = w
                        parts.append(part)
            at_source += mul * ir.dim
        at_edge += n_max * (2 * l + 1)
    return {ir: np.stack(parts) for ir, parts in rows.items() if parts}


def test_messages_are_couplings_of_e3nn(rng):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        e3nn_o3 = pytest.importorskip("e3nn.o3")
    outputs, into = Irreps("2x0e+1x1o+1x1e+1x2e"), Irreps("1x0e+1x1o+1x1e+1x2e")
    coupling = MessageCoupling(2, 2, outputs, into)
    dense = dense_coupling(e3nn_o3.wigner_3j, coupling, 2, 2, outputs, into)
    assert {ir: len(part) for ir, part in dense.items()} == {
        ir: coupling.leg.count(ir) for ir in coupling.leg.unique
    }
    x = rng.normal(size=(4, 3, coupling.n_edge, coupling.n_source))
    got = coupling.couple(x)
    for ir, part in dense.items():
        np.testing.assert_allclose(got[ir], np.einsum("abes,kesm->abkm", x, part), atol=1e-12)
    g = {ir: rng.normal(size=(4, *part.shape[::3])) for ir, part in dense.items()}
    expected = sum(np.einsum("akm,kesm->aes", g[ir], part) for ir, part in dense.items())
    np.testing.assert_allclose(coupling.uncouple(g), expected, atol=1e-12)


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="couple to none"):
        Messages("1x1e", l_max=0).coupling("1x0e+1x1o")
    with pytest.raises(SettingsError, match="n_max"):
        Messages(n_max=0)
    with pytest.raises(SettingsError, match="l_max"):
        Messages(l_max=-1)
    with pytest.raises(SettingsError, match="body_order"):
        Messages(body_order=1)
    with pytest.raises(SettingsError, match="at least one irrep"):
        Messages("")


def test_settings_survive_their_header():
    messages = Messages("1x1o+2x0e", max_bond="3x1o+4x0e", n_max=3, attention="1x1o")
    assert Messages(**messages.to_header()) == messages
    # Terms of one irrep stand together, and the constant of a score comes first.
    assert str(messages.outputs) == "2x0e+1x1o"
    assert str(messages.score) == "1x0e+1x1o"


@pytest.mark.parametrize("wrong", [{"outputs": "1x13e"}, {"attention": "1x5000o"}, {"l_max": 13}])
def test_degrees_whose_couplings_no_memory_holds_are_refused(wrong):
    with pytest.raises(SettingsError, match=r"messages: l_max: expected 0\.\.12"):
        Messages(**wrong)
    Messages("1x12e", attention="1x12e", l_max=12)
