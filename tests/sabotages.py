"""What ``python -m tests.sabotage`` breaks: small changes of hubnet's source, each of which takes one promise away.

A row of the reference's document is named as ``python -m tests.reference_report`` prints it, or by its beginning and "…".
"""

from __future__ import annotations

from typing import NamedTuple


class Sabotage(NamedTuple):
    """One feature broken.

    Attributes:
        name: for people and for ``--only``.
        file: below hubnet/.
        old: what is replaced; it is in the file exactly once.
        new: by what.
        rows: what must turn red.
        short: whether it is one of the handful of ``--short``.
    """

    name: str
    file: str
    old: str
    new: str
    rows: tuple[str, ...]
    short: bool = False


CONNECT = (
    Sabotage(
        "tags-ignored",
        "core/connections.py",
        "    if tag is not None:\n        return tag, ()\n",
        "",
        (
            "connect: This will be tagged and registered with the Peer server.",
            "connect: The tag is a base64 encoded path to the function or…",
            "connect: Tagging a named function allows you to interconnect functions between code bases.",
            "connect: In the above example, we have tagged function and function2 with the same tag…",
            "connect: Now when PeerA requests to execute…",
            "connect: Custom tagging",
        ),
        short=True,
    ),
    Sabotage(
        "tags-are-the-path-in-clear",
        "core/connections.py",
        'return binascii.b2a_base64(f"{module}.{name}".encode(), newline=False).decode()',
        'return f"{module}.{name}"',
        (
            "connect: The tag is a base64 encoded path to the function or…",
            "connect: For example, a connected function with no tag is tied to…",
            "connect: But that function no longer exists as far as PeerB is concerned.",
        ),
    ),
    Sabotage(
        "tags-without-the-module",
        "core/connections.py",
        'return binascii.b2a_base64(f"{module}.{name}".encode(), newline=False).decode()',
        "return binascii.b2a_base64(name.encode(), newline=False).decode()",
        (
            "connect: The tag is a base64 encoded path to the function or…",
            "connect: For example, a connected function with no tag is tied to…",
            "connect: This means the peers will only know which functions are compatible…",
            "connect: In the above example, PeerA could make a request to PeerB…",
            "connect: But that function no longer exists as far as PeerB is concerned.",
        ),
    ),
    Sabotage(
        "tags-of-the-qualified-name",
        "core/connections.py",
        'name = getattr(function, "__name__", type(function).__name__)',
        'name = getattr(function, "__qualname__", type(function).__name__)',
        ("connect: For example, a connected function with no tag is tied to…",),
    ),
    Sabotage(
        "functions-of-main-unknown-by-main",
        "core/connections.py",
        'return path_tag(file_module, name), (path_tag("__main__", name),)',
        "return path_tag(file_module, name), ()",
        ("connect: For example, a connected function with no tag is tied to…",),
    ),
    Sabotage(
        "functions-of-main-unknown-by-their-module",
        "core/connections.py",
        "if module in main_file.NAMES and (file_module := main_file.module_name(module)):",
        "if (file_module := None):",
        ("connect: For example, a connected function with no tag is tied to…",),
    ),
    Sabotage(
        "metadata-of-the-function-lost",
        "connect.py",
        "@functools.wraps(function)",
        "@functools.wraps(function, assigned=())",
        ("connect: For example, a connected function with no tag is tied to…",),
    ),
    Sabotage(
        "keywords-of-a-remote-call-lost",
        "connect.py",
        "return peers.call(connection, peer, args, kwargs, timeout)",
        "return peers.call(connection, peer, args, {}, timeout)",
        ("connect: Registers a function as a connection.", "pass_through: Returns: *args, **kwargs"),
    ),
    Sabotage(
        "keywords-of-a-local-call-lost",
        "connect.py",
        "result: Any = function(*args, **kwargs)",
        "result: Any = function(*args)",
        (
            "connect: Registers a function as a connection.",
            "connect: Standard no tagging",
            "connect: Custom tagging",
        ),
    ),
    Sabotage(
        "result-of-a-remote-call-lost",
        "connect.py",
        "return peers.call(connection, peer, args, kwargs, timeout)",
        "result = peers.call(connection, peer, args, kwargs, timeout)\n            return result if connection.builtin else None",
        (
            "connect: Registers a function as a connection.",
            "connect: Tagging a named function allows you to interconnect functions between code bases.",
            "connect: This means the peers will only know which functions are compatible…",
            "connect: Now when PeerA requests to execute…",
            "connect: Standard no tagging",
            "connect: Custom tagging",
            "flag: Register a function as a flag handler for the peer server.",
            "null_response: Execute this if the peer has returned the NULL_RESPONSE flag.",
            "Peer: Running Peer server for this instance of python.",
            "PeerHandler: Handles all incoming requests to the applications Peer server.",
            "peers: Hubs act as the centers for certain application events or processes.",
            "peers: In some cases, you may only want to subscribe or communicate with hubs.",
        ),
    ),
    Sabotage(
        "calls-of-one-name-get-one-answer",
        "links/serving.py",
        "            body = following\n",
        "",
        ("PeerHandler: Handles all incoming requests to the applications Peer server.",),
    ),
    Sabotage(
        "connections-not-shown-on-the-peer",
        "peer.py",
        "return {connection.tag: connection.function for connection in self.tables.connections}",
        "return {connection.tag: connection for connection in self.tables.connections}",
        ("connect: This will be tagged and registered with the Peer server.", "connections: Returns: peer.CONNECTIONS"),
    ),
)

