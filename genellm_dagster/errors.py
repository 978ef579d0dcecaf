"""The errors a user can mend.

Each carries one plain sentence that says what is wrong, where, and what to do. The command line
prints that sentence and exits with 1; anything else that is raised is a defect of this program and
keeps its traceback.
"""

from __future__ import annotations


class GeneLLMError(Exception):
    """Something a user can mend; its text is one sentence: what, where, remedy."""


class SettingsError(GeneLLMError):
    """A setting, in the environment or in the settings file, cannot be used."""


class StudyError(GeneLLMError):
    """A study or cohort description cannot be read, or does not fit the samples."""


class GeoError(GeneLLMError):
    """A file of GEO is missing, broken, or not what it should be."""


class ExpressionError(GeneLLMError):
    """An expression table cannot be built or used."""


class ModelError(GeneLLMError):
    """A backbone, an adapter or its training cannot go on."""


class EvaluationError(GeneLLMError):
    """Folds or measurements asked for are not possible on these samples."""


class StoreError(GeneLLMError):
    """A file of the store is missing, broken, or was written by something else."""
