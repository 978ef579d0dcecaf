"""Marker genes of the cells of blood: what a file of them must hold, and where each is from."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from genellm_dagster.errors import ExpressionError, StudyError
from genellm_dagster.expression.symbols import resolve_symbol
from genellm_dagster.studies.yaml_files import read_yaml, study_error

DEFAULT_FOLDER = Path(__file__).resolve().parents[2] / "data" / "markers"
COVERAGE = "coverage_"
"""Before the name of a class: the column of the share of its markers that a sample has."""

_KIND = "markers"
_Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
# Columns of a composition that are no class.
_TAKEN = ("gsm", "why_not")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MarkerSource(_Part):
    """A publication that gives marker genes, and what allows to use its list."""

    title: str = Field(min_length=1)
    doi: str = Field(pattern=r"^10\.\d{4,9}/\S+$")
    licence: str = Field(min_length=1)


class CellClass(_Part):
    """One kind of cell: its own markers, each with its sources, or those of other classes.

    ``left_out`` names genes that the sources give and that did not hold, with the reason.
    """

    title: str = Field(min_length=1)
    notes: str = ""
    markers: dict[str, tuple[str, ...]] = {}
    of: tuple[str, ...] = ()
    left_out: dict[str, str] = {}


class CellMarkers(_Part):
    """Classes of cells with their marker genes."""

    name: _Name
    title: str = Field(min_length=1)
    notes: str = ""
    sources: dict[str, MarkerSource] = Field(min_length=1)
    classes: dict[_Name, CellClass] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_together(self) -> CellMarkers:
        owner: dict[str, str] = {}
        for name, cells in self.classes.items():
            if name in _TAKEN or name.startswith(COVERAGE):
                raise ValueError(f"the class name {name!r} is taken by a column; rename it")
            if bool(cells.markers) == bool(cells.of):
                raise ValueError(f"{name} needs either markers or the classes it is made `of`")
            for other in cells.of:
                if other not in self.classes or self.classes[other].of:
                    raise ValueError(f"{name} is made of {other!r}, no class with own markers")
            for gene, sources in cells.markers.items():
                self._check_marker(name, gene, sources)
                if gene in owner:
                    raise ValueError(f"{gene} is a marker of {owner[gene]} and of {name}; keep one")
                owner[gene] = name
        return self

    def _check_marker(self, name: str, gene: str, sources: tuple[str, ...]) -> None:
        symbol, outcome = resolve_symbol(gene)
        if outcome != "approved":
            instead = f"write {symbol}" if symbol else "remove it"
            raise ValueError(f"{gene}, a marker of {name}, is no approved HGNC symbol; {instead}")
        unknown = [source for source in sources if source not in self.sources]
        if unknown or not sources:
            told = f"names the source {unknown[0]!r}" if unknown else "names no source"
            raise ValueError(f"{gene}, a marker of {name}, {told}; describe it under sources")

    @property
    def all_genes(self) -> frozenset[str]:
        """Markers of all classes."""
        return frozenset(gene for cells in self.classes.values() for gene in cells.markers)

    def genes(self, name: str) -> tuple[str, ...]:
        """Return the markers of a class, those of the classes it is made of included, sorted."""
        cells = self.classes[name]
        parts = [self.classes[other].markers for other in cells.of] or [cells.markers]
        return tuple(sorted(gene for part in parts for gene in part))


def load_markers(name_or_file: str | Path = "blood") -> CellMarkers:
    """Read marker genes.

    Args:
        name_or_file: The name of a file of the project's ``data/markers``, or the path of a YAML
            file.

    Raises:
        ExpressionError: When there is no such file, or it holds no usable markers.
    """
    text = str(name_or_file)
    if "/" in text or "\\" in text or text.endswith((".yaml", ".yml")):
        return _read(Path(text).expanduser().resolve())
    file = DEFAULT_FOLDER / f"{text}.yaml"
    if not file.is_file():
        known = ", ".join(sorted(one.stem for one in DEFAULT_FOLDER.glob("*.yaml"))) or "none"
        raise ExpressionError(
            f"There are no markers {text!r} in {DEFAULT_FOLDER} (there are: {known}); name one of "
            "them, or give the path of a YAML file."
        )
    return _packaged(file)


@cache
def _packaged(file: Path) -> CellMarkers:
    return _read(file)


def _read(file: Path) -> CellMarkers:
    try:
        document = read_yaml(file, _KIND)
        try:
            return CellMarkers.model_validate(document.data)
        except ValidationError as error:
            raise study_error(error, document, _KIND) from error
    except StudyError as error:
        raise ExpressionError(str(error)) from error
