"""Sockets bound before there are workers, and let go of without losing a client."""

from __future__ import annotations

import ctypes
import struct
import sys
from contextlib import suppress
from socket import AF_INET, AF_INET6, SO_REUSEADDR, SO_REUSEPORT, SOL_SOCKET, socket

from serving.errors import ServingError

BACKLOG = 2048
SO_ATTACH_FILTER = 26  # socket(7); Python has no name for it
BPF_RETURN = 0x06  # linux/bpf_common.h: BPF_RET | BPF_K; of 0 bytes, which drops the packet


def listen(host: str, port: int, name: str) -> socket:
    """Return a socket that listens. Raises ServingError, with the setting's name, when the port is taken."""
    listening = _bind(host, port, name, SO_REUSEADDR)
    listening.listen(BACKLOG)
    return listening


def reserve(host: str, port: int, name: str) -> socket:
    """Return a socket that holds a port which others share by SO_REUSEPORT. Raises ServingError as `listen` does."""
    alone = _bind(host, port, name, SO_REUSEADDR)  # another server may share it too, and this tells
    port = alone.getsockname()[1]
    alone.close()
    return _bind(host, port, name, SO_REUSEPORT)


def _bind(host: str, port: int, name: str, option: int) -> socket:
    bound = socket(AF_INET6 if ":" in host else AF_INET)
    try:
        bound.setsockopt(SOL_SOCKET, option, 1)
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise ServingError(f"{name}={port} on {host}: {error.strerror}") from error
    bound.setblocking(False)  # noqa: FBT003 (the socket's own)
    return bound


def drop_new(listening: socket) -> None:
    """Let the kernel drop packets that ask for a connection: it would reset those that wait when the socket closes.

    Their clients try again a second later, and then hear that nobody listens. Elsewhere than on Linux, and where the
    kernel does not let a locked-down process, they are reset.
    """
    if sys.platform != "linux":
        return
    drop = ctypes.create_string_buffer(struct.pack("HBBI", BPF_RETURN, 0, 0, 0))
    program = struct.pack("HP", 1, ctypes.addressof(drop))
    with suppress(PermissionError):
        listening.setsockopt(SOL_SOCKET, SO_ATTACH_FILTER, program)
