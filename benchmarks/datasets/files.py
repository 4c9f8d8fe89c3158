"""Reading files in pieces, and saying where one is broken: every error has a file and, where it can, a row from 0."""

from __future__ import annotations

import csv
import re
from io import FileIO
from typing import TYPE_CHECKING, Any

import orjson
import pandas as pd

from benchmarks.outcomes import ModelFacts, OutcomesError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

BATCH_ROWS = 65_536
BATCH_BYTES = 32 * 2**20  # of a parquet file, uncompressed: long texts come in fewer rows
READ_BYTES = 2**20  # of a column of a parquet file, at a time: its row groups may be as large as the file
SIZED_GROUPS = 64  # row groups that tell how large a row is
CSV_BLOCK = 16 * 2**20  # bytes; the longest row must fit in one, and arrow reads some thirty ahead
CSV_FIELD = 2**30

_CSV_ROW = re.compile(r"Row #(\d+)")
_INVALID_UTF8 = re.compile(r"index (\d+)")


def parquet_batches(
    path: Path, needed: Sequence[str], wanted: Sequence[str] = (), nested: Sequence[str] = ()
) -> Iterator[tuple[int, pd.DataFrame]]:
    """
    (first row, frame) after frame of a parquet file: the `needed` columns, and those of `wanted` that it has.

    `nested` are fields of structs, "column.field"; such a column's values are dicts of the fields asked for.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_file(path)
    try:
        with pq.ParquetFile(path, buffer_size=READ_BYTES, pre_buffer=False) as file:
            names = file.schema_arrow.names
            check_columns(path, names, needed)
            chosen = [*needed, *(name for name in wanted if name in names), *nested]
            first = 0
            for batch in file.iter_batches(_rows_at_once(file.metadata, chosen), columns=chosen):
                yield first, _valid_frame(path, batch, first)
                first += batch.num_rows
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise OutcomesError(f"cannot be read as parquet: {_first_line(error)}", path) from error


def csv_batches(
    path: Path, needed: Sequence[str], wanted: Sequence[str] = ()
) -> Iterator[tuple[int, pd.DataFrame]]:
    """As `parquet_batches`, of a CSV file in UTF-8 with a header. Every value is text; an empty one is missing."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    names = csv_header(path)
    check_columns(path, names, needed)
    chosen = [*needed, *(name for name in wanted if name in names)]
    convert = arrow_csv.ConvertOptions(
        column_types=dict.fromkeys(chosen, pa.large_string()),
        include_columns=chosen,
        null_values=[""],
        strings_can_be_null=True,
    )
    first = 0
    try:
        with (
            _QuoteCounter(path) as file,
            arrow_csv.open_csv(
                file,
                read_options=arrow_csv.ReadOptions(block_size=CSV_BLOCK, use_threads=False),
                parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
                convert_options=convert,
            ) as batches,
        ):
            for batch in batches:
                yield first, batch.to_pandas()
                first += batch.num_rows
            odd = file.quotes % 2
    except (pa.ArrowInvalid, OSError) as error:
        counted = _CSV_ROW.search(str(error))
        row = int(counted.group(1)) - 2 if counted else None  # arrow counts from 1, the header included
        raise OutcomesError(f"cannot be read as CSV: {_first_line(error)}", path, row) from error
    if odd and _ends_in_quotes(path):
        raise OutcomesError(
            "ends inside quotes: the file was cut off, or a quote is missing", path, first - 1
        )


class _QuoteCounter(FileIO):
    """A file that counts the quotes that are read from it: arrow takes the end of the file for a closing one."""

    quotes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file."""
        found = super().read(-1 if size is None else size)
        self.quotes += found.count(b'"')
        return found


def _ends_in_quotes(path: Path) -> bool:
    """Whether the last quote is open, by the slower reader that tells."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, strict=True)
        try:
            for _ in rows:
                pass
        except csv.Error as error:
            return "unexpected end" in str(error)
    return False


