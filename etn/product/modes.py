r"""How the channels of a product are combined: the five modes.

With t the coupling of one channel u of the first and one channel v of the second operand,

=======  ===================================  =============  ==========
mode     output channels                      weights        fan-in
=======  ===================================  =============  ==========
``uvw``  z_w = sum_uv w_uvw t(x_u, y_v)       (C1, C2, C3)   C1 C2
``uvu``  z_u = sum_v  w_uv  t(x_u, y_v)       (C1, C2)       C2
``uvv``  z_v = sum_u  w_uv  t(x_u, y_v)       (C1, C2)       C1
``uuw``  z_w = sum_u  w_uw  t(x_u, y_u)       (C1, C3)       C1
``uuu``  z_u =        w_u   t(x_u, y_u)       (C1,)          1
=======  ===================================  =============  ==========
"""

from __future__ import annotations

from typing import Literal

from etn.errors import IrrepsError, SettingsError

__all__ = ["MODES", "Mode", "fan_in", "weight_shape"]

Mode = Literal["uvw", "uvu", "uvv", "uuw", "uuu"]
MODES: tuple[Mode, ...] = ("uvw", "uvu", "uvv", "uuw", "uuu")


def weight_shape(mode: Mode, channels: tuple[int, int, int]) -> tuple[int, ...]:
    """Shape of the weights of one path.

    Parameters
    ----------
    mode : {"uvw", "uvu", "uvv", "uuw", "uuu"}
    channels : (C1, C2, C3)

    Raises
    ------
    SettingsError
        If there is no such mode.
    IrrepsError
        If the mode ties channels whose numbers differ.

    Examples
    --------
    >>> weight_shape("uvu", (64, 1, 64))
    (64, 1)
    >>> weight_shape("uuu", (64, 1, 64))
    Traceback (most recent call last):
    ...
    etn.errors.IrrepsError: mode uuu: expected equal channels of first operand and second operand, \
got 64 and 1
    """
    if mode not in MODES:
        raise SettingsError(f"mode: expected one of {', '.join(MODES)}, got {mode!r}")
    size: dict[str, tuple[int, str]] = {}
    names = ("first operand", "second operand", "output")
    for letter, count, name in zip(mode, channels, names, strict=True):
        known, where = size.setdefault(letter, (count, name))
        if known != count:
            raise IrrepsError(
                f"mode {mode}: expected equal channels of {where} and {name}, got {known} and "
                f"{count}"
            )
    return tuple(count for count, _ in size.values())


def fan_in(mode: Mode, channels: tuple[int, int, int]) -> int:
    """Number of terms that one output channel sums over.

    Examples
    --------
    >>> fan_in("uvw", (8, 4, 16)), fan_in("uuu", (8, 8, 8))
    (32, 1)
    """
    sizes = dict(zip(mode[:2], channels[:2], strict=True))
    total = 1
    for letter, count in sizes.items():
        total *= 1 if letter == mode[2] else count
    return total
