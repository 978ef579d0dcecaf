"""A table read part by part is whole, whatever its file said of its length."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from genellm_dagster.geo.growing import GrowingTable, text_bytes
from genellm_dagster.geo.matrix import read_series_matrix
from genellm_dagster_tests.geo.files_of_geo import ROWS, matrix_text, write_gzip


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(0, 6), max_size=8),
    st.integers(1, 4),
    st.floats(0, 60),
    st.sampled_from("CF"),
)
def test_parts_lie_below_one_another(heights, n_columns, expected_rows, layout):
    rng = np.random.default_rng(len(heights))
    parts = [rng.random((height, n_columns), dtype=np.float32) for height in heights]
    table = GrowingTable(n_columns)
    for part in parts:
        table.add(np.array(part, order=layout), expected_rows)
    whole = table.whole()
    expected = np.concatenate([np.empty((0, n_columns), np.float32), *parts])
    np.testing.assert_array_equal(whole, expected)
    assert whole.flags.f_contiguous
    assert table.whole().shape == (0, n_columns)


def test_a_file_tells_about_how_long_its_text_is(tmp_path: Path):
    text = b"0.5\t1.25\n" * 1_000
    plain, packed = tmp_path / "plain.txt", tmp_path / "packed.gz"
    plain.write_bytes(text)
    packed.write_bytes(gzip.compress(np.random.default_rng(0).bytes(5_000)))
    assert text_bytes(plain) == len(text)
    assert text_bytes(packed) == 5_000
    assert text_bytes(tmp_path / "missing") == 0


def test_a_file_that_claims_too_much_is_not_believed(tmp_path: Path):
    path = tmp_path / "claims.gz"
    path.write_bytes(gzip.compress(b"short")[:-4] + b"\xff\xff\xff\xff")
    assert text_bytes(path) < 1_000


def test_a_matrix_whose_file_claims_too_little_is_read_whole(tmp_path: Path):
    path = write_gzip(tmp_path / "GSE123_series_matrix.txt.gz", matrix_text(rows=ROWS * 40))
    # A second member holds nothing and says so: the hint becomes 0.
    path.write_bytes(path.read_bytes() + gzip.compress(b""))
    assert text_bytes(path) == 0
    values = read_series_matrix(path).values
    assert values is not None
    assert values.shape == (80, 3)