def csv_header(path: Path) -> list[str]:
    """The column names of a CSV file."""
    check_file(path)
    csv.field_size_limit(CSV_FIELD)
    try:
        # only the header is judged here: bad bytes further down are found, with their row, when they are read
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            names = next(csv.reader(file), [])
    except csv.Error as error:
        raise OutcomesError(f"cannot be read as CSV: {error}", path) from error
    if not names or any("\ufffd" in name for name in names):
        raise OutcomesError("has a header that is not UTF-8" if names else "has no header", path)
    return names


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 0, object) of a file with one JSON object a line; blank lines are passed over."""
    check_file(path)
    with path.open("rb") as file:
        for row, line in enumerate(file):
            if not line.strip():
                continue
            try:
                value = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise OutcomesError(f"is not JSON in UTF-8: {error}", path, row) from error
            if not isinstance(value, dict):
                raise OutcomesError("is not a JSON object", path, row)
            yield row, value


def json_document(path: Path) -> Any:
    """A whole JSON file."""
    check_file(path)
    try:
        return orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise OutcomesError(f"is not JSON in UTF-8: {error}", path) from error


def model_facts(path: Path) -> dict[str, ModelFacts]:
    """
    Prices and sizes by model: a JSON list of objects with `model` and, each of them a number or null,
    `price_in_per_mtok`, `price_out_per_mtok` (USD per million tokens), `params_b`, `active_params_b` (billions).
    """
    document = json_document(path)
    if not isinstance(document, list):
        raise OutcomesError("is not a list of models", path)
    facts: dict[str, ModelFacts] = {}
    for row, entry in enumerate(document):
        if not isinstance(entry, dict) or not isinstance(entry.get("model"), str):
            raise OutcomesError("a model is an object with a name under 'model'", path, row)
        name = entry["model"]
        if name in facts:
            raise OutcomesError(f"model {name!r} came before", path, row)
        facts[name] = ModelFacts(
            name,
            _amount(entry, "price_in_per_mtok", path, row),
            _amount(entry, "price_out_per_mtok", path, row),
            _amount(entry, "active_params_b", path, row) or _amount(entry, "params_b", path, row),
        )
    return facts


def facts_beside(folder: Path) -> dict[str, ModelFacts]:
    """The facts in `models.json` beside some other format's files, if there is one."""
    path = folder / "models.json"
    return model_facts(path) if path.is_file() else {}


def check_file(path: Path) -> None:
    """Raises `OutcomesError` unless it is there, a file, and holds anything."""
    if not path.is_file():
        raise OutcomesError("is no file" if path.exists() else "does not exist", path)
    if not path.stat().st_size:
        raise OutcomesError("is empty", path)


def check_columns(path: Path, names: Sequence[str], needed: Sequence[str]) -> None:
    """Raises `OutcomesError` naming the columns that are missing, and those there are; or any that is there twice."""
    missing = [name for name in needed if name not in names]
    if missing:
        there = ", ".join(names[:12]) + (", …" if len(names) > 12 else "")
        raise OutcomesError(
            f"missing column{'s' * (len(missing) > 1)} {', '.join(missing)} (there are: {there})", path
        )
    twice = [name for name in needed if list(names).count(name) > 1]
    if twice:
        raise OutcomesError(f"has two columns called {', '.join(twice)}", path)


def field(record: dict[str, Any], name: str, path: Path, row: int) -> Any:
    """A value that a record must have. Raises `OutcomesError`."""
    if name not in record:
        raise OutcomesError(f"{name!r} is missing", path, row)
    return record[name]


def _rows_at_once(metadata: Any, chosen: Sequence[str]) -> int:
    """As many rows as `BATCH_BYTES` hold of these columns (or fields), by what the file says of itself."""
    size = rows = 0
    for number in range(min(SIZED_GROUPS, metadata.num_row_groups)):
        group = metadata.row_group(number)
        rows += group.num_rows
        columns = (group.column(c) for c in range(group.num_columns))
        size += sum(
            column.total_uncompressed_size
            for column in columns
            if any(f"{column.path_in_schema}.".startswith(f"{name}.") for name in chosen)
        )
    return max(1, min(BATCH_ROWS, int(BATCH_BYTES * rows / size) if size else BATCH_ROWS))


def _valid_frame(path: Path, batch: Any, first: int) -> pd.DataFrame:
    import pyarrow as pa

    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            at = _INVALID_UTF8.search(str(error))
            row = first + int(at.group(1)) if at else None
            raise OutcomesError(f"{name} is not valid: {_first_line(error)}", path, row) from error
    frame: pd.DataFrame = batch.to_pandas()
    return frame


def _amount(entry: dict[str, Any], name: str, path: Path, row: int) -> float | None:
    value = entry.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise OutcomesError(
            f"{name} of {entry['model']!r} is {value!r}, not a positive number or null", path, row
        )
    return float(value)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
