"""The options of commands that read labels: under which keys, in which form."""

from __future__ import annotations

from typing import Annotated, Any

import typer

EnergyKey = Annotated[str, typer.Option(metavar="NAME", help="Key of the total energy, eV.")]
ForcesKey = Annotated[str, typer.Option(metavar="NAME", help="Key of the forces, eV/Å.")]
StressKey = Annotated[str, typer.Option(metavar="NAME", help="Key of the stress.")]
VirialKey = Annotated[
    str,
    typer.Option(metavar="NAME", help="Key of the virial -V·stress in eV, read as the stress."),
]
StressUnit = Annotated[
    str, typer.Option(metavar="UNIT", help="Unit of the stress in the files, such as GPa or kbar.")
]
StressConvention = Annotated[
    str,
    typer.Option(
        metavar="tension|compression|vasp",
        help="Sign of stresses and virials in the files; vasp: compression, six numbers in the "
        "order xx yy zz xy yz zx. none: tension for a stress, compression for a virial.",
    ),
]
ChargeKey = Annotated[
    str, typer.Option(metavar="NAME", help="Key of the total charge; none: all are neutral.")
]


def label_keys(
    energy_key: str,
    forces_key: str,
    stress_key: str,
    virial_key: str,
    stress_unit: str,
    stress_convention: str,
    charge_key: str,
) -> dict[str, Any]:
    """The values of these options as arguments of ``Dataset.read``."""
    from etn.run.parsing import to_optional

    return {
        "energy": to_optional(energy_key),
        "forces": to_optional(forces_key),
        "stress": to_optional(stress_key),
        "virial": to_optional(virial_key),
        "stress_unit": stress_unit,
        "stress_convention": to_optional(stress_convention),
        "charge": to_optional(charge_key),
    }
