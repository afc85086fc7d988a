"""The errors that etn raises on purpose.

Every message says what was expected, what came, where, and what to do about it.
All classes derive from :class:`EtnError`, which the command line turns into one line and exit
code 2.
"""

from __future__ import annotations


class EtnError(Exception):
    """Base of every error that etn raises on purpose."""


class IrrepsError(EtnError, ValueError):
    """Malformed irreps, or legs whose irreps do not match."""


class CoreError(EtnError, ValueError):
    """A core or a network of cores with inconsistent blocks, shapes or legs."""


class NothingLeftError(CoreError):
    """No state is left that is orthogonal to those given."""


class MissingError(CoreError, KeyError):
    """A block or an irrep that is not there; a KeyError too, as of any mapping."""

    def __str__(self) -> str:
        # KeyError would show the message in quotes.
        return str(self.args[0])


class DataError(EtnError, ValueError):
    """Structures or labels that cannot be used as they are."""


class SettingsError(EtnError, ValueError):
    """A setting that is unknown, out of range or in conflict with another."""


class ModelFileError(EtnError, ValueError):
    """A model file that is damaged, too new, or not a model file."""


class RunFolderError(EtnError, ValueError):
    """A run folder that would be overwritten, or that cannot be resumed."""


class DivergedError(EtnError, ValueError):
    """A training whose loss is no number any more."""


class LostProcessError(EtnError, ValueError):
    """A training of several processes, one of which has ended."""


class ExtrapolationError(EtnError, ValueError):
    """A structure too far from the training data for the potential to be relied on."""


class EtnWarning(UserWarning):
    """Base of every warning that etn gives on purpose."""


class ExtrapolationWarning(EtnWarning):
    """A structure that leaves the training data of the potential."""


class ToleranceError(EtnError, ValueError):
    """A solver that ended above the error it was asked for.

    Attributes
    ----------
    best : object
        The best that was found, as its solver would have returned it.
    """

    def __init__(self, message: str, best: object) -> None:
        super().__init__(message)
        self.best = best
