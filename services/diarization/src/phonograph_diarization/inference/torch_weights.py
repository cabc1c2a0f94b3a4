"""Tensors of a torch checkpoint, read without torch and without running what the file names."""

import pickle
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from phonograph_runtime.errors import EngineUnavailableError

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_LENGTH_BYTES = 8


@dataclass(frozen=True, slots=True)
class _FloatStorage:
    """A block of numbers that follows the pickles of the file."""

    key: str
    count: int


@dataclass(frozen=True, slots=True)
class _StoredTensor:
    storage: _FloatStorage
    offset: int
    shape: tuple[int, ...]

    def view(self, blocks: dict[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        count = int(np.prod(self.shape))
        return blocks[self.storage.key][self.offset : self.offset + count].reshape(self.shape)


class _TensorUnpickler(pickle.Unpickler):
    """Creates dictionaries and placeholders of float tensors; refuses every other class or function."""

    @override
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        match module_name, global_name:
            case "collections", "OrderedDict":
                return OrderedDict
            case "torch._utils", "_rebuild_tensor_v2":
                return _rebuild_tensor
            case "torch", "FloatStorage":
                return "FloatStorage"
            case _:
                raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which is no tensor")

    @override
    def persistent_load(self, pid: Any, /) -> _FloatStorage:
        match pid:
            case ("storage", "FloatStorage", str(key), str(), int(count), None):
                return _FloatStorage(key, count)
            case _:
                raise pickle.UnpicklingError("it refers to something that is no storage of float32 numbers")


def read_torch_weights(path: Path, entry: str) -> dict[str, NDArray[np.float32]]:
    """Return the float32 tensors of one entry of a checkpoint in torch's format from before version 1.6.

    Args:
        path: The checkpoint.
        entry: Key of a dictionary of tensors, such as `model_state`.

    Raises:
        EngineUnavailableError: If the file cannot be read or holds anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file, entry)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError,
            pickle.UnpicklingError) as error:  # fmt: skip
        raise EngineUnavailableError(f"{path} is no checkpoint of tensors: {error}.") from error


def _read(file: BinaryIO, entry: str) -> dict[str, NDArray[np.float32]]:
    magic, version, system = (_TensorUnpickler(file).load() for _ in range(3))
    if (magic, version, system["little_endian"]) != (_MAGIC, _VERSION, True):
        raise ValueError("its header is another one")
    tensors = {
        name: tensor
        for name, tensor in _TensorUnpickler(file).load()[entry].items()
        if isinstance(tensor, _StoredTensor)
    }
    blocks = {}
    for key in _TensorUnpickler(file).load():
        count = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        blocks[key] = np.frombuffer(file.read(4 * count), "<f4").astype(np.float32, copy=False)
    return {name: tensor.view(blocks) for name, tensor in tensors.items()}


def _rebuild_tensor(
    storage: _FloatStorage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> _StoredTensor:
    """Return the placeholder of a tensor; called with the arguments that torch pickles."""
    rows_first = tuple(int(np.prod(shape[axis + 1 :])) for axis in range(len(shape)))
    if stride != rows_first:
        raise ValueError("the numbers of a tensor are not in the order of its rows")
    return _StoredTensor(storage, offset, shape)
