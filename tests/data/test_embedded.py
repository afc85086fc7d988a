"""The embedded sets: the numbers of their documentation, their licence, their names."""

from __future__ import annotations

import ase.io
import pytest

from etn.data import embedded as datasets
from etn.errors import DataError

COUNTS = {  # frames and atoms as the provenance states them
    "Mo/train": (194, 10087),
    "Mo/test": (23, 1189),
    "NbMoTaW/train": (473, 7912),
    "NbMoTaW/test": (80, 1560),
}


def test_available():
    assert set(datasets.available()) == COUNTS.keys()


@pytest.mark.parametrize("name", COUNTS)
def test_counts_and_labels(name):
    frames = ase.io.read(datasets.embedded_path(name), ":", format="extxyz")
    assert (len(frames), sum(map(len, frames))) == COUNTS[name]
    for atoms in frames:
        assert {"energy", "forces", "stress"} <= atoms.calc.results.keys()
        assert atoms.info["config_type"]
        assert atoms.pbc.all()


@pytest.mark.parametrize(
    ("name", "original"),
    [
        ("Mo/train", "Mo_train"),
        ("Mo/test", "Mo_test"),
        ("NbMoTaW/train", "NbMoTaW_slice_train"),
        ("NbMoTaW/test", "NbMoTaW_slice_test"),
    ],
)
@pytest.mark.shared_data
def test_identical_to_the_original(shared_data, name, original):
    expected = (shared_data / "embed" / f"{original}.xyz").read_bytes()
    assert datasets.embedded_path(name).read_bytes() == expected


def test_prefix_is_optional():
    assert datasets.embedded_path("etn:Mo/train") == datasets.embedded_path("Mo/train")


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("etn:Mo/tset", "etn:Mo/test"),
        ("Mo/trian", "etn:Mo/train"),
        ("etn:mo/train", "etn:Mo/train"),
        ("etn:nbmotaw/test", "etn:NbMoTaW/test"),
        ("etn:Mo/../Mo/test", "etn:Mo/test"),
    ],
)
def test_unknown_name(name, nearest):
    with pytest.raises(DataError, match=f"no such embedded set. Did you mean {nearest}\\?") as info:
        datasets.embedded_path(name)
    assert all(f"etn:{known}" in str(info.value) for known in COUNTS)


def test_unknown_name_like_no_other():
    with pytest.raises(
        DataError, match=r"etn:: there is no such embedded set\. Embedded are etn:Mo"
    ):
        datasets.embedded_path("etn:")


def test_notice_holds_both_licences():
    notice = (datasets.embedded_path("Mo/train").parents[1] / "NOTICE").read_text("utf-8")
    for year, repository in ((2019, "mlearn"), (2017, "snap")):
        assert f"Copyright (c) {year}, Materials Virtual Lab" in notice
        assert f"https://github.com/materialsvirtuallab/{repository}" in notice
    assert notice.count("Redistributions in binary form must reproduce") == 2
    assert notice.count("OF THIS SOFTWARE, EVEN IF ADVISED") == 2
