"""The errors a user can meet; each carries what is wrong and what to do about it.

MlrunError                 exit 125: a failure of mlrun's own
├── UsageError             exit 2: wrong words on the command line
├── ProjectError           an MLproject, environment file or parameter is wrong
├── SourceError            a directory, repository or archive cannot be had
├── EnvironmentBuildError  an environment cannot be found, locked or built
├── StoreError             the store or the cache cannot be read or written
│   └── FormatError        a stored file does not have the format it claims
├── RunNotFoundError       no run, or several, answer to an id
├── BackendError           a host or a launcher refuses
├── RunFailedError         a run that was waited for did not succeed (Python API)
├── PublishError           a team's MLflow server cannot be reached, or refuses
└── IntegrityError         bytes are not what their digest says
"""

from __future__ import annotations


class MlrunError(Exception):
    """What went wrong in one line, and in ``hint`` what to do; neither ends in a period."""

    exit_code = 125

    def __init__(self, message: str, *, hint: str = "") -> None:
        """Keep the message as the exception's text, so that a log shows it too."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(MlrunError):
    """The command line asks for something it cannot mean."""

    exit_code = 2


class ProjectError(MlrunError):
    """A project's own files, or the values given to it, are wrong."""

    others: tuple[ProjectError, ...] = ()  # what else is wrong in the same file: `mlrun check` tells all of it


class SourceError(MlrunError):
    """The source of a project cannot be fetched or captured."""


class EnvironmentBuildError(MlrunError):
    """An environment cannot be found, locked or built."""


class StoreError(MlrunError):
    """The store or the cache cannot be read or written."""


class FormatError(StoreError):
    """A stored file does not have the format it claims."""


class RunNotFoundError(MlrunError):
    """No run, or more than one, answers to what was asked for."""


class BackendError(MlrunError):
    """A host or a launcher refuses, or cannot be reached."""


class RunFailedError(MlrunError):
    """A run that was waited for did not succeed."""


class PublishError(MlrunError):
    """A team's MLflow server cannot be reached, or refuses."""


class IntegrityError(MlrunError):
    """Bytes do not have the digest they are named by."""
