"""How `coalition train` talks to `coalition serve`: a Unix socket in a folder that only its owner may enter.

One JSON line asks; JSON lines answer until the connection ends. Nothing of it is on the network.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import socketserver
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fedcart.shared.errors import ConfigError, InputError
from fedcart.shared.storage import named_failures, replace_bytes

CONTROL = "control"
"""File of the coalition's folder that names the socket; the path of a socket must be short."""
Say = Callable[[Mapping[str, Any]], None]
Handle = Callable[[Mapping[str, Any], Say], None]
"""(question, say): answer by saying things."""


class Control:
    """The server's end. `handle` runs in a thread for each question."""

    def __init__(self, directory: Path, handle: Handle) -> None:
        self._place = Path(tempfile.mkdtemp(prefix="fedcart-"))  # mode 0700
        self._file = directory / CONTROL
        path = str(self._place / "socket")

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                def say(told: Mapping[str, Any]) -> None:
                    try:
                        self.wfile.write(json.dumps(told).encode() + b"\n")
                        self.wfile.flush()
                    except OSError:
                        pass  # who asked is gone; what was asked for goes on

                try:
                    question = json.loads(self.rfile.readline(1 << 16))
                except ValueError:
                    return
                handle(question, say)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        self._server = Server(path, Handler)
        os.chmod(path, 0o600)
        self._thread = threading.Thread(target=self._server.serve_forever, name="fedcart-control", daemon=True)
        self._thread.start()
        replace_bytes(self._file, path.encode())

    def close(self) -> None:
        """Answer nobody any more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
        self._file.unlink(missing_ok=True)
        shutil.rmtree(self._place, ignore_errors=True)


def is_served(directory: Path) -> bool:
    """Whether a coalition's server answers; one that was killed leaves its file behind."""
    try:
        path = (directory / CONTROL).read_text()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.connect(path)
    except OSError:
        return False
    return True


def question(directory: Path, asked: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Ask the server of a coalition; yields what it says, until it has said all or is gone.

    Raises:
      InputError: none is running.
    """
    file = directory / CONTROL
    if not file.exists():
        raise ConfigError(f"{directory}: nobody serves it; nothing was run", f"fedcart coalition serve {directory}")
    with named_failures(file, "read"):
        path = file.read_text()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            connection.connect(path)
        except OSError as error:
            raise InputError(
                f"{directory}: its server does not answer ({error.strerror}); nothing was run",
                f"fedcart coalition serve {directory}",
            ) from None
        connection.sendall(json.dumps(dict(asked)).encode() + b"\n")
        with connection.makefile("rb") as lines, contextlib.suppress(ConnectionError):
            while (line := lines.readline()).endswith(b"\n"):  # half a line is no word
                yield json.loads(line)
