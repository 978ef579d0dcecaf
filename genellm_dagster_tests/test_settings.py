"""Settings: where values come from, and what is said of those that cannot be used."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from genellm_dagster.errors import SettingsError, StudyError
from genellm_dagster.settings import (
    FILE_VARIABLE,
    PROJECT_ROOT,
    Settings,
    geo_root_of,
    load_settings,
    settings_file,
    study_of,
)
from genellm_dagster.settings_page import settings_page
from genellm_dagster_tests.defs.makers import a_study


@pytest.fixture(autouse=True)
def _nothing_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("GENELLM_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults_are_the_project_and_ncbi() -> None:
    settings = load_settings()
    assert settings.store == PROJECT_ROOT / "data" / "store"
    assert settings.backbone == "smollm2"
    assert not settings.geo_root_is_set


def test_call_wins_over_environment_over_file_over_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("genellm.yaml").write_text("backbone: of file\nstudy: of file\ncontrols: false\n")
    monkeypatch.setenv("GENELLM_BACKBONE", "of environment")
    monkeypatch.setenv("GENELLM_STUDY", "of environment")
    settings = load_settings(study="of call")
    assert settings.study == "of call"
    assert settings.backbone == "of environment"
    controls = settings.controls
    assert (controls.shuffled_labels, controls.shuffled_genes, controls.random_backbone) == (
        0,
        False,
        False,
    )
    assert settings.model == Settings().model


def test_controls_are_all_none_or_as_each_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(controls=True).controls == Settings().controls
    monkeypatch.setenv("GENELLM_CONTROLS", "false")
    assert load_settings().controls == load_settings(controls=False).controls
    assert load_settings().controls.shuffled_labels == 0
    monkeypatch.delenv("GENELLM_CONTROLS")
    monkeypatch.setenv("GENELLM_CONTROLS__SHUFFLED_GENES", "false")
    found = load_settings().controls
    assert (found.shuffled_labels, found.shuffled_genes, found.random_backbone) == (5, False, True)


def test_one_value_of_a_part_is_set_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("genellm.yaml").write_text("model: {training: {epochs: 7, batch_size: 16}}\n")
    monkeypatch.setenv("GENELLM_MODEL__TRAINING__EPOCHS", "3")
    training = load_settings().model.training
    assert (training.epochs, training.batch_size) == (3, 16)
    assert training.seed == Settings.model_fields["model"].default.training.seed


def test_named_file_is_read_instead_of_the_folders_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    Path("genellm.yaml").write_text("backbone: here\n")
    other = tmp_path / "other.yaml"
    other.write_text("backbone: there\n")
    assert load_settings().backbone == "here"
    monkeypatch.setenv(FILE_VARIABLE, str(other))
    assert settings_file() == other
    assert load_settings().backbone == "there"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"- a\n- b\n", "holds no `name: value` pairs"),
        (b"just words\n", "holds no `name: value` pairs"),
        (b"store: [\n", "cannot be read (while parsing"),
        (b"\xff\xfe\x00", "cannot be read ('utf-8'"),
        (b"stroe: here\n", "GENELLM_STROE cannot be used (Extra inputs"),
        (b"model: {training: {epochs: -1}}\n", "GENELLM_MODEL__TRAINING__EPOCHS cannot be used"),
    ],
)
def test_file_that_cannot_be_used_is_one_sentence(content: bytes, said: str) -> None:
    Path("genellm.yaml").write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "genellm.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("GENELLM_MODEL__TRAINING__EPOCHS", "many", "GENELLM_MODEL__TRAINING__EPOCHS cannot be"),
        ("GENELLM_SIMULATION", "no json", 'for field "simulation"'),
        (FILE_VARIABLE, "/nowhere/genellm.yaml", "/nowhere/genellm.yaml"),
    ],
)
def test_environment_that_cannot_be_used_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_changes_are_validated_again() -> None:
    settings = load_settings()
    assert settings.with_changes(study="x").study == "x"
    with pytest.raises(ValueError, match="controls"):
        settings.with_changes(controls="perhaps")


def test_geo_root_of_the_user_wins_over_the_studys() -> None:
    study = a_study("GSE1").model_copy(update={"geo_root": "/of/study"})
    settings = load_settings()
    assert geo_root_of(settings, study) == "/of/study"
    assert geo_root_of(settings, a_study("GSE1")).startswith("https://")
    geo = settings.geo.model_copy(update={"root": "/of/user"})
    assert geo_root_of(settings.with_changes(geo=geo), study) == "/of/user"


def test_demo_that_was_not_simulated_says_how(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="run `genellm demo`"):
        study_of(load_settings(study="demo", store=tmp_path))


def test_page_of_the_settings_is_that_of_the_settings() -> None:
    page = (PROJECT_ROOT / "docs" / "settings.md").read_text()
    assert page == settings_page(), "run `python -m genellm_dagster.settings_page docs/settings.md`"
    assert "`GENELLM_MODEL__TRAINING__EPOCHS`" in page
    assert str(PROJECT_ROOT) not in page


def test_every_setting_of_every_part_is_described() -> None:
    def fields(model: type[BaseModel], path: str):
        for name, field in model.model_fields.items():
            yield f"{path}.{name}", field
            inner = field.annotation
            if isinstance(inner, type) and issubclass(inner, BaseModel):
                yield from fields(inner, f"{path}.{name}")

    every = dict(fields(Settings, "settings"))
    assert len(every) > 60
    assert [path for path, field in every.items() if not field.description] == []
