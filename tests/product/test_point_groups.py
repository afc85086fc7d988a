"""Orders and axes of point groups."""

import numpy as np
import pytest

from etn.errors import SettingsError
from etn.product.fusion import fused_cg
from etn.product.point_groups import axes, images, point_group
from etn.product.solve import decompose


def test_orders_and_axes_of_point_groups():
    # Orders, and numbers of vertices, faces or edges, from any table of point groups.
    orbits = {"C5": [1], "D2": [2, 2, 2], "D3": [2, 3], "D4": [2, 4, 4], "T": [4, 6]}
    orbits |= {"O": [6, 8, 12], "I": [12, 20, 30]}
    orders = {"C5": 5, "D2": 4, "D3": 6, "D4": 8, "T": 12, "O": 24, "I": 60, "Ti": 24, "C3i": 6}
    for name, order in orders.items():
        group = point_group(name)
        assert group.shape == (order, 3, 3)
        products = (group[:, None] @ group).reshape(-1, 1, 9)
        assert np.abs(products - group.reshape(1, -1, 9)).max(axis=2).min(axis=1).max() < 1e-12
    for name, sizes in orbits.items():
        group = point_group(name)
        assert [len(images(group, axis)) for axis in axes(group)] == sizes


@pytest.mark.parametrize("name", ["", "C", "C0", "T2", "Q", "D3x", "Oh"])
def test_unknown_groups(name):
    with pytest.raises(SettingsError, match=r"group: expected C1 to C99, .* got"):
        decompose(fused_cg(l_max=1), 12, method="symmetric", group=name)
