"""The settings of each network: arguments of its constructor, and what sizes stand for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, model_validator

from etn.data.dataset import Dataset
from etn.errors import SettingsError
from etn.nn.ictp import ICTP, Products, SharingName, Variant
from etn.nn.model import DTYPES
from etn.nn.polynomial import from_module, to_module
from etn.nn.potential import NeuralPotential
from etn.nn.progress import TrainingReport
from etn.nn.radial import CutoffName, RadialName
from etn.nn.tdn import TDN, ForcesName
from etn.nn.tensornet import TensorNet
from etn.o3.cartesian.rank2 import Group
from etn.potential.base import load
from etn.potential.baseline import Baseline
from etn.potential.fitting.calibration import with_uncertainty
from etn.potential.polynomial import PolynomialPotential
from etn.run import parsing
from etn.run.options import option
from etn.run.record import Record
from etn.run.sizes import default_of
from etn.run.training import TrainingSettings

__all__ = [
    "KINDS",
    "ICTPSettings",
    "PolynomialSettings",
    "TDNSettings",
    "TensorNetSettings",
    "training_settings",
]

Sizes = Mapping[str, Mapping[str, Any]]

_CUTOFF = "How functions end at r_max; with cosine forces have a kink there."


class TensorNetSettings(TrainingSettings):
    """Everything that can be set in the training of :class:`~etn.nn.tensornet.TensorNet`.

    Raises
    ------
    SettingsError
        If a name is unknown or a value out of range; the message names all of them.

    Examples
    --------
    >>> settings = TensorNetSettings(train="etn:Mo", size="medium", layers=1)
    >>> settings.channels, settings.layers
    (64, 1)
    """

    network: Literal["tensornet"] = option("tensornet", "Architecture.", form="tensornet")
    channels: int = option(
        default_of(TensorNet, "channels"), "Matrices of every atom.", ge=2, le=4096
    )
    layers: int = option(default_of(TensorNet, "layers"), "Interactions.", ge=0, le=20)
    n_max: int = option(default_of(TensorNet, "n_max"), "Radial functions.", ge=1, le=500)
    radial: RadialName = option(
        default_of(TensorNet, "radial"), "Radial functions.", form="|".join(get_args(RadialName))
    )
    cutoff_name: CutoffName = option(
        default_of(TensorNet, "cutoff_name"),
        _CUTOFF,
        form="|".join(get_args(CutoffName)),
    )
    group: Group = option(
        default_of(TensorNet, "group"), "With SO(3) mirror images differ.", form="O(3)|SO(3)"
    )

    NETWORK = ("channels", "layers", "n_max", "radial", "cutoff_name", "group")
    SIZES: ClassVar[Sizes] = {
        "small": {"channels": 32, "layers": 1, "n_max": 16},
        "medium": {"channels": 64, "layers": 2, "n_max": 32},
        "large": {"channels": 128, "layers": 2, "n_max": 32},
    }


class ICTPSettings(TrainingSettings):
    """Everything that can be set in the training of :class:`~etn.nn.ictp.ICTP`.

    Raises
    ------
    SettingsError
        If a name is unknown or a value out of range; the message names all of them.

    Examples
    --------
    >>> ICTPSettings(train="etn:Mo", size="medium").channels
    32
    """

    network: Literal["ictp"] = option("ictp", "Architecture.", form="ictp")
    # Its weights are of unit size, as those of products are, and move by larger steps.
    learning_rate: float = option(3e-2, "Largest learning rate.", gt=0, le=10)
    channels: int = option(default_of(ICTP, "channels"), "Of every irrep.", ge=1, le=4096)
    l_max: int = option(
        default_of(ICTP, "l_max"),
        "Degree of the tensors of directions and their sums.",
        ge=0,
        le=12,
    )
    l_hidden: int = option(
        default_of(ICTP, "l_hidden"), "Degree of what atoms tell each other.", ge=0, le=12
    )
    order: int = option(
        default_of(ICTP, "order"), "Most factors in a product of sums over neighbours.", ge=1, le=8
    )
    layers: int = option(default_of(ICTP, "layers"), "Interactions.", ge=1, le=20)
    variant: Variant = option(
        default_of(ICTP, "variant"),
        "Products: sym, a basis of them; full, every path; sym+lt, the basis in fewer channels.",
        form="|".join(get_args(Variant)),
    )
    latent: Annotated[int | None, BeforeValidator(parsing.to_optional)] = option(
        default_of(ICTP, "latent"), "Channels of sym+lt; none: half of them.", form="INT", ge=1
    )
    parity: Literal["even", "full"] = option(
        default_of(ICTP, "parity"),
        "Tensors of parity (-1)^l and even paths alone, or of both parities and all paths.",
        form="even|full",
    )
    products: Products = option(
        default_of(ICTP, "products"),
        "How products of messages are computed, to the same end; cp shares weights.",
        form="|".join(get_args(Products)),
    )
    sharing: SharingName = option(
        default_of(ICTP, "sharing"),
        "Radial weights of each path of a message, or of all.",
        form="|".join(get_args(SharingName)),
    )
    n_max: int = option(default_of(ICTP, "n_max"), "Radial functions.", ge=1, le=500)
    radial: RadialName = option(
        default_of(ICTP, "radial"), "Radial functions.", form="|".join(get_args(RadialName))
    )
    cutoff_name: CutoffName = option(
        default_of(ICTP, "cutoff_name"), _CUTOFF, form="|".join(get_args(CutoffName))
    )
    hidden: int = option(default_of(ICTP, "hidden"), "Width of the radial network.", ge=1, le=4096)

    NETWORK = (
        "channels", "l_max", "l_hidden", "order", "layers", "variant", "latent", "parity",
        "products", "sharing", "n_max", "radial", "cutoff_name", "hidden",
    )  # fmt: skip
    SIZES: ClassVar[Sizes] = {
        "small": {"channels": 16, "l_max": 2, "l_hidden": 1, "hidden": 32},
        "medium": {"channels": 32, "l_max": 3, "l_hidden": 1, "hidden": 64},
        "large": {"channels": 64, "l_max": 3, "l_hidden": 2, "hidden": 64},
    }


class TDNSettings(TrainingSettings):
    """Everything that can be set in the training of :class:`~etn.nn.tdn.TDN`.

    Raises
    ------
    SettingsError
        If a name is unknown or a value out of range; the message names all of them.

    Examples
    --------
    >>> TDNSettings(train="etn:Mo", products="cp").products
    'cp'
    """

    network: Literal["tdn"] = option("tdn", "Architecture.", form="tdn")
    # Most of its weights are of unit size.
    learning_rate: float = option(2e-2, "Largest learning rate.", gt=0, le=10)
    channels: int = option(default_of(TDN, "channels"), "Of every degree.", ge=1, le=4096)
    l_max: int = option(default_of(TDN, "l_max"), "Highest degree.", ge=1, le=12)
    layers: int = option(default_of(TDN, "layers"), "Blocks.", ge=1, le=20)
    heads: int = option(default_of(TDN, "heads"), "Of the attention.", ge=1, le=64)
    products: str = option(
        default_of(TDN, "products"),
        "exact; cp, the exact CP table; cp:RANK, the best of that rank, not quite equivariant; "
        "even, the table of the even paths.",
        form="exact|cp|cp:RANK|even",
    )
    group: Group = option(
        default_of(TDN, "group"), "With SO(3) mirror images differ.", form="O(3)|SO(3)"
    )
    forces: ForcesName = option(
        default_of(TDN, "forces"),
        "Derivatives of the energy, or predicted beside it: then no energy is conserved.",
        form="|".join(get_args(ForcesName)),
    )
    n_max: int = option(default_of(TDN, "n_max"), "Radial functions.", ge=1, le=500)
    radial: RadialName = option(
        default_of(TDN, "radial"), "Radial functions.", form="|".join(get_args(RadialName))
    )
    cutoff_name: CutoffName = option(
        default_of(TDN, "cutoff_name"), _CUTOFF, form="|".join(get_args(CutoffName))
    )
    hidden: int = option(default_of(TDN, "hidden"), "Width of the radial network.", ge=1, le=4096)

    NETWORK = (
        "channels", "l_max", "layers", "heads", "products", "group", "forces", "n_max", "radial",
        "cutoff_name", "hidden",
    )  # fmt: skip
    SIZES: ClassVar[Sizes] = {
        "small": {"channels": 32, "l_max": 1, "layers": 2, "hidden": 32},
        "medium": {"channels": 64, "l_max": 2, "layers": 2, "hidden": 64},
        "large": {"channels": 128, "l_max": 2, "layers": 3, "hidden": 64},
    }


class PolynomialSettings(TrainingSettings):
    """Everything that can be set when gradients polish a fitted polynomial potential.

    All cores and the radial channels move together, in float64, by small steps; radius, baseline
    and the end of the data stay those of the fit, and cannot be set.  The result is a polynomial
    potential again.

    Raises
    ------
    SettingsError
        If a name is unknown or a value out of range; the message names all of them.

    Examples
    --------
    >>> PolynomialSettings(train="etn:Mo", from_="model.etn").learning_rate
    0.0001
    """

    network: Literal["polynomial"] = option("polynomial", "Architecture.", form="polynomial")
    from_: Annotated[str, BeforeValidator(parsing.to_file)] = option(
        ..., "Model file of the polynomial potential to begin with.", form="FILE", min_length=1
    )
    dtype: Literal["float32", "float64"] = option(
        "float64", "Precision of the training.", form="float32|float64"
    )
    learning_rate: float = option(1e-4, "Largest learning rate.", gt=0, le=10)

    FILES = ("from_",)
    KEPT = ("r_max", "e0", "zbl", "below", "share")

    @model_validator(mode="after")
    def _check_kept(self) -> Self:
        for name in self.KEPT:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"{name}: expected none, as a fit that is polished keeps its own; got "
                    f"{getattr(self, name)!r}"
                )
        return self

    def make(self, data: Dataset, baseline: Baseline) -> NeuralPotential:
        """The potential as a network, with the baseline of its own."""
        potential = self._fitted()
        return NeuralPotential(to_module(potential, DTYPES[self.dtype]), potential.baseline)

    def run(
        self,
        model: NeuralPotential,
        train: Dataset,
        *,
        valid: Dataset | None,
        record: Record,
        callbacks: Sequence[Any] = (),
    ) -> TrainingReport:
        """Polish it, and give it the error bars of its new cores."""
        report = super().run(model, train, valid=valid, record=record, callbacks=callbacks)
        assert isinstance(report.model, NeuralPotential)
        polished = from_module(report.model, self._fitted())
        if self.uncertainty:
            polished = with_uncertainty(polished, train, valid=valid, weights=self.weights())
        return replace(report, model=polished)

    def _fitted(self) -> PolynomialPotential:
        potential = load(self.from_)
        if not isinstance(potential, PolynomialPotential) or potential.chain is None:
            raise SettingsError(
                f"from_: expected the file of a fitted polynomial potential, {self.from_} holds "
                f"{potential!r}"
            )
        return potential


KINDS: dict[str, type[TrainingSettings]] = {
    "tensornet": TensorNetSettings,
    "ictp": ICTPSettings,
    "tdn": TDNSettings,
    "polynomial": PolynomialSettings,
}
"""Settings of the training of each network, by its name."""


def training_settings(**given: Any) -> TrainingSettings:
    """Settings of the training of the network that `network` names.

    Raises
    ------
    SettingsError
        If there is no such network, or a setting is unknown or out of range.

    Examples
    --------
    >>> type(training_settings(train="etn:Mo", network="tensornet")).__name__
    'TensorNetSettings'
    """
    name = given.get("network")
    if name not in KINDS:
        raise SettingsError(f"settings: network: expected one of {', '.join(KINDS)}, got {name!r}")
    return KINDS[name](**given)
