"""Loaded by the SDK's interpreter at its start: no name is looked up and nothing is reached but this machine.

The published SDK points at its makers' server when it is told nothing else; a test that forgot to say where
ours is must fail here instead of calling them.
"""

import ipaddress
import socket


def _is_local(host: object) -> bool:
    if host in (None, "", "localhost", b"localhost"):
        return True
    text = host.decode() if isinstance(host, bytes) else str(host)
    try:
        return ipaddress.ip_address(text.split("%")[0]).is_loopback
    except ValueError:
        return False


_connect, _connect_ex, _getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo


def _checked(address: object) -> None:
    if isinstance(address, tuple) and not _is_local(address[0]):
        raise OSError(f"blocked by the test: {address[0]}")


def connect(self, address):
    _checked(address)
    return _connect(self, address)


def connect_ex(self, address):
    _checked(address)
    return _connect_ex(self, address)


def getaddrinfo(host, *args, **kwargs):
    _checked((host,))
    return _getaddrinfo(host, *args, **kwargs)


socket.socket.connect = connect
socket.socket.connect_ex = connect_ex
socket.getaddrinfo = getaddrinfo
