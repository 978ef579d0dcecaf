"""A registered adapter as MLflow serves it: expression of samples in, scores out, over HTTP.

The model that MLflow keeps holds the adapter's folder and a script of a few lines that asks this
module for the rest, so that nothing is pickled. The backbone is not in it: it is found by its hash
in the store that the adapter was registered from, or in the one that ``GENELLM_STORE`` names.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from genellm_dagster.errors import GeneLLMError, ModelError, StoreError
from genellm_dagster.expression.new_samples import expression_of_samples, gene_id_type
from genellm_dagster.files import read_json
from genellm_dagster.genellm.adapter import AdapterCard, load_adapter
from genellm_dagster.genellm.backbone import Backbone
from genellm_dagster.genellm.options import GeneLLMOptions
from genellm_dagster.store import Store

if TYPE_CHECKING:
    from genellm_dagster.genellm.scoring import Scorer

_ADAPTER = "adapter"
_SCRIPT = Path(__file__).with_name("served_model.py")
_STORE_VARIABLE = "GENELLM_STORE"
_PACKAGES = ("genellm-dagster", "mlflow")
_OPTIONS_SERVED = {"backbone", "prefix", "min_gene_coverage"}
_MAX_SAMPLES = 10_000
_MAX_CELLS = 50_000_000
_NUMBERS = ("score", "uncertainty", "probability", "coverage")
_LOG2 = ("log2", "centred")


def adapter_in(folder: Path) -> Path:
    """Return the adapter's folder inside a registered version, or the version where it is one."""
    return folder / "artifacts" / _ADAPTER if (folder / "MLmodel").is_file() else folder


def write_served(
    adapter_folder: Path, folder: Path, backbones: Path, options: GeneLLMOptions | None = None
) -> None:
    """Write the model that MLflow serves around an adapter.

    Args:
        adapter_folder: As ``save_adapter`` wrote it; copied as it is.
        folder: Where to; must not be there.
        backbones: Folder of prepared backbones, kept as a word for where to look.
        options: Device, number type, batches and coverage that the served model uses.
    """
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    options = options or GeneLLMOptions()
    outputs = Schema(
        [
            ColSpec("string", "sample"),
            *(ColSpec("double", name, required=False) for name in _NUMBERS),
            ColSpec("string", "refused", required=False),
        ]
    )
    with tempfile.TemporaryDirectory() as temporary:
        # MLflow calls its copy as the folder is called, and follows no links.
        copy = Path(temporary) / _ADAPTER
        shutil.copytree(adapter_folder, copy)
        pyfunc.save_model(
            folder,
            python_model=str(_SCRIPT),
            artifacts={_ADAPTER: str(copy)},
            # Without a schema of the inputs MLflow hands over every gene that is sent: a sample's
            # ranks are taken among all of them, and a schema would drop those it does not name.
            signature=ModelSignature(outputs=outputs),
            input_example=_example(adapter_folder),
            pip_requirements=_requirements(),
            model_config={
                "backbones": str(backbones),
                "options": options.model_dump(mode="json", include=_OPTIONS_SERVED),
            },
            metadata={
                "input": "samples x genes, log2; columns are gene symbols or Ensembl ids, all that "
                "were measured, and the index (or a column `sample`) names the samples"
            },
        )


def served_adapter() -> Any:
    """Return the model that MLflow calls; its class is made here, as MLflow is slow to import."""
    from mlflow.exceptions import MlflowException
    from mlflow.pyfunc.model import PythonModel

    class ServedAdapter(PythonModel):
        def load_context(self, context: Any) -> None:
            self._scorer = scorer_of(
                Path(context.artifacts[_ADAPTER]), dict(context.model_config or {})
            )

        def predict(self, context: Any, model_input: pd.DataFrame, params: Any = None) -> Any:
            try:
                return answer(self._scorer, model_input)
            except GeneLLMError as error:
                raise MlflowException.invalid_parameter_value(str(error)) from error

    return ServedAdapter()


def scorer_of(adapter_folder: Path, config: Mapping[str, Any]) -> Scorer:
    """Load an adapter and its backbone for serving.

    Args:
        adapter_folder: The adapter.
        config: ``backbones``, the folder of prepared backbones, and ``options``.

    Raises:
        ModelError: When adapter or backbone are missing or do not belong together.
    """
    from genellm_dagster.genellm.scoring import Scorer

    adapter = load_adapter(adapter_folder)
    folders = [Path(config["backbones"])] if config.get("backbones") else []
    if os.environ.get(_STORE_VARIABLE):
        folders.insert(0, Store(Path(os.environ[_STORE_VARIABLE]), "").backbones)
    scorer = Scorer(
        adapter,
        backbone_by_hash(adapter.card, folders),
        GeneLLMOptions.model_validate(config.get("options", {})),
    )
    scorer.load()
    return scorer


