"""Reading tables out of a pickle without running what it says.

A pickle may name any function and have it called. Here it may name the constructors of arrays and tables, one by
one; anything else is refused before it is looked up.
"""

from __future__ import annotations

import os
import pickle
from importlib import import_module
from typing import TYPE_CHECKING, Any

from benchmarks.datasets.files import check_file
from benchmarks.outcomes import OutcomesError

if TYPE_CHECKING:
    from pathlib import Path

MEMORY_SHARE = 0.25  # of the machine's memory; a pickle cannot be read in pieces, and unpacks to more

ADMITTED = {
    "builtins": {
        "slice", "range", "bytearray", "bytes", "complex", "set", "frozenset", "list", "dict", "tuple", "int", "float",
        "bool", "str", "object",
    },
    "_codecs": {"encode"},
    "collections": {"OrderedDict"},
    "datetime": {"date", "datetime", "timedelta", "timezone"},
    "numpy": {"ndarray", "dtype", "bool_", "int64", "int32", "float64", "float32", "str_"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "pandas": {"DataFrame", "Series", "Index", "RangeIndex", "MultiIndex", "Categorical", "CategoricalDtype",
               "StringDtype", "Timestamp"},
    "pandas.arrays": {"ArrowStringArray", "StringArray", "BooleanArray", "IntegerArray", "FloatingArray"},
    "pandas.core.frame": {"DataFrame"},
    "pandas.core.series": {"Series"},
    "pandas.core.indexes.base": {"_new_Index", "Index"},
    "pandas.core.indexes.range": {"RangeIndex"},
    "pandas.core.indexes.multi": {"MultiIndex"},
    "pandas.core.internals.managers": {"BlockManager", "SingleBlockManager"},
    "pandas.core.arrays.categorical": {"Categorical"},
    "pandas.core.arrays.string_": {"StringArray", "StringDtype"},
    "pandas.core.arrays.string_arrow": {"ArrowStringArray"},
    "pandas.core.dtypes.dtypes": {"CategoricalDtype"},
    "pandas._libs.internals": {"_unpickle_block"},
    "pandas._libs.arrays": {"__pyx_unpickle_NDArrayBacked"},
    "pyarrow.lib": {"_restore_array", "type_for_alias", "py_buffer"},
}  # fmt: skip
"""Module to names that a pickle may look up."""

MOVED = {
    ("pandas.core.internals.blocks", "new_block"): ("pandas._libs.internals", "_unpickle_block"),
    ("pandas.core.indexes.numeric", "Int64Index"): ("pandas.core.indexes.base", "Index"),
    ("pandas.core.indexes.numeric", "Float64Index"): ("pandas.core.indexes.base", "Index"),
}
"""Where older versions of pandas kept what has another name now."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        module, name = MOVED.get((module, name), (module, name))
        if module == "__builtin__":  # protocol 2 and older
            module = "builtins"
        if module.startswith("numpy.core."):
            module = module.replace("numpy.core.", "numpy._core.", 1)
        if name not in ADMITTED.get(module, ()):
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is not a part of a table")
        return getattr(import_module(module), name)


def load(path: Path) -> Any:
    """The object in a pickle of arrays and tables. Raises `OutcomesError` for anything else."""
    check_file(path)
    size, memory = path.stat().st_size, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > MEMORY_SHARE * memory:
        raise OutcomesError(
            f"is {size / 2**30:.1f} GiB, and a pickle cannot be read in pieces: save it as CSV on a larger machine",
            path,
        )
    try:
        with path.open("rb") as file:
            return _Unpickler(file).load()
    except pickle.UnpicklingError as error:
        raise OutcomesError(f"is not read: {error}", path) from error
    except Exception as error:  # a broken pickle can make any constructor raise anything
        raise OutcomesError(
            f"is not a whole pickle of tables: {type(error).__name__}: {error}", path
        ) from error
