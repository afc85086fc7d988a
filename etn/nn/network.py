"""What every network is: energies of the atoms of a graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import nn

from etn.data.frame import Frame
from etn.errors import DataError, ModelFileError, SettingsError
from etn.nn.graph import Graph
from etn.surface import option

__all__ = ["Network", "network_class"]

# Where the networks that ship with etn are defined; each is imported when it is asked for.
HOMES = {
    "ictp": "etn.nn.ictp",
    "polynomial": "etn.nn.polynomial",
    "tdn": "etn.nn.tdn",
    "tensornet": "etn.nn.tensornet",
}
_CLASSES: dict[str, type[Network]] = {}


class Network(nn.Module, ABC):
    """Answers of the atoms of a graph to their neighbours, without units.

    A subclass must define :attr:`NAME` and :meth:`forward`, and hand the arguments of its
    constructor on as ``super().__init__(elements, r_max, name=value, ...)``: they are what a model
    file keeps beside the weights.  Everything else follows: a
    :class:`~etn.nn.potential.NeuralPotential` adds units, baseline, forces and stress, the trainer
    fits it, and files, command and calculators know it by its name.

    Weights and constants are float64 when they are made, so that no precision rounds them twice;
    what holds the network gives it the precision that it computes in.

    The answer of an atom must be a function of the vectors to its neighbours within a fixed number
    of steps of ``r_max``, invariant under rotation and reflection, and continuous as neighbours
    come and go at ``r_max``.  What an atom without neighbours answers is subtracted afterwards.
    The laws are :class:`etn.testing.PotentialLaws`.

    Parameters
    ----------
    elements : sequence of str
        Chemical symbols.
    r_max : float
        Å.
    **settings
        Arguments of the constructor that made it, of types that JSON holds.
    """

    NAME: ClassVar[str] = ""
    """By which files and the command know the architecture."""

    has_charge: ClassVar[bool] = False
    """Whether it reads the total charge of the frame; one that does not refuses charged frames."""

    has_forces: bool = False
    """Whether :meth:`answers` predicts forces beside the energies, which conserve no energy."""

    def __init__(self, elements: Sequence[str], r_max: float, **settings: Any) -> None:
        super().__init__()
        self.elements = tuple(elements)
        if len(set(self.elements)) != len(self.elements) or not self.elements:
            raise SettingsError(f"elements: expected different symbols, got {list(elements)}")
        self.r_max = float(r_max)
        if not self.r_max > 0:
            raise SettingsError(f"r_max: expected a radius above zero, Å, got {r_max}")
        self.settings: Mapping[str, Any] = settings

    @abstractmethod
    def forward(self, graph: Graph) -> torch.Tensor:
        """The answer of every atom, (atoms,)."""

    def answers(self, graph: Graph) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Answers (atoms,) and forces (atoms, 3) in the same scale, None where they are not."""
        return self(graph), None

    @property
    def last_weights(self) -> tuple[nn.Parameter, ...]:
        """Weights in which the answers are linear with all others fixed, such as the last layer.

        Error bars and grades come from them; a network that states none has none.
        """
        return ()

    @property
    def reach(self) -> float:
        """Radius within which atoms change the answer of an atom, Å.

        ``(1 + layers) * r_max`` with the setting `layers`, or none; a network of more steps must
        say so, as programs that divide space between processes go by it.
        """
        return (1 + int(self.settings.get("layers", 0))) * self.r_max

    def describe(self) -> dict[str, str]:
        """Facts about the network by name, for people."""
        return {}

    @classmethod
    def check_frames(cls, frames: Iterable[Frame]) -> None:
        """Refuse total charges of frames if the network reads none.

        Raises
        ------
        DataError
            If a frame has one.
        """
        charged = [] if cls.has_charge else [frame for frame in frames if frame.charge]
        if charged:
            first, more = charged[0], len(charged) - 1
            others = f" ({more} more frame{'' if more == 1 else 's'} with one)" if more else ""
            raise DataError(
                f"{first.title}: a total charge of {first.charge:g}{others}, which the network "
                f"{cls.NAME} does not read: train tensornet, which does, or leave charges out "
                f"({option('charge_key', None)} as data are read)"
            )

    def __init_subclass__(cls, **options: Any) -> None:
        """Note the name of a class.

        Raises
        ------
        SettingsError
            If another class has it.  A class may be defined anew, as in a notebook.
        """
        super().__init_subclass__(**options)
        name = vars(cls).get("NAME", "")
        if not name:
            return
        known = _CLASSES.get(name)
        home = HOMES.get(name, cls.__module__) if known is None else known.__module__
        if home != cls.__module__ or (known and known.__qualname__ != cls.__qualname__):
            raise SettingsError(
                f"NAME: {name!r} of {cls.__module__}.{cls.__qualname__} is that of another network "
                f"in {home}; choose another"
            )
        _CLASSES[name] = cls


def network_class(name: str) -> type[Network]:
    """The architecture of a name.

    Raises
    ------
    ModelFileError
        If none is known: one of your own is once its class is imported.

    Examples
    --------
    >>> network_class("tensornet").NAME
    'tensornet'
    """
    if name in HOMES:
        import_module(HOMES[name])
    if name not in _CLASSES:
        known = ", ".join(sorted({*HOMES, *_CLASSES}))
        raise ModelFileError(
            f"network: expected one of {known}, got {name!r}; import the module that defines it"
        )
    return _CLASSES[name]
