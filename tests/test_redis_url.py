"""HUBNET_REDIS_URL with Sentinels or a Cluster in it: what is taken, what is refused, what is shown."""

from __future__ import annotations

import pytest

from hubnet.redis_url import check, guided, without_password


def test_sentinels_are_asked_without_the_login_of_redis_unless_they_have_their_own() -> None:
    said = guided("redis+sentinel://hub:a%2Fb@s1,s2:26380,[::1]:7/farm")
    assert said is not None
    assert said.guides == (("s1", 26379), ("s2", 26380), ("::1", 7))
    assert said.service == "farm"
    assert said.guide("s1", 26379) == "redis://s1:26379/0"
    assert said.server("10.0.0.5", 6379) == "redis://hub:a%2Fb@10.0.0.5:6379/0"
    assert said.server("fe80::1", 6379) == "redis://hub:a%2Fb@[fe80::1]:6379/0"


def test_options_go_along_and_the_sentinels_login_stays_with_them() -> None:
    ca = "ssl_ca_certs=/ca.crt"
    said = guided(f"rediss+sentinel://:pw@s1:1/farm?sentinel_username=u&{ca}&sentinel_password=x%40y")
    assert said is not None
    assert said.guide("s1", 1) == f"rediss://u:x%40y@s1:1/0?{ca}"
    assert said.server("m", 2) == f"rediss://:pw@m:2/0?{ca}"


def test_a_clusters_nodes_are_all_asked_with_the_same_login() -> None:
    said = guided("redis+cluster://u:pw@n1,n2:7001/")
    assert said is not None
    assert said.guides == (("n1", 6379), ("n2", 7001))
    assert said.guide("n1", 6379) == "redis://u:pw@n1:6379/0"


@pytest.mark.parametrize("url", ["redis://h:6379/0", "rediss://h", "unix:///run/redis.sock", ""])
def test_a_url_of_a_server_itself_is_guided_by_nobody(url: str) -> None:
    assert guided(url) is None
    assert check(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel:///farm", "redis+sentinel://a,,b/farm",
        "redis+sentinel://a:x/farm", "redis+sentinel://a:70000/farm", "redis+sentinel://a:0/farm", "redis+sentinel://a/b/c",
        "redis+cluster://h/farm", "redis+cluster://", "redis+other://h", "unix+sentinel://h/farm", "redis+sentinel://a b/farm",
        "redis+sentinel://a/farm#x",
    ],
)  # fmt: skip
def test_what_names_nobody_to_ask_is_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(ValueError, match=r"redis\+sentinel://.*/service or redis\+cluster://|a port from 1 to 65535"):
        check(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://hub:sesame@a:1,b:2/farm", "redis+sentinel://:sesame@a,b/farm", "redis+cluster://u:sesame@a:1,b:2",
        "redis+sentinel://a:1/farm?sentinel_password=sesame", "rediss+sentinel://u:sesame@a/f?sentinel_password=sesame&x=1",
        "redis://h/0?p%61ssword=sesame", "redis://h?db=1&%50ASS%57ord=sesame&x=1", "redis://h?ssl%5Fpassword=sesame",
        "redis://h?x#password=sesame",
    ],
)  # fmt: skip
def test_no_password_of_it_is_shown(url: str) -> None:
    assert "sesame" not in without_password(url)


def test_what_is_no_password_is_shown() -> None:
    assert without_password("redis+sentinel://s1:26379,s2:26379/farm") == "redis+sentinel://s1:26379,s2:26379/farm"
    assert without_password("redis://h?d%62=1&p%61ssword=x&y=2") == "redis://h?d%62=1&p%61ssword=***&y=2"
