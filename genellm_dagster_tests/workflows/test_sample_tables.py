"""Tables of new samples: either way round, in four formats, and hostile ones refused."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from genellm_dagster.errors import ExpressionError
from genellm_dagster.expression.symbols import approved_symbols
from genellm_dagster.workflows import sample_files
from genellm_dagster.workflows.sample_tables import read_sample_table

_KNOWN = approved_symbols()
_KNOWN = _KNOWN[(_KNOWN["locus_group"] == "protein-coding gene") & (_KNOWN["ensembl"] != "")]
GENES = _KNOWN["symbol"].head(120).tolist()
ENSEMBL = _KNOWN["ensembl"].head(120).tolist()
NAMES = ["patient A", "P2", "=1+1"]


def _table(names: list[str] = NAMES) -> pd.DataFrame:
    values = np.random.default_rng(5).uniform(3, 14, (len(GENES), len(names)))
    return pd.DataFrame(values.astype(np.float32), index=GENES, columns=names)


def _written(table: pd.DataFrame, path: Path, turned: bool) -> Path:
    frame = (table.T if turned else table).rename_axis(index="name")
    if path.suffix == ".parquet":
        frame.to_parquet(path)
    elif path.suffix == ".h5ad":
        data = table.T.to_numpy()
        anndata.AnnData(
            X=data, obs=pd.DataFrame(index=table.columns), var=pd.DataFrame(index=table.index)
        ).write_h5ad(path)
    else:
        frame.to_csv(path, sep="," if ".csv" in path.name else "\t")
    return path


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("names", [NAMES, NAMES[:1]], ids=["three", "one"])
@pytest.mark.parametrize("name", ["t.tsv", "t.csv", "t.tsv.gz", "t.parquet", "t.h5ad"])
def test_every_format_gives_the_same_values_either_way_round(
    tmp_path: Path, name: str, names: list[str], turned: bool
) -> None:
    table = _table(names)
    found = read_sample_table(_written(table, tmp_path / name, turned))
    assert found.id_type == "symbol"
    pd.testing.assert_frame_equal(
        found.values.rename_axis(index=None), table, check_exact=False, rtol=1e-6
    )
    assert f"{len(names)} samples" in found.notes[0]


@pytest.mark.parametrize("turned", [False, True])
def test_ensembl_ids_with_versions_are_found_out(tmp_path: Path, turned: bool) -> None:
    table = _table().set_axis([f"{one}.12" for one in ENSEMBL])
    found = read_sample_table(_written(table, tmp_path / "t.tsv", turned))
    assert found.id_type == "ensembl"
    assert found.values.shape == (120, 3)


def test_entrez_ids_are_read_where_their_column_says_so(tmp_path: Path) -> None:
    entrez = _KNOWN["entrez"].head(120).tolist()
    path = tmp_path / "t.tsv"
    _table().set_axis(entrez).rename_axis(index="entrez_id").to_csv(path, sep="\t")
    found = read_sample_table(path)
    assert found.id_type == "entrez"
    assert list(found.values.index) == entrez
    assert list(found.values.columns) == NAMES


def test_columns_beside_the_samples_are_no_samples(tmp_path: Path) -> None:
    table = _table()
    table.insert(0, "Length", np.arange(120) + 500)
    table.insert(1, "biotype", "protein_coding")
    found = read_sample_table(_written(table, tmp_path / "t.tsv", False))
    assert list(found.values.columns) == NAMES
    assert any("Length" in note for note in found.notes)


@pytest.mark.parametrize("turned", [False, True])
def test_samples_that_are_called_like_genes_stay_samples(tmp_path: Path, turned: bool) -> None:
    names = ["C3", "C5", "C6", "S1"]
    found = read_sample_table(_written(_table(names), tmp_path / "t.tsv", turned))
    assert list(found.values.columns) == names
    assert list(found.values.index) == GENES


def test_one_row_of_genes_without_a_name_is_a_sample(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    _table(["x"]).T.to_csv(path, index=False)
    found = read_sample_table(path)
    assert list(found.values.columns) == ["line 2"]
    assert list(found.values.index) == GENES


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix])
def test_a_sparse_matrix_is_read_in_full(tmp_path: Path, kind) -> None:
    table = _table().where(_table() > 8, 0)
    anndata.AnnData(
        X=kind(table.T.to_numpy()),
        obs=pd.DataFrame(index=NAMES),
        var=pd.DataFrame({"feature_name": GENES}, index=[f"g{n}" for n in range(120)]),
    ).write_h5ad(tmp_path / "t.h5ad", convert_strings_to_categoricals=False)
    found = read_sample_table(tmp_path / "t.h5ad")
    np.testing.assert_array_equal(found.values, table)
    assert list(found.values.index) == GENES


def _pickled(path: Path) -> None:
    path.write_bytes(pickle.dumps(_table()))


def _web_page(path: Path) -> None:
    path.write_text("<!DOCTYPE html><html></html>")


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-400])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz", "t.parquet", "t.h5ad"])
@pytest.mark.parametrize("spoil", [_pickled, _web_page, _empty])
def test_what_is_no_table_is_refused_in_one_sentence(tmp_path: Path, name: str, spoil) -> None:
    path = _written(_table(), tmp_path / name, False)
    spoil(path)
    with pytest.raises(ExpressionError, match="t\\.") as refused:
        read_sample_table(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["t.tsv.gz", "t.parquet", "t.h5ad"])
def test_a_cut_file_is_refused(tmp_path: Path, name: str) -> None:
    path = _written(_table(), tmp_path / name, False)
    _cut(path)
    with pytest.raises(ExpressionError, match=name):
        read_sample_table(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda table: table.set_axis([f"thing {n}" for n in range(120)]), "names genes neither"),
        (
            lambda table: table.head(8).set_axis(["TP53", "CD4", "CRP"], axis=1),
            "in its rows .* and in",
        ),
        (lambda table: table.set_axis(["a", " ", "b"], axis=1), "name is empty"),
        (lambda table: table.set_axis(["a", "b" * 300, "c"], axis=1), "longer than 200"),
        (lambda table: table.astype(object).mask(table > 13.9, "high"), "no number|neither"),
    ],
)
def test_tables_that_cannot_be_told_are_refused(tmp_path: Path, change, words: str) -> None:
    path = _written(change(_table()), tmp_path / "t.tsv", False)
    with pytest.raises(ExpressionError, match=words):
        read_sample_table(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ExpressionError, match=r"none of \.tsv"):
        read_sample_table(tmp_path / "t.pkl")
    with pytest.raises(ExpressionError, match="There is no file"):
        read_sample_table(tmp_path / "t.tsv")


@pytest.mark.parametrize("name", ["t.tsv", "t.parquet", "t.h5ad"])
def test_more_cells_than_the_bound_are_refused(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _written(_table(), tmp_path / name, False)
    for module in ("sample_files", "sample_tables"):
        monkeypatch.setattr(f"genellm_dagster.workflows.{module}.MAX_CELLS", 100)
    with pytest.raises(ExpressionError, match="more than 100 cells"):
        read_sample_table(path)


def test_a_matrix_that_claims_to_be_endless_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = _written(_table(), tmp_path / "t.h5ad", False)
    with h5py.File(path, "a") as file:
        del file["X"]
        # A few bytes on disk: chunks that were never written are filled in.
        file.create_dataset("X", shape=(10**7, 10**6), chunks=(1000, 1000), dtype="f4")
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ExpressionError, match="more than"):
        read_sample_table(path)


def test_h5ad_that_points_at_other_files_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "secret.bin"
    np.arange(360, dtype="f4").tofile(other)
    path = _written(_table(), tmp_path / "t.h5ad", False)
    with h5py.File(path, "a") as file:
        del file["X"]
        file.create_dataset("X", shape=(3, 120), dtype="f4", external=[(str(other), 0, 1440)])
    with pytest.raises(ExpressionError, match="X lies in another file"):
        read_sample_table(path)
    with h5py.File(path, "a") as file:
        del file["X"]
        file["X"] = h5py.ExternalLink(str(tmp_path / "other.h5ad"), "X")
    with pytest.raises(ExpressionError, match="X lies in another place"):
        read_sample_table(path)


def test_a_torn_sparse_matrix_is_refused(tmp_path: Path) -> None:
    data = sparse.csr_matrix(_table().T.to_numpy())
    anndata.AnnData(
        X=data, obs=pd.DataFrame(index=NAMES), var=pd.DataFrame(index=GENES)
    ).write_h5ad(tmp_path / "t.h5ad")
    with h5py.File(tmp_path / "t.h5ad", "a") as file:
        file["X"]["indices"][0] = 10_000
    with pytest.raises(ExpressionError, match="X is damaged"):
        read_sample_table(tmp_path / "t.h5ad")


def test_names_that_unfold_without_end_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_files, "_MAX_NAME_BYTES", 500)
    path = _written(_table(), tmp_path / "t.h5ad", False)
    with pytest.raises(ExpressionError, match="names without end"):
        read_sample_table(path)


def test_gzip_that_unfolds_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genellm_dagster.workflows.sample_tables.MAX_BYTES", 1 << 20)
    path = tmp_path / "t.tsv.gz"
    path.write_bytes(gzip.compress(b"gene\tS1\n" + b"TP53\t1\n" * 1_000_000))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(ExpressionError, match="more than"):
        read_sample_table(path)
