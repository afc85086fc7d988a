"""What is fuzzed: for every way that text or bytes come in, a check and the seeds to start from.

A check takes bytes and returns where etn accepts them or refuses them with an error of its own;
anything else that is raised is a fault.  An accepted value must also hold what is said of it.  A
file that was read must be as it was, and nothing may lie beside it.

``fuzz.py`` in this folder runs a target for minutes, guided by coverage; ``test_fuzz.py`` runs each
for a second, always on the same bytes.
"""

from __future__ import annotations

import copy
import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from etn.errors import EtnError

MEGABYTES = 2048
"""Most memory that the process of a target may take; libFuzzer holds it to that."""
SECONDS = 10
"""Longest that one input may take."""


class Target(NamedTuple):
    """A way in."""

    check: Callable[[bytes], bool]
    """Whether the bytes were accepted; raises what no input may raise."""
    seeds: Callable[[], list[bytes]]
    """Inputs that are accepted, or nearly so."""
    max_length: int = 4096


def text_of(data: bytes) -> str:
    """Any bytes as text, as Python reads a command line."""
    return data.decode("utf-8", "surrogateescape")


class Choices:
    """Reads numbers and pieces off the bytes of the fuzzer; zeros once they are used up."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def number(self, below: int) -> int:
        """A number 0..below-1, of one byte or two."""
        size = 1 if below <= 256 else 2
        taken, self.rest = self.rest[:size], self.rest[size:]
        return int.from_bytes(taken, "little") % max(1, below)

    def of(self, items: Any) -> Any:
        """One of the items."""
        return items[self.number(len(items))]

    def text(self) -> str:
        """Some text."""
        size = self.number(64)
        taken, self.rest = self.rest[:size], self.rest[size:]
        return taken.decode("utf-8", "replace")


# -- Irreps ------------------------------------------------------------------------------------


def check_irreps(data: bytes) -> bool:
    """Text to irreps; the text of the irreps gives them again."""
    from etn.o3 import Irrep, Irreps

    try:
        irreps = Irreps(text_of(data))
    except EtnError:
        try:
            Irrep(text_of(data))
        except EtnError:
            return False
        raise AssertionError("an irrep that is no irreps") from None
    assert Irreps(str(irreps)) == irreps
    assert irreps.dim == sum(mul * (2 * ir.l + 1) for mul, ir in irreps)
    assert irreps.regroup().dim == irreps.simplify().dim == irreps.dim
    assert irreps.sort().irreps.regroup() == irreps.regroup()
    return True


# -- Symmetries of Cartesian indices -----------------------------------------------------------


def check_indices(data: bytes) -> bool:
    """Text to a symmetry; its text gives it again, and its group has the order of one."""
    import math

    from etn.o3.cartesian.indices import parse

    try:
        symmetry = parse(text_of(data))
    except EtnError:
        return False
    assert parse(str(symmetry).strip('"')).generators == symmetry.generators
    if symmetry.rank < 12:
        assert math.factorial(symmetry.rank) % symmetry.order == 0
        assert all(len({*g.axes}) == symmetry.rank for g in symmetry.generators)
    return True


# -- Formulas of networks ----------------------------------------------------------------------


def check_formula(data: bytes) -> bool:
    """Text to a network of small cores; its formula gives it again, and it can be contracted."""
    from etn.network import Network
    from etn.network.graphs.formula import parse

    text = text_of(data)
    try:
        labels = parse(text).labels
    except EtnError:
        labels = {}
    cores = {name: _core(min(3, max(1, len(legs)))) for name, legs in labels.items()}
    try:
        network = Network(text, **cores)
    except EtnError:
        return False
    again = Network(network.formula, **cores)
    assert again.labels == network.labels
    assert again.open == network.open
    if len(labels) <= 8 and len(network.open) <= 6:
        assert network.contract().shape == (4,) * len(network.open)
        str(network.report())
        repr(network)
    return True


@functools.cache
def _core(order: int) -> Any:
    from etn.tensor import Core

    return Core.random(["1x0e+1x1o"] * order, seed=order)


# -- Settings ----------------------------------------------------------------------------------


def check_yaml(data: bytes) -> bool:
    """A settings file; accepted settings are written and read again as they are."""
    from etn.run.kinds import load_settings

    with Folder({"settings.yaml": data}) as folder:
        try:
            settings = load_settings(folder / "settings.yaml")
        except (EtnError, OSError):
            return False
    text = settings.dump()
    with Folder({"settings.yaml": text.encode()}) as folder:
        again = load_settings(folder / "settings.yaml")
    assert again == settings, (again, settings)
    return True


def check_command(data: bytes) -> bool:
    """The options of ``etn fit``, one byte for the option and the rest to the next NUL its value.

    The data to fit do not exist: what is good ends there.
    """
    from typer.testing import CliRunner

    from etn.cli import app
    from etn.run.layered import all_fields

    flags = [f"--{name.replace('_', '-')}" for name in all_fields() if name != "train"]
    arguments = []
    for piece in data.split(b"\0"):
        if piece:
            value = text_of(piece[1:])
            arguments.append(f"{flags[piece[0] % len(flags)]}={value}")
    with Folder({}) as folder:
        out = ["--out", str(folder / "run")]
        result = CliRunner().invoke(app(), ["fit", str(folder / "none.xyz"), *out, *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 2, result.output
    return "none.xyz" in result.output


def seeds_of_commands() -> list[bytes]:
    """One option and value each, and some together."""
    from etn.run.layered import all_fields

    names = [name for name in all_fields() if name != "train"]
    values = {
        "max_bond": "5,4,3", "e0": "Mo=-4.2,Nb=1e3", "kind_weights": "Surface=2,Elastic=0.5",
        "valid": "0.1", "ridge": "evidence", "layers": "2", "size": "small", "memory": "1.5",
        "outputs": "2x0e+1x1o", "attention": "1x0e", "max_sweeps": "3,2", "max_channels": "16,12",
    }  # fmt: skip
    each = [bytes([number]) + values.get(name, "3").encode() for number, name in enumerate(names)]
    return [*each, b"\0".join(each[:8]), b"\0".join(each[8:16]), b"\0".join(each)]


# -- Model files -------------------------------------------------------------------------------


def check_bytes(data: bytes) -> bool:
    """The bytes of a file, of a potential, a network or a checkpoint."""
    return _read_file(data)


def check_content(data: bytes) -> bool:
    """A whole file, checksum included, whose header and arrays say something else.

    The bytes choose one of the files and, one after another, what to change in it.
    """
    import json

    choices = Choices(data)
    record, arrays = choices.of(_parts())
    record = json.loads(json.dumps(record))
    arrays = dict(arrays)
    for _ in range(1 + choices.number(4)):
        if choices.number(2) or not arrays:
            _change_header(record, choices)
        else:
            _change_arrays(arrays, choices)
    return _read_file(pack(record, arrays))


VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 50, 13, 10**6, 10**9, 2**63, 10**30, 0.5, -0.5, 1e300,
    1e-300, "", "0e", "1x0e", "5x0e+4x1o", "1000000000x0e", "1x1000o", "1x99999e", "Mo", "Xx",
    "core", "\x1b[2J", [], {}, [[]], ["Mo"], ["Mo", "Mo"], ["Mo", 3], {"Mo": 1.0}, {"Mo": None},
    [1, 2], [[1, 2], 3], "1", "3.0",
]  # fmt: skip
_LONG = [["0e"] * 5000, "+".join(f"1x{l}e" for l in range(300)), "x" * 5000]


def _change_header(record: dict[str, Any], choices: Choices) -> None:
    """Put another value somewhere in the tree of the header, or take something away."""
    where: Any = record["header"]
    while True:
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        if not keys:
            return
        key = choices.of(keys)
        if isinstance(where[key], dict | list) and where[key] and choices.number(8):
            where = where[key]
            continue
        break
    act = choices.number(6)
    if act == 0:
        del where[key]
    elif act == 1 and isinstance(where, dict):
        where[choices.text() or "more"] = copy.deepcopy(choices.of(VALUES))
    elif act == 2:
        where[key] = copy.deepcopy(choices.of(_LONG))
    elif act == 3:
        deep: Any = []
        for _ in range(choices.number(800)):
            deep = [deep]
        where[key] = deep
    else:
        where[key] = copy.deepcopy(choices.of(VALUES))


def _change_arrays(arrays: dict[str, Any], choices: Choices) -> None:
    name = choices.of(sorted(arrays))
    array = arrays[name]
    act = choices.number(8)
    if act == 0:
        del arrays[name]
    elif act == 1:
        arrays[choices.of([choices.text(), f"{name}.0e", "core.0", "core.x.0e.0e.0e", "."])] = array
    elif act == 2:
        dtype = choices.of(["bool", "int8", "uint64", "float16", "float32", "int64"])
        arrays[name] = array.astype(dtype)
    elif act == 3:
        arrays[name] = array.reshape(choices.of([(-1,), (1, -1), (-1, 1, 1), (1, 1, 1, -1)]))
    elif act == 4:
        arrays[name] = array[:0]
    elif act == 5:
        wild = array.astype(float).reshape(-1)
        if wild.size:
            wild[choices.number(wild.size)] = choices.of([np.nan, np.inf, 1e308, -1e200])
        arrays[name] = wild.reshape(array.shape)
    elif act == 6:
        arrays[name] = np.zeros((choices.number(300), 0, choices.number(300)))
    else:
        arrays[name] = np.concatenate([array, array])


def pack(record: dict[str, Any], arrays: dict[str, Any]) -> bytes:
    """A file as etn writes it, checksum included, without its checks."""
    import hashlib
    import json

    import safetensors.numpy

    record = {key: value for key, value in record.items() if key != "checksum"}
    digest = hashlib.sha256(_canonical(record))
    for name, array in sorted(arrays.items()):
        digest.update(_canonical([name, array.dtype.name, list(array.shape)]) + array.tobytes())
    text = _canonical({**record, "checksum": digest.hexdigest()}).decode()
    plain = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    assert json.loads(text)["kind"] == record["kind"]
    return bytes(safetensors.numpy.save(plain, metadata={"etn": text}))


def _canonical(value: Any) -> bytes:
    import json

    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _read_file(data: bytes) -> bool:
    """Read as what it may be; what is accepted must be of use."""
    from etn import io, network, potential
    from etn.sweep import State

    with Folder({"model.etn": data}) as folder:
        path = folder / "model.etn"
        try:
            kind = io.load(path).kind
        except EtnError:
            kind = ""
        try:
            network.load(path).__repr__()
            return True
        except EtnError:
            assert kind not in network.files.KINDS or not _is_seed(data), kind
        try:
            repr(State.load(path).records)
            return True
        except EtnError:
            pass
        try:
            model = potential.load(path)
        except EtnError:
            return False
        _use(model, path)
    return True


def _is_seed(data: bytes) -> bool:
    return data in seeds_of_files()


def _use(model: Any, path: Path) -> None:
    """Describe the potential and predict with it."""
    from typer.testing import CliRunner

    from etn.cli import app
    from etn.data import Frame

    result = CliRunner().invoke(app(), ["info", str(path)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    symbols = [model.elements[0], model.elements[-1]]
    from ase.data import atomic_numbers

    numbers = np.array([atomic_numbers[symbol] for symbol in symbols])
    frame = Frame(numbers, np.array([[0.0, 0, 0], [0.3, 0.2, 2.4]]), np.zeros((3, 3)), [False] * 3)
    with np.errstate(all="ignore"):
        try:
            model.predict([frame])
            if model.has_uncertainty:
                model.uncertainty.gamma([frame])
        except EtnError:
            pass


@functools.cache
def seeds_of_files() -> tuple[bytes, ...]:
    """A small file of every kind of potential and network, and a checkpoint."""
    from etn.network import Chain, Network, Tree, heisenberg, save
    from etn.potential import (
        Basis,
        Dataset,
        MessagePassingPotential,
        Messages,
        PolynomialPotential,
        fit,
        fit_layers,
    )
    from etn.sweep import Checkpoint, Schedule

    train = Dataset.read("etn:NbMoTaW/train")
    train = Dataset([frame for frame in train if frame.n_atoms <= 4][:6])
    basis = Basis.for_dataset(train, r_max=3.4, n_max=2, l_max=1, max_channels=3)
    once = Schedule(max_sweeps=1)
    size = {"body_order": 3, "max_bond": 1}
    messages = Messages("1x0e+1x1o", n_max=2, l_max=1, body_order=2, max_bond=1, attention="1x0e")
    core = _core(3)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = PolynomialPotential(basis, **size)
        checkpoint = Checkpoint(folder / "checkpoint.etn")
        model = fit(model, train, schedule=once, callbacks=[checkpoint], missing="skip").model
        model.save(folder / "polynomial.etn", note={"errors": {"train": {"a": 1.0}}})
        PolynomialPotential(Basis(("Mo", "W"), n_max=2, l_max=1)).save(folder / "bare.etn")
        layered = MessagePassingPotential(basis, messages, **size)
        fit_layers(layered, train, schedule=once, max_cycles=1, missing="skip").model.save(
            folder / "layers.etn"
        )
        legs = ["1x0e+1x1o"] * 3
        save(core, folder / "core.etn")
        save(Chain.random(legs, max_bond=1, seed=0), folder / "chain.etn")
        save(Tree.random(((0, 1), 2), legs, max_bond=1, seed=0), folder / "tree.etn")
        save(Network("one[a x b] two[b y c] -> y x a c", one=core, two=core), folder / "net.etn")
        save(heisenberg(3), folder / "operator.etn")
        return tuple(path.read_bytes() for path in sorted(folder.glob("*.etn")))


@functools.cache
def _parts() -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Record and arrays of the seeds."""
    import json

    import safetensors.numpy

    found = []
    for data in seeds_of_files():
        length = int.from_bytes(data[:8], "little")
        record = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["etn"])
        found.append((record, safetensors.numpy.load(data)))
    return found


