"""One observation there, one chunk back, over a loopback socket: JSON header, then raw arrays. Runs in both environments."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

_MAX_BYTES = 64_000_000
HOST = "127.0.0.1"


def send(connection: socket.socket, arrays: Mapping[str, Any]) -> None:
    """Arrays by name."""
    values = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    text = json.dumps([[n, str(a.dtype), list(a.shape)] for n, a in values.items()]).encode()
    body = b"".join(array.tobytes() for array in values.values())
    connection.sendall(struct.pack(">II", len(text), len(body)) + text + body)


def receive(connection: socket.socket) -> dict[str, Any]:
    """What `send` sent.

    Raises:
        ConnectionError: the other side is gone, or sends something else.
    """
    text_bytes, body_bytes = struct.unpack(">II", _exactly(connection, 8))
    if text_bytes + body_bytes > _MAX_BYTES:
        raise ConnectionError(f"a message of {text_bytes + body_bytes} bytes, at most {_MAX_BYTES}")
    header, body = json.loads(_exactly(connection, text_bytes)), _exactly(connection, body_bytes)
    arrays, at = {}, 0
    for name, dtype, shape in header:
        size = np.dtype(dtype).itemsize * int(np.prod(shape))
        arrays[name] = np.frombuffer(body[at : at + size], dtype).reshape(shape)
        at += size
    return arrays


def serve(act: Callable[[dict[str, Any]], Any], listener: socket.socket) -> None:
    """Answer one client until it hangs up."""
    connection, _ = listener.accept()
    connection.settimeout(None)
    with connection:
        while True:
            try:
                arrays = receive(connection)
            except ConnectionError:
                return
            send(connection, {"chunk": act(arrays)})


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        more = connection.recv(count - len(data))
        if not more:
            raise ConnectionError("the other side hung up")
        data += more
    return data