FLAGS = (
    Sabotage(
        "flags-in-band",
        "links/running.py",
        "    if type(result) is Flag:\n        return protection.pack(frames.FLAG, result.name.encode())\n",
        "",
        (
            "flag: Register a function as a flag handler for the peer server.",
            "null_response: Execute this if the peer has returned the NULL_RESPONSE flag.",
            "null_response: connection – name of the connection requested",
            "null_response: foreign_peer_id – The foreign peers friendly_id",
            "null: net.null(*args, **kwargs)",
            "null: Return a null response flag",
            "invalid_connection: Execute this if the peer has returned the NULL_RESPONSE flag.",
        ),
        short=True,
    ),
    Sabotage(
        "flags-in-band-at-home",
        "connect.py",
        "return peers.Peer().answered_here(connection, result) if type(result) is Flag else result\n\n    call.",
        "return result\n\n    call.",
        ("flag: Register a function as a flag handler for the peer server.", "flag: name – str"),
    ),
    Sabotage(
        "unknown-flag-swallowed",
        "core/flags.py",
        "        if handler is None:\n            raise UnknownFlag(",
        "        if handler is None:\n            return UnknownFlag(",
        ("flag: Register a function as a flag handler for the peer server.",),
    ),
    Sabotage(
        "flags-of-any-name",
        "flag.py",
        'name = text(name, "a flag\'s name is a str")',
        "name = str(name)",
        ("flag: name – str",),
    ),
    Sabotage(
        "flag-handlers-not-shown-on-the-peer",
        "peer.py",
        "return dict(self.tables.flags)",
        "return {}",
        ("flag: Register a function as a flag handler for the peer server.",),
    ),
    Sabotage(
        "flag-equals-its-name",
        "core/flags.py",
        "return isinstance(other, Flag) and other.name == self.name",
        'return getattr(other, "name", other) == self.name',
        ("null: Returns: NULL Flag",),
    ),
    Sabotage(
        "flag-handler-gets-the-path",
        "links/calling.py",
        "self._flags.run(bytes(frame.body).decode(), tag, dict(endpoint.friendly))",
        "self._flags.run(bytes(frame.body).decode(), untagged(tag), dict(endpoint.friendly))",
        ("null_response: connection – name of the connection requested", "null: Return a null response flag"),
    ),
    Sabotage(
        "flag-handler-told-of-nobody",
        "links/calling.py",
        "self._flags.run(bytes(frame.body).decode(), tag, dict(endpoint.friendly))",
        "self._flags.run(bytes(frame.body).decode(), tag, {})",
        ("null_response: foreign_peer_id – The foreign peers friendly_id",),
    ),
    Sabotage(
        "null-answers-none",
        "defaults.py",
        "return peers.Peer().get_flag(NULL)",
        "return None",
        ("null: net.null(*args, **kwargs)", "null: Return a null response flag", "null: Returns: NULL Flag"),
    ),
    Sabotage(
        "null-response-answers-none",
        "defaults.py",
        "    return NULL\n",
        "    return None\n",
        (
            "null_response: Execute this if the peer has returned the NULL_RESPONSE flag.",
            "null_response: Returns: str",
            "null: net.null(*args, **kwargs)",
            "null: Return a null response flag",
        ),
    ),
    Sabotage(
        "invalid-connection-is-none",
        "links/calling.py",
        "            if isinstance(error, InvalidConnection):\n                return self._flags.run(",
        "            if isinstance(error, InvalidConnection):\n                return None and self._flags.run(",
        (
            "connect: This means the peers will only know which functions are compatible…",
            "connect: In the above example, PeerA could make a request to PeerB…",
            "connect: The source code and functionality could be exactly the same…",
            "invalid_connection: Execute this if the peer has returned the NULL_RESPONSE flag.",
            "invalid_connection: connection – name of the connection requested",
            "invalid_connection: foreign_peer_id – The foreign peers friendly_id",
            "PeerHandler: Handles all incoming requests to the applications Peer server.",
        ),
    ),
    Sabotage(
        "invalid-connection-unnamed",
        "links/calling.py",
        "INVALID_CONNECTION, tag, {**endpoint.friendly",
        'INVALID_CONNECTION, "", {**endpoint.friendly',
        (
            "connect: In the above example, PeerA could make a request to PeerB…",
            "invalid_connection: connection – name of the connection requested",
        ),
    ),
    Sabotage(
        "invalid-connection-of-nobody",
        "links/calling.py",
        "INVALID_CONNECTION, tag, {**endpoint.friendly, ",
        "INVALID_CONNECTION, tag, {",
        ("invalid_connection: foreign_peer_id – The foreign peers friendly_id",),
    ),
)

