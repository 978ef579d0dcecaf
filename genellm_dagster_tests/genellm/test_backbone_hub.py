"""Models of the Hugging Face hub, asked from a server on localhost."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants

from genellm_dagster.errors import ModelError
from genellm_dagster.genellm.backbone import prepare_backbone
from genellm_dagster.genellm.backbone_hub import HubAddress, fetch, hub_address
from genellm_dagster_tests.genellm.hub import COMMIT, Hub, serving
from genellm_dagster_tests.genellm.published import published


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = published(tmp_path_factory.mktemp("published"), "mistral", shard_size="50KB")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04a pickle")
    (folder / "modeling_own.py").write_text("raise SystemExit")
    (folder / "consolidated.safetensors").write_bytes(b"the same once more")
    (folder / "original").mkdir()
    (folder / "original" / "model.safetensors").write_bytes(b"the same once more")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    return folder


@pytest.fixture
def hub(source: Path) -> Iterator[Hub]:
    models = {"someone/small": source, "someone/closed": source}
    with serving(Hub(models, gated=frozenset({"someone/closed"}))) as server:
        yield server


@pytest.fixture
def reached(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub as the library reaches it; it reads the environment when it is first imported."""
    from huggingface_hub import file_download

    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(file_download, "ENDPOINT", hub.url, raising=False)
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return hub


def test_a_model_of_the_hub_is_the_one_in_the_folder(hub: Hub, source: Path, tmp_path: Path):
    """In a process of its own, with the environment variables that a user would set."""
    code = (
        "import sys; from pathlib import Path\n"
        "from genellm_dagster.genellm.backbone import prepare_backbone\n"
        "print(prepare_backbone('someone/small', Path(sys.argv[1])).model_dump_json())"
    )
    environment = {
        **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"),
        "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "store")],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    from genellm_dagster.genellm.backbone import Backbone

    backbone = Backbone.model_validate_json(done.stdout)
    plain = prepare_backbone(str(source), tmp_path / "plain")
    assert backbone.sha256 == plain.sha256
    assert backbone.name == "someone/small"
    assert backbone.source == f"huggingface.co/someone/small at {COMMIT}"
    assert backbone.licence == "mit (someone/small)"
    assert backbone.context == 64
    shards = [name for name in hub.asked if name.startswith("model-")]
    assert len(shards) > 2
    never = {"pytorch_model.bin", "modeling_own.py", "consolidated.safetensors"}
    assert not never & set(hub.asked)
    assert not [name for name in hub.asked if "/" in name]


def test_a_model_that_is_there_is_not_asked_for_again(reached: Hub, tmp_path: Path):
    first = prepare_backbone("someone/small", tmp_path / "one")
    asked = len(reached.asked)
    assert prepare_backbone("someone/small", tmp_path / "two").sha256 == first.sha256
    assert len(reached.asked) == asked


def test_random_fetches_the_shape_alone(reached: Hub, tmp_path: Path):
    control = prepare_backbone("random:someone/small", tmp_path / "store")
    assert not control.pretrained
    assert "config.json" in reached.asked
    assert not [name for name in reached.asked if name.endswith(".safetensors")]


def test_one_gguf_file_is_fetched_alone(reached: Hub, tmp_path: Path):
    held = tmp_path / "gguf" / "q8"
    held.mkdir(parents=True)
    (held / "small.gguf").write_bytes(b"GGUF")
    reached.models["someone/quantised"] = held.parent
    address = hub_address("someone/quantised/q8/small.gguf")
    assert address == HubAddress("someone/quantised", "q8/small.gguf", None)
    file, source = fetch(address)
    assert file.read_bytes() == b"GGUF"
    assert source == f"huggingface.co/someone/quantised/q8/small.gguf at {COMMIT}"
    assert reached.asked == ["q8/small.gguf"]
    with pytest.raises(ModelError, match=r"has no file q8/other\.gguf on the hub"):
        fetch(HubAddress("someone/quantised", "q8/other.gguf", None))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("someone/none", "the hub has no such model"),
        ("someone/small@nowhere", "no such model or revision"),
        ("someone/closed", "open only to those who accepted its licence.* HF_TOKEN"),
    ],
)
def test_models_that_cannot_be_had_are_told_apart(
    reached: Hub, tmp_path: Path, name: str, reason: str
):
    with pytest.raises(ModelError, match=reason):
        prepare_backbone(name, tmp_path / "store")
    assert list((tmp_path / "store").glob("**/*")) == []


def test_a_hub_out_of_reach_is_told_with_the_reason(
    reached: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match="because the hub does not answer"):
        prepare_backbone("someone/small", tmp_path / "store")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelError, match="because HF_HUB_OFFLINE is set"):
        prepare_backbone("someone/small", tmp_path / "store")
    # What the cache holds needs no hub.
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", reached.url)
    kept = prepare_backbone("someone/small", tmp_path / "store")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert prepare_backbone("someone/small", tmp_path / "other").sha256 == kept.sha256


def test_names_are_read_as_addresses_or_not_at_all():
    assert hub_address("owner/model@v1.0") == HubAddress("owner/model", None, "v1.0")
    assert hub_address("owner/model/a.gguf@main") == HubAddress("owner/model", "a.gguf", "main")
    assert hub_address("gpt2") == HubAddress("gpt2", None, None)
    for name in ("/a/b", "a/b/c", "a/../b", "https://x/y", "", "a b", "a/b@", "../a", "a/b/../c.gguf"):  # fmt: skip  # noqa: E501
        assert hub_address(name) is None
