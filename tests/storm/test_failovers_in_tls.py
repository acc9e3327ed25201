"""Redis fails over inside TLS: who is asked, and Redis itself, show certificates, by ``rediss+sentinel`` and ``rediss+cluster``.

No server in a wheel has TLS, so fronts of ours stand before each; a server that has it, where there is one, does it itself.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlencode

import pytest

pytest.importorskip("cryptography")

from benchmarks.storm.failovers import Cluster, Group, Node, Sentinels
from benchmarks.storm.nets import StormNet
from hubnet.embedded import find_server
from hubnet.errors import ConfigError
from tests.api.witness import id_of, live
from tests.front import Front
from tests.test_tls import Farm, Paths
from tests.waiting import eventually, free_port

pytestmark = pytest.mark.processes
PASSWORD = "open-sesame"
LOGIN = f"user farm on >{PASSWORD} ~* &* +@all"
PEER = """
heard = []
hubnet.subscribe("done")(heard.append)
done = hubnet.event("done")(lambda word: ((word,), {}))
@hubnet.connect("whoami")
def whoami(word): return hubnet.Peer().id, word
"""


class Fronted(Node):
    """A server without TLS behind a front, which it announces: other servers come by it as well, and without TLS."""

    def __init__(self, paths: Paths, folder: Path, lines: str, *options: str) -> None:
        self._paths = paths
        super().__init__(folder, lines, *options)

    def _opened(self) -> tuple[int, str]:
        self.front = Front(self._paths, self.port, servers_pass=True)
        announced = f"replica-announce-port {self.front.port}\ncluster-announce-port {self.front.port}"
        return self.front.port, f"{announced}\n{LOGIN}"

    def spoken_to(self) -> bool:
        """Whether peers came inside TLS, and none logged in without."""
        return self.front.passed > 0 and PASSWORD.encode() not in self.front.overheard

    def close(self) -> None:
        self.front.close()
        super().close()


class Secured(Node):
    """A server that has TLS, towards peers and other servers; we ask it without."""

    def __init__(self, paths: Paths, folder: Path, lines: str, *options: str) -> None:
        self._paths = paths
        super().__init__(folder, lines, *options)

    def _opened(self) -> tuple[int, str]:
        port = free_port()
        files = f"tls-cert-file {self._paths.cert}\ntls-key-file {self._paths.key}\ntls-ca-cert-file {self._paths.ca}"
        return port, f"tls-port {port}\n{files}\ntls-replication yes\ntls-cluster yes\n{LOGIN}"

    def spoken_to(self) -> bool:
        """They know of this entrance alone, and by it nobody passes without TLS."""
        return True


def _ways() -> dict[str, type[Node]]:
    """Behind fronts; and by themselves, where the server here has TLS: it then complains that it has no certificate."""
    ways: dict[str, type[Node]] = {"behind fronts": Fronted}
    try:
        wish = [find_server(), "--port", "0", "--tls-port", str(free_port())]
    except ConfigError:
        return ways  # the tests will tell
    said = subprocess.run(wish, capture_output=True, text=True, timeout=20, check=False)
    return {**ways, "by themselves": Secured} if "Failed to configure TLS" in said.stdout + said.stderr else ways


WAYS = _ways()


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def inside(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Callable[..., Group]], Group]:
    """Makes a group of servers inside TLS, and the URL that leads to it."""
    own = Farm(tmp_path / "certificates").host()

    def make(kind: Callable[..., Group]) -> Group:
        made = kind(tmp_path, partial(request.param, own))
        files = {"ssl_ca_certs": own.ca, "ssl_certfile": own.cert, "ssl_keyfile": own.key}
        options = urlencode({**files, "ssl_check_hostname": "true"}, safe="/")
        made.url = made.url.replace("redis+", "rediss+").replace("://", f"://farm:{PASSWORD}@") + f"?{options}"
        return made

    return make


@pytest.mark.parametrize("kind", [Sentinels, Cluster], ids=["sentinel", "cluster"])
def test_a_net_lives_through_it_inside_tls_and_follows_when_the_master_is_killed(
    tmp_path: Path, inside: Callable[[Callable[..., Group]], Group], kind: Callable[..., Group]
) -> None:
    """Hub, worker and caller come up by the URL; before and after the register is whole, a call and an event go through."""
    group = inside(kind)
    net = StormNet(tmp_path, group, HUBNET_LEASE="2")
    try:
        hub = net.hub(PEER, HUBNET_GROUP="hubs")
        worker, caller = net.worker(PEER, HUBNET_GROUP="w"), net.worker(PEER, HUBNET_GROUP="w")
        everybody = {id_of(one) for one in (hub, worker, caller)}

        def lives(word: str) -> None:
            eventually(lambda: everybody == {*net.records("hubs"), *net.records("w")} and not net.late(), 60)
            for one in (hub, worker, caller):
                live(one)
            assert caller.ask(f"whoami({word!r}, peer={id_of(worker)!r})") == (id_of(worker), word)
            fresh = caller.ask("set(hubnet.peers(refresh=True)['peers'])")
            assert fresh == everybody - {id_of(caller)}
            caller.run(f"done({word!r})")
            for one in (hub, worker):
                eventually(lambda one=one: word in one.ask("heard"))

        lives("before")
        first_asked = getattr(group, "sentinels", group.nodes)[0]
        assert first_asked.spoken_to()
        assert group.master.spoken_to()
        group.fail_over()
        lives("after")
        assert group.master.spoken_to()
    finally:
        net.close()