DEFAULTS = (
    Sabotage(
        "info-of-the-caller",
        "defaults.py",
        'return {**peers.Peer().friendly_id, "labels": peers.Peer().labels}',
        "call = peers.here.call\n"
        '    return {**(call.link.friendly if call.link else peers.Peer().friendly_id), "labels": {}}',
        (
            "info: Return information about the peer requested.",
            "info: Returns: peer.friendly_id",
            "PeerHandler: Handles all incoming requests to the applications Peer server.",
        ),
    ),
    Sabotage(
        "info-without-a-key",
        "defaults.py",
        'return {**peers.Peer().friendly_id, "labels": peers.Peer().labels}',
        'said = {**peers.Peer().friendly_id, "labels": {}}\n    del said["executable"]\n    return said',
        ("info: Returns: peer.friendly_id",),
    ),
    Sabotage(
        "connections-returns-nothing",
        "defaults.py",
        "for connection in listed if not connection.builtin}",
        "for connection in listed if connection.builtin is None}",
        (
            "connections: Return the connections registered with the peer.",
            "connections: Returns: peer.CONNECTIONS",
            "connect: The tag is a base64 encoded path to the function or…",
            "connect: For example, a connected function with no tag is tied to…",
            "connect: But that function no longer exists as far as PeerB is concerned.",
            "connect: In the above example, we have tagged function and function2 with the same tag…",
            "connect: Custom tagging",
        ),
    ),
    Sabotage(
        "connections-without-signatures",
        "defaults.py",
        "signature = str(inspect.signature(function))",
        'signature = "(...)"',
        ("connections: Returns: peer.CONNECTIONS",),
    ),
    Sabotage(
        "pass-through-loses-keywords",
        "defaults.py",
        "not kwargs else (args, kwargs)",
        "not kwargs else (args, {})",
        ("pass_through: Returns: *args, **kwargs",),
        short=True,
    ),
    Sabotage(
        "pass-through-makes-lists-of-tuples",
        "defaults.py",
        "return args[0] if len(args) == 1",
        "args = tuple(list(one) if isinstance(one, tuple) else one for one in args)\n    return args[0] if len(args) == 1",
        ("pass_through: Used for testing, takes your arguments and passes them back for type testing.",),
    ),
)

