"""HUBNET_REDIS_URL as text: which forms it has, what is allowed, and how it is shown.

A server (``redis``, ``rediss``, ``unix``), the Sentinels that know a service's master, or nodes of a Cluster. Nothing is looked
up here.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_SERVER = re.compile(r"(rediss?|unix)://.")
_GUIDED = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://(?:(?P<login>[^/?#]*)@)?(?P<guides>[^/?#@]+)"
    r"(?:/(?P<service>[^/?#]*))?(?:\?(?P<options>[^#]*))?"
)
_GUIDE = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[^][:,\s]{1,253})(?::(\d{1,5}))?")
_LETTERS = (f"(?:{one}|%{ord(one):x}|%{ord(one.upper()):x})" for one in "password")  # names may be percent-encoded
_PASSWORD = re.compile(f"({''.join(_LETTERS)}=)[^&]*", re.IGNORECASE)
_PORTS = {"sentinel": 26379, "cluster": 6379}


class Guided(NamedTuple):
    """A URL that names who knows where Redis is.

    Attributes:
        kind: "sentinel" or "cluster".
        guides: host and port of each that may be asked, as written.
        service: the name of the master's service, which Sentinels are asked for; "" in a Cluster.
        scheme: "redis" or "rediss", for the guides and for what they point to.
        login: user and password of Redis as in the URL, with the "@"; or "".
        guides_login: the same of the guides.
        options: what followed "?", without the login of Sentinels.
    """

    kind: str
    guides: tuple[tuple[str, int], ...]
    service: str
    scheme: str
    login: str
    guides_login: str
    options: str

    def __repr__(self) -> str:  # the logins are passwords
        return f"<{self.kind} of {self.service or 'a Cluster'} by {len(self.guides)} guides>"

    def guide(self, host: str, port: int) -> str:
        """The URL of one that may be asked."""
        return self._url(self.guides_login, host, port)

    def server(self, host: str, port: int) -> str:
        """The URL of the Redis that is there."""
        return self._url(self.login, host, port)

    def _url(self, login: str, host: str, port: int) -> str:
        where = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{login}{where}:{port}/0{'?' + self.options if self.options else ''}"


def guided(url: str) -> Guided | None:
    """What a URL says of Sentinels or a Cluster; None where it names a server itself.

    Raises:
        ValueError: with what is allowed.
    """
    if "+" not in url.partition("://")[0]:
        return None
    match = _GUIDED.fullmatch(url)
    kind = match["kind"] if match else ""
    guides = [_GUIDE.fullmatch(part) for part in match["guides"].split(",")] if match else [None]
    service = (match["service"] or "") if match else ""
    if not match or not all(guides) or bool(service) != (kind == "sentinel"):
        raise ValueError(
            "redis+sentinel://user:password@host:port,host:port/service or redis+cluster://user:password@host:port,host:port"
        )
    found = tuple((one[1].strip("[]"), int(one[2] or _PORTS[kind])) for one in guides if one)
    if not all(0 < port < 65536 for _, port in found):
        raise ValueError("a port from 1 to 65535")
    login = f"{match['login']}@" if match["login"] else ""
    options = [one for one in (match["options"] or "").split("&") if one]
    own = dict(
        one.partition("=")[::2] for one in options if one.startswith(("sentinel_username=", "sentinel_password="))
    )
    if kind == "cluster":
        guides_login = login
    else:
        password = own.get("sentinel_password", "")
        guides_login = f"{own.get('sentinel_username', '')}:{password}@" if password else ""
    rest = "&".join(one for one in options if one.partition("=")[0] not in own)
    return Guided(kind, found, service, match["scheme"], login, guides_login, rest)


def has_user(url: str) -> bool:
    """Whether a URL says who asks there, other than the default user: such a user may have few rights."""
    login = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return login.partition(":")[0] not in {"", "default"} or re.search(r"[?&]username=[^&]", url) is not None


def check(url: str) -> str:
    """A URL that may be used, without blanks around it.

    Raises:
        ValueError: with what is allowed.
    """
    url = url.strip()
    if "\0" in url:
        raise ValueError("text without NUL")
    if not url or guided(url):
        return url
    if re.search(r":\d+$", url.partition("://")[2].partition("/")[0]) and not _port_fits(url):
        raise ValueError("a port from 1 to 65535")
    if not _SERVER.match(url):
        raise ValueError(
            "redis://, rediss:// or unix:// followed by where Redis is, redis+sentinel:// or redis+cluster:// by who knows"
        )
    from urllib.parse import urlsplit  # 6 ms: settings are read once a peer starts

    try:
        where = urlsplit(url)
        _ = where.port, where.hostname
        fits = not where.fragment and bool(where.path if where.scheme == "unix" else where.netloc)
        fits = fits and (where.scheme == "unix" or re.fullmatch(r"/?\d{0,5}", where.path) is not None)
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            "user:password@host:port/number, in user and password '/' as %2F, '#' as %23, '@' as %40, '[' as %5B"
        )
    return url


def _port_fits(url: str) -> bool:
    port = url.partition("://")[2].partition("/")[0].rpartition(":")[2]
    return len(port) < 10 and 0 < int(port) < 65536  # int() refuses thousands of digits in words of its own


def without_password(url: str) -> str:
    """A URL as it may be shown, well-formed or not: a part that may be a password is left out."""
    if "@" not in url:
        url = re.sub(r"^([a-z+]*:/*[^/?#:]*):(?!\d{1,5}([/?#,]|$))[^/?#]*", r"\1:***", url, flags=re.IGNORECASE)
    return hide_passwords(re.sub(r"^([a-z+]*:/*).*@", r"\1***@", url, flags=re.IGNORECASE))


def hide_passwords(url: str) -> str:
    """A URL without the passwords among its options, however their names are spelled."""
    return _PASSWORD.sub(r"\1***", url)
