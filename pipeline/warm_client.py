"""The go-between of a cell and its kernel in another process: started as a kernel, it asks for one, and lives as long.

Run as a file with nothing but the standard library, so that it starts in a few hundredths of a second.
"""

import json
import os
import socket
import sys


def main(place: str, *arguments: str) -> None:
    """Ask the process that listens at `place` for a kernel with `arguments`, and wait for its end; else be one."""
    path = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    request = {"environment": dict(os.environ), "cwd": os.getcwd(), "path": path, "arguments": arguments}
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(place)
        message = json.dumps(request).encode() + b"\n"
        connection.sendall(message[socket.send_fds(connection, [message], [1, 2]) :])
    except OSError:
        os.execv(sys.executable, [sys.executable, "-m", "ipykernel_launcher", *arguments])
    connection.settimeout(1.0)
    parent = os.getppid()
    while os.getppid() == parent:  # a kernel ends with the cell that asked for it, whatever ended that
        try:
            connection.recv(1)
            return
        except TimeoutError:
            continue


if __name__ == "__main__":
    main(*sys.argv[1:])
