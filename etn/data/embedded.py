"""Small sets of real ab initio calculations that ship with etn.

They are plain extended XYZ with ``energy`` (eV), ``forces`` (eV/Å), ``stress`` (eV/Å³, tension
positive) and ``config_type`` in every frame. ``sets/NOTICE`` gives source, licence and
citation. Read them by name, ``Dataset.read("etn:Mo/train")``.

=================  ======  =====  ====================================================
name               frames  atoms  what
=================  ======  =====  ====================================================
``Mo/train``       194     10087  mlearn molybdenum, the published training set
``Mo/test``        23      1189   mlearn molybdenum, the published test set
``NbMoTaW/train``  473     7912   elements and binaries, a slice of the training set
``NbMoTaW/test``   80      1560   elements and binaries, a slice of the test set
=================  ======  =====  ====================================================
"""

from __future__ import annotations

import difflib
from importlib.resources import files
from pathlib import Path

from etn.errors import DataError

__all__ = ["PREFIX", "available", "embedded_path"]

PREFIX = "etn:"
"""What marks a name of an embedded set where a path could stand."""


def available() -> tuple[str, ...]:
    """Return the names of the embedded sets.

    Examples
    --------
    >>> available()
    ('Mo/test', 'Mo/train', 'NbMoTaW/test', 'NbMoTaW/train')
    """
    folder = _folder()
    return tuple(
        sorted(
            path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.xyz")
        )
    )


def embedded_path(name: str) -> Path:
    """Return the file of an embedded set, given as ``"etn:Mo/train"`` or ``"Mo/train"``.

    Raises
    ------
    DataError
        If there is no such set.

    Examples
    --------
    >>> embedded_path("etn:Mo/train").name
    'train.xyz'
    >>> embedded_path("etn:Mo/trian")
    Traceback (most recent call last):
    etn.errors.DataError: etn:Mo/trian: there is no such embedded set. Did you mean etn:Mo/train? \
Embedded are etn:Mo/test, etn:Mo/train, etn:NbMoTaW/test, etn:NbMoTaW/train
    """
    plain = name.removeprefix(PREFIX)
    names = available()
    if plain in names:
        return _folder() / f"{plain}.xyz"
    lowered = {known.lower(): known for known in names}
    close = difflib.get_close_matches(plain.lower(), lowered, n=1, cutoff=0.3)
    hint = f"Did you mean {PREFIX}{lowered[close[0]]}? " if close else ""
    raise DataError(
        f"{PREFIX}{plain}: there is no such embedded set. {hint}Embedded are "
        f"{', '.join(PREFIX + known for known in names)}"
    )


def _folder() -> Path:
    # The wheel is unpacked on installation, so the resources are files.
    return Path(str(files(__package__))) / "sets"