# -- Structures --------------------------------------------------------------------------------


def check_structures(data: bytes) -> bool:
    """An extended XYZ file."""
    from etn.data import Dataset

    with Folder({"train.xyz": data}) as folder:
        try:
            dataset = Dataset.read(folder / "train.xyz")
        except (EtnError, OSError):
            return False
    assert all(np.isfinite(frame.positions).all() for frame in dataset)
    str(dataset)
    return True


def seeds_of_structures() -> list[bytes]:
    """A crystal with all labels, a molecule, two frames, and odd lines."""
    crystal = (
        b'2\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3:forces:R:3 energy=-1.5 '
        b'stress="1 0 0 0 1 0 0 0 1" pbc="T T T" config_type=bulk config_weight=2\n'
        b"Mo 0 0 0 0.1 0 0\nW 1.5 1.5 1.5 -0.1 0 0\n"
    )
    molecule = b'1\nProperties=species:S:1:pos:R:3 energy=-1.0 pbc="F F F"\nH 0 0 0\n'
    arrays = b'1\nProperties=species:S:1:pos:R:3:Z:I:1:fix:L:1 a={1,2} b=[[1,0],[0,1]] "c d"=e\n'
    return [crystal, molecule, crystal + molecule, b"1\n\nH 0 0 0\n", arrays + b"H 0 0 0 1 T\n"]


