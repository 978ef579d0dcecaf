"""Every setting, from the environment and a file, in one typed place.

Each room describes what can be set in it (its ``options.py``); here they come together. A value
comes, first wins, from the call itself (the command line), the environment (``GENELLM_STORE``,
``GENELLM_MODEL__TRAINING__EPOCHS`` and so on), the file ``genellm.yaml`` (or the one that
``GENELLM_SETTINGS_FILE`` names), and the defaults.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    YamlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableSettings

from genellm_dagster.baselines.options import BaselineOptions
from genellm_dagster.errors import SettingsError, StudyError
from genellm_dagster.evaluation.options import EvaluationOptions
from genellm_dagster.expression.options import ExpressionOptions
from genellm_dagster.genellm.control_options import ControlOptions
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.genellm.search_options import SearchOptions
from genellm_dagster.geo.options import NCBI_ROOT, GeoOptions
from genellm_dagster.interpretation.options import InterpretationOptions
from genellm_dagster.reports.options import ReportOptions
from genellm_dagster.simulation.options import SimulationOptions
from genellm_dagster.studies.loading import load_study, study_path
from genellm_dagster.studies.options import DiscoveryOptions
from genellm_dagster.studies.study import Study
from genellm_dagster.tokenizers.options import TokenizerOptions
from genellm_dagster.tracking.options import TrackingOptions

PROJECT_ROOT = Path(__file__).resolve().parent.parent
FILE_VARIABLE = "GENELLM_SETTINGS_FILE"
_FILE = "genellm.yaml"
DEMO = "demo"


class Settings(BaseSettings):
    """All settings of the project."""

    model_config = SettingsConfigDict(
        env_prefix="GENELLM_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        validate_default=True,
    )

    study: str = Field(
        default="sepsis",
        description="The study: a name under data/studies, a path to a study file, or demo.",
    )
    store: Path = Field(
        default=PROJECT_ROOT / "data" / "store", description="Folder that runs write to."
    )
    data_dir: Path = Field(
        default=PROJECT_ROOT / "data",
        description="Folder of the curated descriptions: studies, cohorts, signatures.",
    )
    backbone: str = Field(
        default="smollm2",
        description="The pretrained language model: smollm2 (embedded), a local folder with "
        "safetensors, a GGUF file, or a name on the Hugging Face hub (owner/model@revision); LLaMA "
        "architecture, Mistral included. tiny is random, for tests; random and random:NAME are "
        "random weights in the shape of smollm2 or of NAME.",
    )
    controls: ControlOptions = Field(
        default=ControlOptions(),
        description="Controls of GeneLLM, which tell what the pretrained weights, the names of "
        "genes and the labels are worth; `true` is all of them, `false` none.",
    )
    geo: GeoOptions = Field(default=GeoOptions(), description="GEO.")
    discovery: DiscoveryOptions = Field(
        default=DiscoveryOptions(), description="The search for new series."
    )
    expression: ExpressionOptions = Field(
        default=ExpressionOptions(), description="Expression tables."
    )
    tokenizer: TokenizerOptions = Field(default=TokenizerOptions(), description="Tokens.")
    model: GeneLLMOptions = Field(default=GeneLLMOptions(), description="GeneLLM.")
    search: SearchOptions = Field(
        default=SearchOptions(), description="The search for options of GeneLLM."
    )
    baselines: BaselineOptions = Field(default=BaselineOptions(), description="Baselines.")
    evaluation: EvaluationOptions = Field(default=EvaluationOptions(), description="Evaluation.")
    interpretation: InterpretationOptions = Field(
        default=InterpretationOptions(), description="Attributions and maps."
    )
    simulation: SimulationOptions = Field(
        default=SimulationOptions(), description="The built-in simulated study."
    )
    report: ReportOptions = Field(default=ReportOptions(), description="The report.")
    tracking: TrackingOptions = Field(default=TrackingOptions(), description="MLflow.")

    @field_validator("controls", mode="before")
    @classmethod
    def _all_or_none(cls, value: Any) -> Any:
        return ControlOptions.read(value)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the call, then the environment, then the settings file."""
        file = settings_file()
        return (
            init_settings,
            env_settings,
            YamlConfigSettingsSource(settings_cls, yaml_file=file),
        )

    @property
    def geo_root_is_set(self) -> bool:
        """Whether the GEO root was named by the user rather than left at NCBI's."""
        return self.geo.root != NCBI_ROOT

    def with_changes(self, **changes: Any) -> Settings:
        """Return a copy with top-level settings replaced, validated again."""
        return Settings(
            **{**{name: getattr(self, name) for name in type(self).model_fields}, **changes}
        )


def settings_file() -> Path | None:
    """Return the settings file: the one that is named, else that of the working directory."""
    named = os.environ.get(FILE_VARIABLE)
    if named is not None:
        return Path(named)
    return Path(_FILE) if Path(_FILE).is_file() else None


def load_settings(**changes: Any) -> Settings:
    """Read all settings.

    Args:
        **changes: What the command line says; wins over everything.

    Raises:
        SettingsError: When a value cannot be used or the settings file cannot be read.
    """
    file = settings_file()
    if file is not None and not file.is_file():
        raise SettingsError(f"The settings file {file} ({FILE_VARIABLE}) does not exist; mend it.")
    try:
        return Settings(**changes)
    except ValidationError as error:
        first = error.errors()[0]
        place = "__".join(str(part) for part in first["loc"]).upper()
        raise SettingsError(
            f"The setting GENELLM_{place} cannot be used ({first['msg']}); mend it in the "
            "environment or in genellm.yaml."
        ) from error
    except UnreadableSettings as error:
        raise SettingsError(
            f"A setting of the environment is no JSON where a part is asked for ({error}); set its "
            "values one by one, as GENELLM_MODEL__TRAINING__EPOCHS."
        ) from error
    except (yaml.YAMLError, OSError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(
            f"The settings file {file} cannot be read ({reason}); mend it."
        ) from error
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"The settings file {file} holds no `name: value` pairs; mend it."
        ) from error


def study_of(settings: Settings) -> Study:
    """Load the study that the settings name.

    Raises:
        StudyError: When it is unknown or its file cannot be used.
    """
    return load_study(study_file_of(settings), data_dir=settings.data_dir)


def study_file_of(settings: Settings) -> Path:
    """Return the file of the study that the settings name.

    Raises:
        StudyError: When there is none.
    """
    if settings.study != DEMO:
        return study_path(settings.study, settings.data_dir)
    file = demo_folder(settings) / f"{settings.simulation.name}.yaml"
    if not file.is_file():
        raise StudyError(
            f"The simulated study is not there yet ({file} is missing); run `genellm demo`."
        )
    return file


def study_as_it_is_now(settings: Settings, study: Study) -> Study:
    """Read a study's file again: cohorts are approved while a process has it loaded.

    Args:
        settings: Where its file is.
        study: The study as it was read. One that is not the settings' own comes back as it is.

    Raises:
        StudyError: When its file cannot be used any more.
    """
    try:
        file = study_file_of(settings)
    except StudyError:
        return study
    fresh = load_study(file, data_dir=settings.data_dir)
    if fresh.name != study.name:
        return study
    return fresh.model_copy(update={"backbone": study.backbone})


def demo_folder(settings: Settings) -> Path:
    """Return the folder of the built-in simulated study."""
    return settings.store / "simulated" / settings.simulation.name


def geo_root_of(settings: Settings, study: Study) -> str:
    """Return where a study's GEO files are: as the user says, as the study says, or NCBI."""
    if settings.geo_root_is_set or study.geo_root is None:
        return settings.geo.root
    return study.geo_root
