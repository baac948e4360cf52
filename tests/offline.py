"""No test, and nothing that it calls, may reach beyond this machine."""

import ipaddress
import socket
from typing import Any

attempts: list[Any] = []  # addresses that something tried to reach


def forbid_network() -> None:
    """Lets sockets connect to this machine only, from now on.

    What tries another address gets a `RuntimeError`; `attempts` keeps the
    address, for those who catch every error.
    """
    for name in ("connect", "connect_ex"):
        setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


def _guarded(method: Any) -> Any:
    def connect(self: socket.socket, address: Any) -> Any:
        internet = self.family in (socket.AF_INET, socket.AF_INET6)
        if internet and not _is_here(address[0]):
            attempts.append(address)
            raise RuntimeError(f"tests must not use the network: {address}")
        return method(self, address)

    return connect


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