PEERS = (
    Sabotage(
        "own-peer-listed",
        "directory.py",
        "for peer_id, record in found.items() if peer_id != self._own_id}",
        "for peer_id, record in found.items()}",
        ("peers: Get a list of all peers on your network.", "peers: Returns: { # Peers ‘peers’: {…"),
    ),
    Sabotage(
        "group-none-missing",
        "api.py",
        'self.setdefault(record["group"], []).append(peer_id)',
        'if record["group"] != "None":\n                self.setdefault(record["group"], []).append(peer_id)',
        ("peers: Returns: { # Peers ‘peers’: {…",),
    ),
    Sabotage(
        "user-missing-in-a-record",
        "peer.py",
        '"executable": sys.executable, "user": _user(),',
        '"executable": sys.executable, "user": "",',
        ("peers: Returns: { # Peers ‘peers’: {…",),
    ),
    Sabotage(
        "ids-of-another-shape",
        "core/identity.py",
        '_ARROW = " -> "',
        '_ARROW = " => "',
        ("peers: Returns: { # Peers ‘peers’: {…",),
    ),
    Sabotage(
        "peers-groups-dropped",
        "hub.py",
        '(wanted is None or record["group"] in wanted)',
        "(wanted is None or True)",
        (
            "peers: net.api.peers(refresh=False, groups=None, on_host=False, hubs_only=False)",
            "peers: This is a cached values since…",
            "peers: You can also limit this search to only look for operating peers on the localhost…",
            "peers: Refresh the cache with peers in group1",
            "peers: Refresh the cache with peers in group1 and 2",
            "peers: Refresh the cache with only hubs in group1 and 2",
            "peers: groups – str",
            "peers: hubs_only – Bool",
        ),
    ),
    Sabotage(
        "peers-hubs-only-dropped",
        "hub.py",
        'and (not hubs_only or record["hub"])',
        "",
        (
            "peers: net.api.peers(refresh=False, groups=None, on_host=False, hubs_only=False)",
            "peers: This is a cached values since…",
            "peers: In some cases, you may only want to subscribe or communicate with hubs.",
            "peers: You can specify this through the hubs_only kwarg.",
            "peers: Refresh the cache with all of the hubs on the network regardless of group.",
            "peers: Refresh the cache with only hubs in group1 and 2",
            "peers: hubs_only – Bool",
        ),
        short=True,
    ),
    Sabotage(
        "peers-on-host-dropped",
        "hub.py",
        'and (machine is None or record["machine"] == machine)',
        "",
        (
            "peers: net.api.peers(refresh=False, groups=None, on_host=False, hubs_only=False)",
            "peers: This is a cached values since…",
            "peers: You can also limit this search to only look for operating peers on the localhost…",
            "peers: Only search for peers on local host and not on the network.",
            "peers: on_host – Bool",
        ),
    ),
    Sabotage(
        "peer-group-on-host-dropped",
        "api.py",
        'query = _query(name, on_host=on_host, hubs_only=hubs_only, parameter="name")',
        'query = _query(name, on_host=False, hubs_only=hubs_only, parameter="name")',
        ("peers: You can also limit this search to only look for operating peers on the localhost…",),
    ),
    Sabotage(
        "peers-by-position-in-another-order",
        "api.py",
        "order = list(named) if first and isinstance(first[0], bool) else",
        "order =",
        ("peers: net.api.peers(refresh=False, groups=None, on_host=False, hubs_only=False)",),
    ),
    Sabotage(
        "peers-takes-no-groups-by-position",
        "api.py",
        'list(named) if first and isinstance(first[0], bool) else ["groups", "refresh", "on_host", "hubs_only"]',
        "list(named)",
        (
            "peers: This is a cached values since…",
            "peers: Refresh the cache with peers in group1",
            "peers: Refresh the cache with peers in group1 and 2",
            "peers: Refresh the cache with only hubs in group1 and 2",
        ),
    ),
    Sabotage(
        "peers-takes-anything-for-refresh",
        "api.py",
        'refresh = boolean(named["refresh"], "refresh")',
        'refresh = bool(named["refresh"])',
        ("peers: refresh – Bool",),
    ),
    Sabotage(
        "peers-by-number-missing",
        "api.py",
        "if isinstance(key, int) and not isinstance(key, bool):",
        "if isinstance(key, complex):",
        ("subscribe: Subscribe to “some_event” on a single peer.",),
    ),
    Sabotage(
        "cache-shared-between-filters",
        "directory.py",
        "kept = self._listings.get(query)",
        "kept = self._listings.get(Query()) or self._listings.get(query)",
        (
            "peers: This is a cached values since…",
            "peers: You can also limit this search to only look for operating peers on the localhost…",
            "peers: You can specify this through the hubs_only kwarg.",
            "peers: Only search for peers on local host and not on the network.",
            "peers: groups – str",
            "peers: on_host – Bool",
            "peers: hubs_only – Bool",
        ),
    ),
    Sabotage(
        "cache-never-filled",
        "directory.py",
        "if live and before == self._changes:",
        "if not live and before == self._changes:",
        ("peers: This is a cached values since…", "peers: Refresh all peers in the cache"),
    ),
    Sabotage(
        "cache-outlives-the-lease",
        "directory.py",
        " and time.monotonic() - kept.at < self._lease:",
        ":",
        ("peers: This is a cached values since…",),
    ),
    Sabotage(
        "cache-never-emptied",
        "directory.py",
        "            self._listings.clear()\n",
        "",
        ("peers: Get a list of all peers on your network.",),
    ),
    Sabotage(
        "refresh-ignored",
        "directory.py",
        "if kept and not refresh and",
        "if kept and",
        ("peers: Refresh all peers in the cache",),
    ),
    Sabotage(
        "listing-by-a-shell-call",
        "directory.py",
        "        self._hear_presence()\n",
        '        self._hear_presence()\n        __import__("os").system("true")\n',
        ("peers: Under the hood, it is making a shell call to arp -a…",),
    ),
    Sabotage(
        "initial-call-does-not-wait",
        "directory.py",
        "            if rounds == 1:\n                continue\n",
        "            if rounds == 1:\n                continue\n            break\n",
        ("peers: The initial call to this will hang for a few seconds.",),
    ),
)

