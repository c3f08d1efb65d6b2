"""The steps of a batch on Ray that need no model, so that their processes import nothing heavy: who has what in hand,
how results are called, and Parquet in parts."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

from .stores import Store, is_address


class Attempts:
    """What actors have in hand, so that an image that ends them is known. One for each dataset; an actor itself."""

    def __init__(self) -> None:
        self._together: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()

    def begin(self, keys: Sequence[str]) -> bool:
        """Rows are taken in hand together. Whether any of them was in hand when an actor ended."""
        suspect = any(self._together[key] for key in keys)
        self._together.update(keys)
        return suspect

    def alone(self, key: str) -> int:
        """A row is taken in hand by itself. How often that was before, without an end."""
        before = self._alone[key]
        self._alone[key] += 1
        return before

    def end(self, keys: Sequence[str]) -> None:
        """Rows are finished."""
        for key in keys:
            self._together.pop(key, None)
            self._alone.pop(key, None)


def name_rows(table: Any, *, column: str, key: str, suffix: str, there: frozenset[str]) -> Any:
    """Give rows the name of their result, and leave out those whose result is there.

    Parameters
    ----------
    table : pyarrow.Table
        Some of the input.
    column
        Of the images, whose content names a row that has no path.
    key
        The column for the names.
    suffix
        Of the results.
    there
        Names of results that are there.
    """
    import pyarrow as pa

    named = next((name for name in ("name", "path", "uri", "url") if name in table.column_names), None)
    names = [result_name(source, suffix) for source in table[named or column].to_pylist()]
    if key in table.column_names:
        table = table.drop_columns([key])
    table = table.append_column(key, pa.array(names, pa.string()))
    return table.filter(pa.array([name not in there for name in names], pa.bool_()))


def result_name(source: object, suffix: str) -> str:
    """The name of a row's result: its path without scheme, bucket and what leads out, or its content in figures."""
    if not isinstance(source, str):
        data = source if isinstance(source, bytes) else repr(source).encode()
        return hashlib.sha256(data).hexdigest()[:24] + suffix
    path = source.partition("?")[0] if is_address(source) else source
    parts = path.partition("://")[2].split("/")[1:] if is_address(source) else path.replace("\\", "/").split("/")
    kept = [part for part in parts if part not in ("", ".", "..") and "\0" not in part and not part.endswith(":")]
    return ("/".join(kept) or hashlib.sha256(source.encode()).hexdigest()[:24]) + suffix


def write_part(table: Any, *, out: Store, picture: str) -> Any:
    """Write rows as a part of a Parquet folder, and hand on all but the pictures.

    A part is called after its rows, so that the same rows take the place of their first part.
    """
    import pyarrow.parquet

    if table.num_rows:
        names = sorted(table["name"].to_pylist())
        digest = hashlib.sha256("\0".join(names).encode("utf-8", "backslashreplace")).hexdigest()[:24]
        stored = table.drop_columns([one for one in ("number", "prompt") if one in table.column_names])
        buffer = io.BytesIO()
        pyarrow.parquet.write_table(stored, buffer, compression="zstd")
        out.put(f"part-{digest}.parquet", buffer.getvalue())
    return table.drop_columns([picture])