def backbone_by_hash(card: AdapterCard, folders: list[Path]) -> Backbone:
    """Return the prepared backbone with an adapter's weights.

    Raises:
        ModelError: When no folder holds it.
    """
    for folder in folders:
        for file in sorted(folder.glob("*/backbone.json")):
            try:
                found = Backbone.model_validate({**read_json(file), "path": file.parent})
            except (StoreError, TypeError, ValueError):
                continue
            if found.sha256 == card.backbone_sha256:
                return found
    raise ModelError(
        f"The backbone {card.backbone} with weights {card.backbone_sha256[:12]} is not in "
        f"{' or '.join(map(str, folders)) or 'any folder'}; set {_STORE_VARIABLE} to the store "
        "that holds it, or run the study there again."
    )


def answer(scorer: Scorer, request: Any) -> list[dict[str, Any]]:
    """Score the samples of a request.

    Args:
        scorer: The adapter at work.
        request: samples x genes, log2, as a table or as a list of one mapping a sample.

    Returns:
        One answer a sample, in the order of the request: sample, score, uncertainty, probability,
        coverage, and ``refused``, why there is no score (else none).

    Raises:
        ModelError: When the request is no such table, or is too large.
        ExpressionError: When its columns are no genes or its values are not log2.
    """
    names, values = _read(request)
    if not names:
        return []
    id_type, _ = gene_id_type([str(name) for name in values.columns])
    told = expression_of_samples(values.T, id_type)
    if told.scale not in _LOG2:
        raise ModelError(
            f"The values of the request are not log2 ({told.notes[0]}); send log2 values."
        )
    scores = scorer.score("request", told.table)
    scored = {str(row["gsm"]): row for row in scores.table.to_dict(orient="records")}
    answers: list[dict[str, Any]] = []
    for number, name in zip(values.index, names, strict=True):
        if number in scored:
            row = scored[number]
            numbers = {key: float(row[key]) for key in _NUMBERS}
            answers.append({"sample": name, **numbers, "refused": None})
            continue
        share = scores.refused[number]
        why = (
            f"{share:.0%} of the model's {len(scorer.genes)} genes, fewer than "
            f"{scorer.min_coverage:.0%}"
        )
        empty = dict.fromkeys(_NUMBERS)
        answers.append({"sample": name, **empty, "coverage": share, "refused": why})
    return answers


def _read(request: Any) -> tuple[list[str], pd.DataFrame]:
    """Return the names of the samples, and samples x genes as numbers, numbered from 0."""
    if isinstance(request, list) and all(isinstance(one, Mapping) for one in request):
        request = pd.DataFrame(request)
    if not isinstance(request, pd.DataFrame):
        raise ModelError(
            "The request is no table; send dataframe_split or dataframe_records of samples x genes."
        )
    if request.shape[0] > _MAX_SAMPLES or request.size > _MAX_CELLS:
        raise ModelError(
            f"The request holds {request.shape[0]} samples x {request.shape[1]} columns, more than "
            f"{_MAX_SAMPLES} samples or {_MAX_CELLS:,} values; send it in parts."
        )
    names = [str(name) for name in request.get("sample", request.index)]
    table = request.drop(columns="sample", errors="ignore")
    if not table.columns.is_unique:
        twice = table.columns[table.columns.duplicated()][0]
        raise ModelError(f"The column {str(twice)[:60]!r} stands twice; send it once.")
    try:
        numbers = table.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"The request holds something other than numbers ({str(error)[:80]}); send log2 values."
        ) from error
    with np.errstate(over="ignore"):  # what overflows is infinite, and counts as missing
        single = numbers.astype(np.float32)
    index = [str(number) for number in range(len(table))]
    genes = [str(name) for name in table.columns]
    return names, pd.DataFrame(single, index=index, columns=genes)


def _example(adapter_folder: Path) -> pd.DataFrame | None:
    """One sample that has every gene of the model; its values are made up."""
    card = read_json(adapter_folder / "adapter.json").get("card", {})
    genes = card.get("tokenizer", {}).get("genes", [])
    if not genes:
        return None
    levels = np.linspace(4.0, 12.0, len(genes)).round(3)
    return pd.DataFrame([["made up", *levels]], columns=["sample", *genes])


def _requirements() -> list[str]:
    found = []
    for name in _PACKAGES:
        try:
            found.append(f"{name}=={version(name)}")
        except PackageNotFoundError:
            found.append(name)
    return found
