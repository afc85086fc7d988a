"""Sweeps: one engine, its schedule, callbacks and reports, and the local problems it solves."""

from etn.sweep.callbacks import Callback, Checkpoint, EarlyStop, Progress, State
from etn.sweep.eigen.dmrg import ground_state
from etn.sweep.eigen.eigen_problem import EigenProblem
from etn.sweep.eigen.lowest import StateReport, lowest_states
from etn.sweep.engine import Step, itinerary, sweep
from etn.sweep.grow import grow
from etn.sweep.problem import (
    EnrichedProblem,
    JointProblem,
    LocalProblem,
    LocalSolution,
    PairProblem,
    Sweepable,
)
from etn.sweep.refine import Refinement, polish, refine
from etn.sweep.regression.batches import Batch
from etn.sweep.regression.estimator import ChainRegressor
from etn.sweep.regression.least_squares import LeastSquares
from etn.sweep.regression.pair_solution import PairSolution
from etn.sweep.regression.sample_regression import Regression
from etn.sweep.report import Report, SweepRecord
from etn.sweep.schedule import Rule, Schedule
from etn.sweep.threads import share

__all__ = [
    "Batch",
    "Callback",
    "ChainRegressor",
    "Checkpoint",
    "EarlyStop",
    "EigenProblem",
    "EnrichedProblem",
    "JointProblem",
    "LeastSquares",
    "LocalProblem",
    "LocalSolution",
    "PairProblem",
    "PairSolution",
    "Progress",
    "Refinement",
    "Regression",
    "Report",
    "Rule",
    "Schedule",
    "State",
    "StateReport",
    "Step",
    "SweepRecord",
    "Sweepable",
    "ground_state",
    "grow",
    "itinerary",
    "lowest_states",
    "polish",
    "refine",
    "share",
    "sweep",
]