EVENTS = (
    Sabotage(
        "event-sends-what-it-was-called-with",
        "event.py",
        "body = _encoded(name, function, pair)",
        "body = _encoded(name, function, pair) and _encoded(name, function, (args, kwargs))",
        (
            "event: Event triggers are hooks into the event system between peers.",
            "event: Lastly, these event functions act as a buffer…",
            "event: As you can see, these functions act as a hook into the delivery system…",
        ),
        short=True,
    ),
    Sabotage(
        "event-may-return-anything",
        "event.py",
        "    if not (\n        isinstance(pair, tuple)",
        "    if False and not (\n        isinstance(pair, tuple)",
        ("event: All functions flagged as an event MUST return args and kwargs…",),
    ),
    Sabotage(
        "event-returns-nothing",
        "event.py",
        "            return pair\n",
        "            return None\n",
        (
            "event: Registers a function as an event trigger.",
            "event: On PeerB’s side we have the following.",
            "event: For the purpose of protecting the event triggering peer…",
            "event: But nothing will halt the running application.",
        ),
    ),
    Sabotage(
        "event-waits-for-redis",
        "peer.py",
        "        publish(channel, body)\n\n",
        "        publish(channel, body)\n        parts.publisher.flush(60.0)\n\n",
        (
            "event: For the purpose of protecting the event triggering peer…",
            "event: But nothing will halt the running application.",
        ),
    ),
    Sabotage(
        "events-overtake-each-other",
        "bus/publisher.py",
        "                channel, body = self._outbox.popleft()\n",
        "                channel, body = self._outbox.pop()\n",
        (
            "event: Now lets say in PeerB we want to trigger the event in a for loop…",
            "event: There are protections put in place…",
        ),
    ),
    Sabotage(
        "event-names-not-encoded",
        "core/channels.py",
        'return quote(name, safe="")',
        "return quote(name, safe=name)",
        ("event: Keep in mind, you can have any number of peers subscribe to any kind of event.",),
    ),
    Sabotage(
        "events-of-main-by-reference",
        "core/codec.py",
        "return data.find(_MAIN) >= 0",
        "return False and data.find(_MAIN) >= 0",
        ("event: var = MyCustomObject() # some JSON incompatible object…",),
    ),
    Sabotage(
        "handler-error-ends-the-subscription",
        "bus/subscription.py",
        'failed; the event is dropped, the next ones go on", self.event)\n',
        'failed; the event is dropped, the next ones go on", self.event)\n                raise\n',
        (
            "event: But nothing will halt the running application.",
            "event: i.e. event -> remote peer errors -> event peer will log and ignore",
        ),
    ),
    Sabotage(
        "handler-error-not-logged",
        "bus/subscription.py",
        '_log.exception("a handler of event',
        '_log.debug("a handler of event',
        (
            "event: For the purpose of protecting the event triggering peer…",
            "event: i.e. event -> remote peer errors -> event peer will log and ignore",
        ),
    ),
    Sabotage(
        "vanished-subscriber-kept",
        "watch.py",
        "if self._registry.withdraw(peer_id, incarnation, only_if_expired=only_if_expired):",
        "if not peer_id:",
        (
            "event: Stale peer subscriptions will be added to the stale list and pruned.",
            "event: Since the subscriptions are created per client request…",
        ),
    ),
    Sabotage(
        "subscriptions-not-listed",
        "peer.py",
        "live = sorted({one.event for one in self.subscriptions if parts.subscriber.is_live(one)})",
        "live: list[str] = []",
        (
            "event: Peers that net.subscribe to a peer, register an event on that peer.",
            "event: Stale peer subscriptions will be added to the stale list and pruned.",
        ),
    ),
    Sabotage(
        "subscriptions-not-shown-on-the-peer",
        "peer.py",
        "return sorted({wish.event for wish in self.tables.subscriptions})",
        "return []",
        ("event: Lets say PeerA subscribes to an event on PeerB using the following code.",),
    ),
)

