"""Parquet files as the `datasets` and `pandas` libraries expect them, written with pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from hpt_ros.demos.lerobot_format import DATA_FILE_MB, DATA_PATH, PACKAGES, PURPOSE, TASKS, place
from hpt_ros.demos.optional import require
from hpt_ros.errors import DataError


def png(rgb: NDArray[np.uint8]) -> bytes:
    """A frame (H, W, 3) as a PNG file."""
    return bytes(cv2.imencode(".png", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1])


def from_png(data: bytes, where: str) -> NDArray[np.uint8]:
    """The frame (H, W, 3) of an image file.

    Raises:
        DataError: it cannot be decoded.
    """
    image: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if image is None:
        raise DataError(f"{where}: {len(data)} bytes that are no image", "export the dataset again")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


class DataWriter:
    """The frames, episode by episode, in files of about `DATA_FILE_MB`; an episode never spans two of them."""

    def __init__(self, root: Path, features: Mapping[str, Mapping[str, Any]]) -> None:
        self._pa = require("pyarrow", PURPOSE, PACKAGES)
        self._parquet = require("pyarrow.parquet", PURPOSE, PACKAGES)
        self._root = root
        self._columns = {key: feature for key, feature in features.items() if feature["dtype"] != "video"}
        self._schema = self._arrow_schema()
        self._files = 0
        self._writer: Any = None

    def add(self, columns: Mapping[str, Any]) -> dict[str, int]:
        """Write the frames of one episode, by feature; returns the place of the file that holds them."""
        pa = self._pa
        if self._writer is None:
            path = self._root / DATA_PATH.format(**place(self._files))
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
            self._writer = self._parquet.ParquetWriter(self._file, self._schema, compression="snappy")
        arrays = [self._array(columns[field.name], field.type) for field in self._schema]
        self._writer.write_table(pa.Table.from_arrays(arrays, schema=self._schema))
        where = place(self._files)
        if self._file.tell() > DATA_FILE_MB * 2**20:
            self._close()
            self._files += 1
        return where

    def __enter__(self) -> DataWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._close()

    def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._file.close()
            self._writer = None

    def _array(self, values: Any, kind: Any) -> Any:
        """Rows of any number of axes as nested arrow lists, without a Python object per number."""
        pa = self._pa
        if not isinstance(values, np.ndarray):
            return pa.array(values, kind)
        lengths, array = values.shape, pa.array(np.ascontiguousarray(values).reshape(-1))
        for axis in range(len(lengths) - 1, 0, -1):
            offsets = np.arange(0, len(array) + 1, lengths[axis], dtype=np.int32)
            array = pa.ListArray.from_arrays(pa.array(offsets), array)
        return array

    def _arrow_schema(self) -> Any:
        pa = self._pa
        fields = []
        for key, feature in self._columns.items():
            if feature["dtype"] == "image":
                kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
            else:
                kind = pa.type_for_alias(feature["dtype"])
                for _ in range(0 if feature["shape"] == [1] else len(feature["shape"])):
                    kind = pa.list_(pa.field("item", kind))
            fields.append((key, kind))
        described = {key: _described(feature) for key, feature in self._columns.items()}
        return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": described}})})


def write_tasks(root: Path, instructions: list[str]) -> None:
    """meta/tasks.parquet: a pandas table with the instruction as index and its number as column."""
    pa, parquet = require("pyarrow", PURPOSE, PACKAGES), require("pyarrow.parquet", PURPOSE, PACKAGES)
    column = {"metadata": None, "pandas_type": "int64", "numpy_type": "int64"}
    index = {"metadata": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": "task_index", "field_name": "task_index"} | column,
            {"name": "task", "field_name": "task"} | index,
        ],
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.0.0",
    }
    table = pa.table({"task_index": pa.array(range(len(instructions)), pa.int64()), "task": instructions})
    parquet.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), root / TASKS)


def _described(feature: Mapping[str, Any]) -> dict[str, Any]:
    """A feature in the words of the `datasets` library."""
    if feature["dtype"] == "image":
        return {"_type": "Image"}
    value = {"dtype": feature["dtype"], "_type": "Value"}
    if feature["shape"] == [1]:
        return value
    if len(feature["shape"]) == 1:
        return {"feature": value, "length": feature["shape"][0], "_type": "Sequence"}
    return {"shape": feature["shape"], "dtype": feature["dtype"], "_type": "Array2D"}
