"""Random choices that keep the proportions of groups."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["stratified_choice"]


def stratified_choice(groups: Sequence[str], size: int, seed: int) -> NDArray[np.bool_]:
    """Choose `size` members, of each group its share rounded up or down.

    The shares n_g · size / n are rounded down, and the members still missing go to the groups with
    the largest remainders (the method of Hamilton); groups with equal remainders draw lots.

    Parameters
    ----------
    groups : sequence of str
        The group of each member.
    size : int
        How many members to choose.
    seed : int
        The same seed gives the same choice.

    Returns
    -------
    (n,) bool
        True for the chosen members.

    Examples
    --------
    >>> chosen = stratified_choice(["bulk"] * 6 + ["surface"] * 3, size=3, seed=0)
    >>> int(chosen[:6].sum()), int(chosen[6:].sum())
    (2, 1)
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(groups))
    members: dict[str, list[int]] = {group: [] for group in dict.fromkeys(groups)}
    for position in order:
        members[groups[position]].append(int(position))
    shares = np.array([len(found) * size / len(groups) for found in members.values()])
    counts = np.floor(shares + 1e-9).astype(int)
    # Groups with equal remainders get their extra member by lot, not by their place in the file.
    lot = rng.permutation(len(shares))
    ranking = lot[np.argsort(-np.round(shares - counts, 9)[lot], kind="stable")]
    counts[ranking[: size - counts.sum()]] += 1
    chosen = np.zeros(len(groups), dtype=bool)
    for found, count in zip(members.values(), counts, strict=True):
        chosen[found[:count]] = True
    return chosen
