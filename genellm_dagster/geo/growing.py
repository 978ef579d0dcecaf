"""Memory for a table of numbers that is read from a file part by part.

The table is held once: room for it is made from what the file says of its length, and grows when
that was too little. Each column lies in one piece, since whatever follows works sample by sample,
and Parquet is written so without another copy.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

# Lines get shorter or longer along a file; what is not needed is never touched.
_SLACK = 1.05
_GROWTH = 1.5
# No file of numbers is packed more tightly; what a file says beyond that is not believed.
_MAX_RATIO = 16
_GZIP_MAGIC = b"\x1f\x8b"


def text_bytes(path: Path) -> int:
    """Return about how many bytes of text a file holds; 0 when it does not say.

    A gzip file ends with that number (its last member's, modulo 4 GB). It is a hint and no promise.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            if file.read(2) != _GZIP_MAGIC:
                return size
            file.seek(max(0, size - 4))
            return min(int.from_bytes(file.read(4), "little"), _MAX_RATIO * size)
    except OSError:
        return 0  # the reader says what is wrong with it


class GrowingTable:
    """Rows of float32, added in parts.

    Args:
        n_columns: Numbers a row.
    """

    def __init__(self, n_columns: int) -> None:
        self._n_columns = n_columns
        self._rows = 0
        self._cells = np.empty((n_columns, 0), dtype=np.float32)

    def add(self, part: np.ndarray, expected_rows: float = 0) -> None:
        """Add rows.

        Args:
            part: rows x columns.
            expected_rows: About how many rows the table will have in the end.
        """
        needed = self._rows + len(part)
        if needed > self._cells.shape[1]:
            self._make_room(needed, expected_rows)
        self._cells[:, self._rows : needed] = part.T
        self._rows = needed

    def _make_room(self, needed: int, expected_rows: float) -> None:
        if self._rows == 0:
            rows = max(needed, int(_SLACK * expected_rows))
        else:
            rows = int(_GROWTH * needed)
        cells = np.empty((self._n_columns, rows), dtype=np.float32)
        cells[:, : self._rows] = self._cells[:, : self._rows]
        self._cells = cells

    def whole(self) -> np.ndarray:
        """Return rows x columns, and give the table up."""
        cells, rows = self._cells, self._rows
        self._cells, self._rows = np.empty((self._n_columns, 0), dtype=np.float32), 0
        if cells.shape[1] == rows:
            return cells.T
        # Close the gaps between the columns in place: each moves down, over what has moved before.
        flat = cells.reshape(-1)
        for column in range(1, self._n_columns):
            flat[column * rows : (column + 1) * rows] = cells[column, :rows]
        return flat[: self._n_columns * rows].reshape(self._n_columns, rows).T
