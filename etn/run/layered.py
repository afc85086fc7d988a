"""The settings of a fit of two layers, and which settings a choice of layers brings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, model_validator
from pydantic.fields import FieldInfo

from etn.data.dataset import Dataset
from etn.errors import SettingsError
from etn.potential.baseline import Baseline
from etn.potential.features.basis import Basis
from etn.potential.message_passing import (
    LayersReport,
    MessagePassingPotential,
    Messages,
    fit_layers,
)
from etn.run import parsing
from etn.run.options import option
from etn.run.settings import CommonSettings, FitSettings
from etn.run.sizes import default_of

__all__ = ["LayersSettings", "all_fields", "settings_for"]


class LayersSettings(CommonSettings):
    """Everything that can be set in the fit of a message passing potential.

    The settings of :class:`FitSettings` but for the joint steps, and those of the messages, which
    are the arguments of :class:`~etn.potential.Messages`.

    Raises
    ------
    SettingsError
        If a name is unknown or a value out of range; the message names all of them.

    Examples
    --------
    >>> settings = LayersSettings(train="etn:Mo", attention="1x0e")
    >>> settings.layers, settings.messages().attention
    (2, '1x0e')
    """

    layers: Annotated[Literal[2], BeforeValidator(parsing.to_count)] = option(
        2, str(FitSettings.model_fields["layers"].description), form="1|2"
    )
    outputs: Annotated[str, BeforeValidator(parsing.to_irreps)] = option(
        default_of(Messages, "outputs"),
        "Irreps of what an atom tells its neighbours.",
        form="IRREPS",
    )
    attention: Annotated[str | None, BeforeValidator(parsing.to_optional_irreps)] = option(
        default_of(Messages, "attention"),
        "Irreps of the queries and keys that weigh the messages; none sums them as they are.",
        form="IRREPS",
    )
    message_body_order: int = option(
        default_of(Messages, "body_order"),
        "Most atoms in one term of what an atom tells.",
        ge=2,
        le=12,
    )
    message_bond: Annotated[int | str, BeforeValidator(parsing.to_bond)] = option(
        default_of(Messages, "max_bond"),
        "Multiplicities on the bonds of the first layer: one for all l, or irreps.",
        form="INT|IRREPS",
    )
    message_n_max: int = option(
        default_of(Messages, "n_max"),
        "Radial functions of the edges that carry messages.",
        ge=1,
        le=50,
    )
    message_l_max: int = option(
        default_of(Messages, "l_max"),
        "Highest degree of the harmonics of these edges.",
        ge=0,
        le=12,
    )
    max_cycles: int = option(
        default_of(fit_layers, "max_cycles"), "Most cycles through the chains of both layers.", ge=1
    )
    cycle_rel_tol: float = option(
        default_of(fit_layers, "rel_tol"),
        "The fit ends once a cycle lowers the loss by less than this fraction.",
        ge=0,
        lt=1,
    )

    @model_validator(mode="after")
    def _check_messages(self) -> LayersSettings:
        self.messages()
        return self

    def messages(self) -> Messages:
        """The first layer and what it sends."""
        return Messages(
            self.outputs,
            body_order=self.message_body_order,
            max_bond=self.message_bond,
            n_max=self.message_n_max,
            l_max=self.message_l_max,
            attention=self.attention,
        )

    def potential(self, basis: Basis, baseline: Baseline) -> MessagePassingPotential:
        """The potential that is fitted."""
        return MessagePassingPotential(
            basis,
            self.messages(),
            body_order=self.body_order,
            max_bond=self.max_bond,
            baseline=baseline,
        )

    def fit_potential(
        self, model: MessagePassingPotential, train: Dataset, **options: Any
    ) -> LayersReport:
        """Fit it; `options` are `valid`, `callbacks` and `resume`."""
        return fit_layers(
            model,
            train,
            max_cycles=self.max_cycles,
            rel_tol=self.cycle_rel_tol,
            **self._arguments(),
            **options,
        )


def all_fields() -> dict[str, FieldInfo]:
    """The settings of both kinds of potential by name, those of a second layer last."""
    own = FitSettings.model_fields
    return own | {k: f for k, f in LayersSettings.model_fields.items() if k not in own}


KINDS: dict[str, type[CommonSettings]] = {"1": FitSettings, "2": LayersSettings}


def settings_for(**given: Any) -> CommonSettings:
    """Settings of the kind of potential that `layers` says, one layer by default.

    A setting of the other kind may have its default, which says nothing: so the file of a run may
    serve for a run of the other kind.

    Raises
    ------
    SettingsError
        If `layers` is neither 1 nor 2, or a setting belongs to the other kind, is unknown or out
        of range.

    Examples
    --------
    >>> type(settings_for(train="etn:Mo", layers=2)).__name__
    'LayersSettings'
    >>> settings_for(train="etn:Mo", attention="1x0e")
    Traceback (most recent call last):
    etn.errors.SettingsError: settings: attention: expected with layers = 2 only, got layers = 1
    """
    number = str(given.get("layers", 1)).strip()
    if number not in KINDS:
        raise SettingsError(f"settings: layers: expected 1 or 2, got {number:.80}")
    for other, kind in KINDS.items():
        foreign = given.keys() & kind.model_fields.keys() - KINDS[number].model_fields.keys()
        told = sorted(name for name in foreign if given[name] != kind.model_fields[name].default)
        if told:
            raise SettingsError(
                f"settings: {', '.join(told)}: expected with layers = {other} only, "
                f"got layers = {number}"
            )
        given = {name: value for name, value in given.items() if name not in foreign}
    return KINDS[number](**given)
