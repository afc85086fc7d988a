"""Drawings by quimb: what is written where, colors, and that nothing global changes."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from etn.errors import CoreError
from etn.network import Chain
from etn.network.views.drawing import draw
from etn.network.views.wiring import Wiring
from etn.tensor import Core

pytest.importorskip("quimb")


def texts(figure: Figure) -> dict[str, tuple[float, float]]:
    """Text and place of every label."""
    return {text.get_text(): text.get_position() for text in figure.axes[0].texts}


def legend(figure: Figure) -> dict[str, str]:
    box = figure.axes[0].get_legend()
    return {
        text.get_text().strip(): to_hex(handle.get_color())
        for text, handle in zip(box.get_texts(), box.legend_handles, strict=True)
    }


def test_a_chain_is_a_line_with_its_irreps_on_the_legs(tmp_path):
    chain = Chain.random(["2x0e+1x1o"] * 3, max_bond=2, seed=0)
    before = dict(mpl.rcParams)
    figure = draw(chain)
    assert dict(mpl.rcParams) == before
    found = {text.split("\n")[0]: place for text, place in texts(figure).items()}
    assert set(found) == {"start", "x0", "b1", "x1", "b2", "x2", "out"}
    assert "x1\n2x0e\n1x1o" in texts(figure)
    on_the_line = [found[label] for label in ("start", "b1", "b2", "out")]
    assert np.ptp([y for _, y in on_the_line]) == pytest.approx(0, abs=1e-12)
    assert np.all(np.diff([x for x, _ in on_the_line]) > 0)
    for site in range(3):
        x, y = found[f"x{site}"]
        assert y < on_the_line[0][1]
        assert x == pytest.approx(found["x0"][0] + site * (found["b2"][0] - found["b1"][0]))
    figure.savefig(tmp_path / "chain.png")
    assert (tmp_path / "chain.png").read_bytes().startswith(b"\x89PNG")


def test_colors_are_those_of_the_largest_degree_on_the_bonds():
    chain = Chain.random(["1x0e+1x1o", "1x1o+1x2e", "1x2e+2x0e"], max_bond="2x0e+1x1o+1x2e", seed=0)
    assert [max(ir.l for ir in bond.unique) for bond in chain.bonds] == [1, 2]
    assert list(legend(draw(chain))) == ["l = 1", "l = 2"]
    # The same degree has the same color everywhere.
    alone = Chain.random(["1x0e+1x2e"] * 2, seed=0)
    assert legend(draw(alone)) == {"l = 2": legend(draw(chain))["l = 2"]}
    # No bond: the legs count.
    assert list(legend(draw(Wiring([Core.random(["1x3o"] * 2, seed=0)], ["ij"])))) == ["l = 3"]


def test_two_bonds_between_two_cores_share_a_label():
    core = Core.random(["1x0e+1x1o"] * 3, seed=0)
    figure = draw(Wiring([core, core], [("i", "a", "b"), ("a", "b", "o")]))
    assert "a\n1x0e\n1x1o\nb\n1x0e\n1x1o" in texts(figure)


def test_options_go_to_quimb():
    chain = Chain.random(["2x0e+1x1o"] * 2, seed=0)
    axes = Figure().add_subplot()
    figure = draw(chain, ax=axes, title="two sites", legend=False, custom_colors=["red"])
    assert figure is axes.figure
    assert axes.get_title() == "two sites"
    assert axes.get_legend() is None
    assert draw(chain, figsize=(3, 2)).get_size_inches().tolist() == [3, 2]
    # A layout of quimb instead of the line.
    places = texts(draw(chain, layout="circular"))
    assert np.ptp([y for _, y in places.values()]) > np.ptp(
        [y for _, y in texts(draw(chain)).values()]
    )
    # The labels of quimb instead of ours.
    assert "x0" in texts(draw(chain, show_inds="all"))
    assert not texts(draw(chain, show_inds="bond-size")).keys() & {"x0", "x0\n2x0e\n1x1o"}


def test_a_drawing_of_wide_cores_makes_none_of_them_dense():
    from etn.o3 import Irreps

    legs = Irreps("4000x0e+4000x1o+4000x2e"), Irreps("4x0e")
    blocks = {
        (ir, legs[1].unique[0], ir): np.broadcast_to(1.0, (4000, 4, 4000)) for ir in legs[0].unique
    }
    huge = Core.trusted((legs[0], legs[1], legs[0]), {}, Core.random(["1x0e"]).kind)
    huge.blocks.update(blocks)
    chain = Chain([huge])
    assert draw(chain).axes
    with pytest.raises(CoreError, match=r"the dense cores of .* would take .* GB"):
        chain.to_quimb()
    with pytest.raises(CoreError, match=r"the dense tensor of Core.* would take .* GB"):
        huge.to_dense()
