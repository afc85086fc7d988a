"""Sweeps: one engine, its schedule, callbacks and reports, and the local problems it solves."""

from etn.sweep.callbacks import Callback, Checkpoint, EarlyStop, Progress, State
from etn.sweep.engine import LocalProblem, Step, itinerary, sweep
from etn.sweep.grow import grow
from etn.sweep.least_squares import Batch, LeastSquares, LocalSolution
from etn.sweep.report import Report, SweepRecord
from etn.sweep.schedule import Schedule
from etn.sweep.workers import share

__all__ = [
    "Batch",
    "Callback",
    "Checkpoint",
    "EarlyStop",
    "LeastSquares",
    "LocalProblem",
    "LocalSolution",
    "Progress",
    "Report",
    "Schedule",
    "State",
    "Step",
    "SweepRecord",
    "grow",
    "itinerary",
    "share",
    "sweep",
]
