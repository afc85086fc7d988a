"""Several processes that train one network: each takes its share of every batch.

Gradients are added up before each step, so that all processes make the steps of one that has the
whole batch, up to rounding.  ``torchrun`` starts them and says who is who.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist

from etn.errors import LostProcessError, SettingsError

__all__ = ["Processes", "launched", "session"]


@dataclass(frozen=True)
class Processes:
    """Who this process is, and how many there are.

    Attributes
    ----------
    rank, size : int

    Examples
    --------
    >>> Processes.now()
    Processes(rank=0, size=1)
    >>> Processes(1, 3).share([5, 6, 7, 8])
    [6]
    """

    rank: int = 0
    size: int = 1

    @classmethod
    def now(cls) -> Processes:
        """Those that have joined; this one alone if none has."""
        if not (dist.is_available() and dist.is_initialized()):
            return cls()
        return cls(dist.get_rank(), dist.get_world_size())

    @property
    def leads(self) -> bool:
        """Whether this one tells and writes."""
        return self.rank == 0

    def share(self, numbers: Sequence[int]) -> list[int]:
        """What this process takes of some frames."""
        return list(numbers[self.rank :: self.size])

    def add_up(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes.

        Raises
        ------
        LostProcessError
            If another process has ended.
        """
        if self.size == 1:
            return values
        with _reachable():
            dist.all_reduce(values)
        return values

    def add_gradients(self, weights: Iterable[torch.nn.Parameter]) -> None:
        """Make the gradients of all weights those of the whole batch."""
        if self.size == 1:
            return
        each = list(weights)
        for weight in each:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        flat = self.add_up(torch.cat([w.grad.flatten() for w in each if w.grad is not None]))
        pieces = flat.split([weight.numel() for weight in each])
        for weight, piece in zip(each, pieces, strict=True):
            weight.grad = piece.reshape(weight.shape)

    def from_first(self, value: float) -> float:
        """What the first process says of a number."""
        if self.size == 1:
            return value
        told = torch.tensor([value if self.leads else 0.0], dtype=torch.float64)
        if dist.get_backend() == "nccl":
            told = told.cuda()
        return float(self.add_up(told))


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise LostProcessError(
            f"another process of this training has ended ({str(error).splitlines()[0][:200]}); the "
            "last complete epoch is kept: start all of them again and resume"
        ) from error


def launched() -> Processes:
    """Who this process is by what torchrun says; one alone without it.

    Raises
    ------
    SettingsError
        If what it says is no number.
    """
    try:
        rank, size = (int(os.environ.get(k, d)) for k, d in (("RANK", "0"), ("WORLD_SIZE", "1")))
    except ValueError:
        raise SettingsError(
            "RANK, WORLD_SIZE: expected the numbers that torchrun sets, got "
            f"{os.environ.get('RANK')!r} and {os.environ.get('WORLD_SIZE')!r}"
        ) from None
    return Processes(rank, size)


@contextmanager
def session(device: str = "cpu") -> Iterator[Processes]:
    """Join the processes that torchrun has started, and part in the end; nothing if alone.

    Parameters
    ----------
    device : str
        With "cuda" they talk through NCCL, else through Gloo.
    """
    who = launched()
    if who.size == 1 or dist.is_initialized():
        yield Processes.now()
        return
    if device.startswith("cuda"):
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    with _reachable():
        dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes.now()
    finally:
        dist.destroy_process_group()