SUBSCRIBE = (
    Sabotage(
        "subscribe-groups-dropped",
        "subscribe.py",
        'AllOf((filter_of(groups, "groups"), ',
        "AllOf((",
        (
            "subscribe: net.subscribe.subscribe(event…",
            "subscribe: Subscribe to “some_event” on group1 peers only.",
            "subscribe: Subscribe to “some_event” on a single peer.",
        ),
    ),
    Sabotage(
        "subscribe-peers-dropped",
        "subscribe.py",
        'filter_of(peers, "peers"), ',
        "",
        (
            "subscribe: net.subscribe.subscribe(event…",
            "subscribe: Subscribe to an event on another peer or set of peers.",
            "subscribe: You can also manually filter the peers…",
        ),
        short=True,
    ),
    Sabotage(
        "subscribe-hubs-only-dropped",
        "subscribe.py",
        ", Query(hubs_only=hubs_only)))",
        "))",
        (
            "subscribe: net.subscribe.subscribe(event…",
            "peers: In some cases, you may only want to subscribe or communicate with hubs.",
        ),
    ),
    Sabotage(
        "subscribe-on-host-dropped",
        "subscribe.py",
        "Query(machine=parts.machine if on_host else None)",
        "Query()",
        ("subscribe: net.subscribe.subscribe(event…",),
    ),
    Sabotage(
        "subscribe-takes-the-handler-away",
        "subscribe.py",
        "        autostart()\n        return function\n",
        "        autostart()\n        return None\n",
        (
            "event: Lets say PeerA subscribes to an event on PeerB using the following code.",
            "subscribe: Subscribe to “some_event” on all peers.",
        ),
    ),
    Sabotage(
        "keywords-of-an-event-lost",
        "subscribe.py",
        "result = function(*args, **kwargs)",
        "result = function(*args)",
        (
            "event: Event triggers are hooks into the event system between peers.",
            "event: All functions flagged as an event MUST return args and kwargs…",
            "subscribe: When the peer triggers an event using net.event…",
            "subscribe: Subscribe to “some_event” on all peers.",
        ),
    ),
    Sabotage(
        "late-publisher-unheard",
        "subscribe.py",
        "where = wanted.where()",
        'soon = __import__("time").monotonic() + 10\n'
        "            there = parts.directory.listing(Query(), refresh=True, deadline=soon).values()\n"
        '            where = wanted.where() or frozenset(record["group"] for record in there)',
        ("subscribe: By default, this will subscribe to all peers.",),
    ),
    Sabotage(
        "publisher-hears-itself",
        "bus/subscriber.py",
        "if one.wants(envelope.sender, group, own=own)]",
        "if one.wants(envelope.sender, group, own=False)]",
        ("subscribe: Subscribe to an event on another peer or set of peers.",),
    ),
    Sabotage(
        "events-of-chosen-peers-twice",
        "bus/subscriber.py",
        "            for subscription in wanting:\n",
        "            for subscription in wanting * (1 + (table is self._by_channel)):\n",
        (
            "subscribe: net.subscribe.subscribe(event…",
            "subscribe: Subscribe to an event on another peer or set of peers.",
            "subscribe: You can also manually filter the peers…",
            "subscribe: Subscribe to “some_event” on group1 peers only.",
            "subscribe: Subscribe to “some_event” on a single peer.",
        ),
    ),
    Sabotage(
        "only-the-first-handler-of-a-process-hears",
        "bus/subscriber.py",
        "                subscription.put(envelope, arrival.repeated, channel)\n",
        "                subscription.put(envelope, arrival.repeated, channel)\n                break\n",
        (
            "subscribe: net.subscribe.subscribe(event…",
            "subscribe: Subscribe to an event on another peer or set of peers.",
            "subscribe: When the peer triggers an event using net.event…",
            "subscribe: By default, this will subscribe to all peers.",
            "subscribe: Subscribe to “some_event” on all peers.",
            "peers: In some cases, you may only want to subscribe or communicate with hubs.",
        ),
    ),
)

