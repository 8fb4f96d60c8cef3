"""Which addresses a provider's answers may send us to.

A link in an answer is somebody else's text. It must not make this server fetch what stands behind its own
firewall: only public addresses over https are followed, and besides them the provider's own origin, wherever
the operator has put it.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit
from urllib.request import getproxies

from tintype_studio.errors import InvalidInput

_PORTS = {"http": 80, "https": 443}
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_UNICAST = ipaddress.ip_network("2000::/3")
"""All of IPv6 that is given out as public addresses."""
_SPECIAL = (
    ipaddress.ip_network("3fff::/20"),  # documentation
    ipaddress.ip_network("192.0.0.0/24"),  # protocols
    ipaddress.ip_network("192.88.99.0/24"),  # relays of 6to4
)
"""Not public, though some versions of the library, which knows the rest, call parts of it so."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, url: str) -> Origin | None:
        """The origin of an http(s) address without credentials in it; None for anything else."""
        try:
            parts: SplitResult = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            return None
        if parts.scheme not in _PORTS or not host or "@" in parts.netloc:
            return None
        return cls(parts.scheme, host, port or _PORTS[parts.scheme])


class Judge:
    """Judges addresses for one provider, whose API is at ``base``."""

    def __init__(self, base: str) -> None:
        home = Origin.of(base)
        if home is None:
            raise InvalidInput(
                "The connector's address is no http(s) address.",
                code="invalid_setting",
                fix="Ask the operator to correct TINTYPE_V7_URL or TINTYPE_ROBOFLOW_URL.",
            )
        self.home = home
        self._home_is_here = home.host == "localhost" or _is_loopback(home.host)

    def require(self, url: str) -> Origin:
        """The origin of an address that may be fetched.

        Raises:
            InvalidInput: it may not (``address_refused``); the address is not repeated.
        """
        origin = Origin.of(url)
        if origin is None:
            raise _refused("is no web address")
        if origin == self.home:
            return origin
        found = _resolved(origin)
        if self._home_is_here and found and all(address.is_loopback for address in found):
            return origin
        if origin.scheme != "https":
            raise _refused("is not https")
        if not all(map(_is_public, found)):
            raise _refused("is not on the public internet")
        return origin

    def require_peer(self, origin: Origin, peer: object) -> None:
        """The same of the address that was really connected to, should a name mean another one by then."""
        if origin == self.home or self._home_is_here or getproxies():
            return
        address = _parsed(str(peer[0])) if isinstance(peer, tuple) and peer else None
        if address is not None and not _is_public(address):
            raise _refused("is not on the public internet")


def _resolved(origin: Origin) -> list[Address]:
    """What the host's name means; nothing where only a proxy can tell."""
    literal = _parsed(origin.host)
    if literal is not None:
        return [literal]
    try:
        found = socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        if getproxies():
            return []
        raise _refused("has a host that is not known") from None
    return [address for info in found if (address := _parsed(str(info[4][0]))) is not None]


def _parsed(text: str) -> Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _is_public(inner)
        if address not in _UNICAST:
            return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast


def _is_loopback(host: str) -> bool:
    address = _parsed(host)
    return address is not None and address.is_loopback


def _refused(why: str) -> InvalidInput:
    return InvalidInput(
        f"The provider sent an address that {why}; it was not fetched.",
        code="address_refused",
        fix="Check the image's address at the provider; only public https addresses are fetched.",
    )
