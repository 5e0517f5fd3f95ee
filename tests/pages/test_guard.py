import pytest

from adafer.pages.guard import RateLimit, allowed_host, is_loopback, right_token


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8765", "localhost", "LOCALHOST:1", "[::1]:80", "127.1.2.3"]
)
def test_names_of_this_machine_are_allowed(host):
    assert allowed_host(host, bound="127.0.0.1", loopback=True)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "127.0.0.1.evil.example:8765",
        "localhost.evil.example",
        "192.168.0.2:8765",
        "",
        "[::1",
        "127.0.0.1:80:90",
        "127.0.0.1:²",
        "user@127.0.0.1",
    ],
)
def test_other_names_are_refused(host):
    assert not allowed_host(host, bound="127.0.0.1", loopback=True)


def test_on_a_network_addresses_and_the_given_name_are_allowed():
    assert allowed_host("192.168.0.2:8765", bound="0.0.0.0", loopback=False)
    assert allowed_host("lab.example", bound="lab.example", loopback=False)
    assert not allowed_host("evil.example", bound="lab.example", loopback=False)


def test_addresses_that_others_reach_are_no_loopback():
    assert is_loopback("::1")
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("fe80::1%eth0")


def test_the_token_is_taken_from_cookie_or_header_and_nothing_else():
    def judge(cookies=None, authorization=None):
        return right_token("s3cret", cookies=cookies, authorization=authorization, name="adafer-1")

    assert judge(cookies="other=1; adafer-1=s3cret")
    assert judge(authorization="Bearer s3cret")
    assert not judge()
    assert not judge(cookies="adafer-2=s3cret")
    assert not judge(cookies="adafer-1=s3cre")
    assert not judge(authorization="Basic s3cret")
    assert not judge(authorization="Bearer ünknown")


def test_rate_limit_lets_some_through_at_once_and_then_some_per_second():
    now = [0.0]
    limit = RateLimit(per_second=2, at_once=3, clock=lambda: now[0])
    assert [limit.seconds_to_wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.seconds_to_wait("b") == 0
    now[0] = 0.5
    assert [limit.seconds_to_wait("a") for _ in range(2)] == [0, 0.5]
    now[0] = 100
    assert [limit.seconds_to_wait("a") for _ in range(4)] == [0, 0, 0, 0.5]


def test_rate_limit_forgets_the_oldest_clients():
    limit = RateLimit(per_second=1, at_once=1, clock=lambda: 0.0)
    for number in range(3000):
        limit.seconds_to_wait(str(number))
    assert len(limit._clients) == 1024
    assert limit.seconds_to_wait("2999") == 1