MODULES = (
    Sabotage(
        "another-peer-for-arguments",
        "peer.py",
        "    peer = process_peer()\n    if not peer.started:\n        peer.start()\n    return peer\n",
        "    peer = _Peer() if args or kwargs else process_peer()\n"
        "    if not peer.started:\n        peer.start()\n    return peer\n",
        ("Peer: net.peer.Peer(*args, **kwargs)",),
    ),
    Sabotage(
        "unreachable-is-no-connection-error",
        "errors.py",
        "class PeerUnreachable(CallError, ConnectionRefusedError):",
        "class PeerUnreachable(CallError):",
        ("ConnectionRefusedError: Bases: ConnectionError", "ConnectionRefusedError: Connection refused."),
        short=True,
    ),
    Sabotage(
        "name-missing-at-the-top",
        "__init__.py",
        '"peers", "peer_group", "wait_for", "serve",',
        '"peers", "peer_group", "wait_for",',
        ("api: Contains the general network interactions for net.",),
    ),
    Sabotage(
        "handlers-take-other-names",
        "defaults.py",
        "def null_response(connection: str, foreign_peer_id:",
        "def null_response(connection: str, peer:",
        ("null_response: net.null_response(connection, foreign_peer_id)",),
    ),
)

SABOTAGES = (*CONNECT, *FLAGS, *DEFAULTS, *PEERS, *EVENTS, *SUBSCRIBE, *MODULES)