class Folder:
    """A folder with some files, which must be as they were when it is left."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self._files = files

    def __enter__(self) -> Path:
        self._folder = tempfile.TemporaryDirectory(dir=_fast_disk())
        for name, data in self._files.items():
            Path(self._folder.name, name).write_bytes(data)
        return Path(self._folder.name)

    def __exit__(self, kind: object, *_: object) -> None:
        found = {path.name: path for path in Path(self._folder.name).iterdir()}
        try:
            if kind is None:
                assert found.keys() == self._files.keys(), f"left behind: {sorted(found)}"
                for name, data in self._files.items():
                    assert found[name].read_bytes() == data, f"{name} was changed"
        finally:
            self._folder.cleanup()


def _fast_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


TARGETS = {
    "irreps": Target(
        check_irreps,
        lambda: [b"8x0e+4x1o", b"1o", b" 2 x 3e + 0x1e ", b"", b"1" * 30 + b"x0e", b"12345678901e"],
    ),
    "indices": Target(
        check_indices,
        lambda: [b"ijkl=jikl=klij", b"ij=-ji", b" i j = - j i", b"abc=bca=-bac", b"ij", b"aB=Ba"],
        max_length=256,
    ),
    "formula": Target(
        check_formula,
        lambda: [
            b"left[a x1 b] right[b x2 out] -> a x1 x2 out",
            b"one[a x b] two[b y c] three[c z a]",
            b"a[x,x] b[y] ->y",
            b"a[x y z]b[x y z]",
        ],
        max_length=512,
    ),
    "yaml": Target(
        check_yaml,
        lambda: [
            b"train: etn:Mo\nr_max: 4.5\nmax_bond: [5, 4, 3]\nvalid: none\n",
            b"train: [a.xyz, 'b.xyz']\nlayers: 2\nattention: 1x0e\nsize: small\n",
            b"train: a\ne0: {Mo: -4.2}\nkind_weights:\n  Surface: 2\nridge: evidence\nzbl: yes\n",
            b"train: a\nseed: 2001-01-01\nmemory: !!float 1_0.5\nsites: 0x2\n? x\n: &a [*a]\n",
        ],
    ),
    "command": Target(check_command, seeds_of_commands, max_length=1024),
    "bytes": Target(check_bytes, lambda: list(seeds_of_files()), max_length=20_000),
    "content": Target(
        check_content, lambda: [bytes([n, 1, *range(m, m + 12)]) for n in range(9) for m in (0, 7)],
        max_length=128,
    ),
    "structures": Target(check_structures, seeds_of_structures, max_length=2048),
}  # fmt: skip
