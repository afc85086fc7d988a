"""What to say where a label is missing: which keys there are, and how to name the one to read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from etn.data.labels import LabelKeys, looks_like
from etn.data.on_disk import Chosen, chosen
from etn.errors import DataError
from etn.surface import option

if TYPE_CHECKING:
    from etn.data.dataset import Dataset
    from etn.data.frame import Frame

__all__ = [
    "LABEL_NAMES",
    "check_some_label",
    "key_hint",
    "lacks",
    "list_keys",
    "named_keys",
    "other_keys",
    "unperiodic",
]

_MOST_KEYS = 12  # listed before "and n more"
LABEL_NAMES = {"energy": "an energy", "forces": "forces", "stress": "a stress"}
_MEANINGS = {
    "energy": "the total energy in eV",
    "forces": "the forces in eV/Å",
    "stress": "the stress",
    "virial": "the virial -V·stress in eV",
}


def lacks(frame: Frame, label: str) -> bool:
    """Whether a frame could have this label and does not."""
    return getattr(frame, label) is None and (label != "stress" or bool(frame.pbc.all()))


def unperiodic(frames: Sequence[Frame], keys: LabelKeys) -> Chosen[Frame]:
    """Frames whose stress was not read because a direction is not periodic."""
    names = keys.used().get("stress", ())
    return chosen(frames, lambda f: any(("stress", name) in f.unread for name in names))


def named_keys(frames: Iterable[Frame], label: str, keys: LabelKeys) -> dict[str, int]:
    """The number of frames with each key that sounds like a label and is not read."""
    found = other_keys(frames, label, keys)
    return {key: count for key, count in found.items() if looks_like(label, key)}


def other_keys(frames: Iterable[Frame], label: str, keys: LabelKeys) -> dict[str, int]:
    """The number of frames with each key that has the shape of a label and is not read.

    Those that sound like the label come alone where there are such.
    """
    used = keys.used().get(label, ())
    counts = Counter(key for f in frames for of, key in f.unread if of == label and key not in used)
    alike = {key: count for key, count in counts.items() if looks_like(label, key)}
    return alike or dict(counts)


def key_hint(frames: Sequence[Frame], label: str, keys: LabelKeys) -> str:
    """The keys that may hold a label, and how to have the right one read.

    Which of them it is only the user knows: a key is proposed on the condition that it holds the
    label, and energies per atom by their name are not.

    Examples
    --------
    >>> from etn.data import Dataset
    >>> some = Dataset.read("etn:Mo/test", energy="E")
    >>> key_hint(some, "energy", some.label_keys)
    'but there is energy (23 frames): if it holds the total energy in eV, give energy="energy"'
    """
    found = other_keys(frames, label, keys)
    if not found:
        return f"and no other key holds what could be {_MEANINGS[label]}"
    fit = [key for key in found if not _is_per_atom(key)]
    if not any(looks_like(label, key) for key in found):
        names = " or ".join(option(setting, "NAME") for setting in _settings(label, None))
        return (
            f"and no key is called like it; of its shape there are {list_keys(found)}: if one "
            f"of them holds {_MEANINGS[label]}, give {names}"
        )
    there = f"but there {'is' if len(found) == 1 else 'are'} {list_keys(found)}"
    if not fit:
        return f"{there}: the total energy of a frame is expected, not that of an atom"
    hints = []
    for setting in _settings(label, fit):
        of_setting = [key for key in fit if setting in _settings(label, [key])]
        meaning = _MEANINGS[setting.removesuffix("_key")]
        one = of_setting[0] if len(of_setting) == 1 else ""
        which = (one if len(found) > 1 else "it") if one else "one of them"
        hints.append(f"if {which} holds {meaning}, give {option(setting, one or 'NAME')}")
    return f"{there}: {'; '.join(hints)}"


def _settings(label: str, names: Sequence[str] | None) -> list[str]:
    """The settings that name the key of a label; a key that sounds like a virial is one."""
    if label != "stress":
        return [f"{label}_key"]
    is_virial = [None] if names is None else ["virial" in name.lower() for name in names]
    chosen = [] if all(one is True for one in is_virial) else ["stress_key"]
    return chosen + ([] if all(one is False for one in is_virial) else ["virial_key"])


def _is_per_atom(key: str) -> bool:
    plain = key.lower().replace("_", "").replace("-", "").replace(" ", "").replace("/", "per")
    return "peratom" in plain


def list_keys(counts: dict[str, int]) -> str:
    """Keys with the number of frames that have them."""
    shown = [f"{key} ({n} frame{'' if n == 1 else 's'})" for key, n in counts.items()]
    more = len(shown) - _MOST_KEYS
    return ", ".join(shown[:_MOST_KEYS] + ([f"and {more} more"] if more > 0 else []))


def check_some_label(dataset: Dataset, *, what: str = "nothing to test on", then: str) -> None:
    """Check that there is something to compare with.

    Parameters
    ----------
    dataset : Dataset
    what, then : str
        What is wrong without, and what else could be done.

    Raises
    ------
    DataError
        If no frame has any label, with the keys that there are.
    """
    if any(dataset.labels.values()):
        return
    keys = dataset.label_keys
    used = keys.used()
    hints = []
    for label in used:
        if not any(lacks(frame, label) for frame in dataset):
            continue
        hint = key_hint(dataset, label, keys)
        if label != "stress" or hint.startswith("but"):  # few files have one
            hints.append(f"no frame has {LABEL_NAMES[label]} ({keys.describe(label)}), {hint}")
    if not hints:
        hints = ["all labels are left out, or stresses without periodicity"]
    raise DataError(f"{dataset.source or 'the data'}: {what}: {'; '.join(hints)}; {then}")
