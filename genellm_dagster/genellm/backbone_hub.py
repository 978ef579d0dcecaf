"""Weights from the Hugging Face hub: the safetensors and what belongs to them, nothing else."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone_files import first_line

logger = logging.getLogger(__name__)

_ADDRESS = re.compile(
    r"(?P<model>[\w-][\w.-]{0,95}(/[\w-][\w.-]{0,95})?)"
    r"(?P<file>(/[\w.-]+)*/[\w.-]+\.gguf)?"
    r"(@(?P<revision>[\w./-]{1,200}))?"
)
_TEXT = (
    "config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "README.md",
)  # fmt: skip
# Each is anchored at the top: folders such as original/ hold the same weights once more.
_WEIGHTS = ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json")


@dataclass(frozen=True)
class HubAddress:
    """A model on the hub.

    Attributes:
        model: ``owner/name``.
        file: One GGUF file of it; none when the safetensors are meant.
        revision: Branch, tag or commit; none for the newest.
    """

    model: str
    file: str | None
    revision: str | None


def hub_address(name: str) -> HubAddress | None:
    """Read ``owner/name``, ``owner/name/file.gguf``, each with ``@revision`` or without.

    Returns:
        The address; none when the name is no such thing.
    """
    found = _ADDRESS.fullmatch(name)
    if found is None or ".." in name:
        return None
    file = found["file"]
    return HubAddress(found["model"], file.lstrip("/") if file else None, found["revision"])


def fetch(address: HubAddress, weights: bool = True) -> tuple[Path, str]:
    """Fetch what is not there yet of a model into the cache of the hub (``HF_HOME``).

    A pickle is never fetched. A fetch that was cut off goes on where it was.

    Args:
        address: The model.
        weights: False to fetch its shape and text tokenizer alone.

    Returns:
        The folder of its files, or the GGUF file, and where they are from.

    Raises:
        ModelError: When the model is not there, not open to the user, or cannot be reached.
    """
    if address.file is not None:
        file = Path(_asked(address, lambda hub, **named: hub.hf_hub_download(
            filename=address.file, **named
        )))  # fmt: skip
        return file, _origin(address, file.parents[len(Path(address.file).parts) - 1])
    patterns = [*_TEXT, *(_WEIGHTS if weights else ())]
    folder = Path(_asked(address, lambda hub, **named: hub.snapshot_download(
        allow_patterns=patterns, **named
    )))  # fmt: skip
    return folder, _origin(address, folder)


def _origin(address: HubAddress, snapshot: Path) -> str:
    # The hub's cache names a snapshot by its commit.
    file = f"/{address.file}" if address.file else ""
    return f"huggingface.co/{address.model}{file} at {snapshot.name}"


def _asked(address: HubAddress, ask: Callable[..., str]) -> str:
    import httpx2
    import huggingface_hub
    from huggingface_hub import errors
    from huggingface_hub.utils.tqdm import disable_progress_bars

    logger.info("Fetching %s from the Hugging Face hub, as far as it is not here.", address.model)
    disable_progress_bars()
    where = f"The backbone {address.model!r}"
    remedy = "name smollm2, a local folder, or a model that can be reached"
    named: dict[str, Any] = {"repo_id": address.model, "revision": address.revision}
    try:
        return ask(huggingface_hub, **named)
    except errors.GatedRepoError as error:
        raise ModelError(
            f"{where} is open only to those who accepted its licence; accept it on its page on the "
            "hub and set HF_TOKEN to a token of your account, or name another backbone."
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise ModelError(
            f"{where} is no folder here, and the hub has no such model or revision; mend the name, "
            "or set HF_TOKEN when the model is private."
        ) from error
    except errors.RemoteEntryNotFoundError as error:
        raise ModelError(
            f"{where} has no file {address.file} on the hub; mend the name."
        ) from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        offline = huggingface_hub.constants.HF_HUB_OFFLINE
        why = "HF_HUB_OFFLINE is set" if offline else "the hub does not answer"
        raise ModelError(
            f"{where} is no folder here, is not in the cache of the hub, and cannot be fetched "
            f"from the hub because {why}; {remedy}."
        ) from error
    except (errors.HfHubHTTPError, httpx2.HTTPError, OSError, ValueError) as error:
        raise ModelError(
            f"{where} is no folder here and cannot be fetched from the hub ({first_line(error)}); "
            f"{remedy}."
        ) from error
