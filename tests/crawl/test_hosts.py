import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crawl.hosts import Host, Pace, retry_after_s

PACE = Pace(
    hosts=64,
    per_address=64,
    address_delay_s=0.0,
    concurrency=4,
    min_delay_s=1.0,
    max_crawl_delay_s=30.0,
    backoff_s=2.0,
    max_backoff_s=60.0,
    max_retry_after_s=3600.0,
    max_attempts=3,
    park_after=5,
)


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def host(clock: Clock) -> Host:
    return Host(pace=PACE, clock=clock)


def test_host_never_asked_is_ready(host: Host) -> None:
    assert host.wait_s() == 0.0


def test_host_after_success_waits_the_delay_from_the_end(host: Host, clock: Clock) -> None:
    host.succeeded()
    assert host.wait_s() == 1.0
    clock.now += 0.75
    assert host.wait_s() == 0.25
    clock.now += 5
    assert host.wait_s() == 0.0


def test_host_errors_in_row_double_the_wait_up_to_the_cap(host: Host) -> None:
    waits = []
    for _ in range(8):
        host.failed(None)
        waits.append(host.wait_s())
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_host_many_errors_do_not_overflow(host: Host) -> None:
    host.errors_in_row = 100_000
    host.failed(None)
    assert host.wait_s() == 60.0


def test_host_success_forgives(host: Host) -> None:
    for _ in range(4):
        host.failed(None)
    host.succeeded()
    assert not host.is_parked
    assert host.wait_s() == 1.0
    host.failed(None)
    assert host.wait_s() == 2.0


def test_host_errors_in_row_park_it(host: Host) -> None:
    for _ in range(4):
        host.failed(None)
    assert not host.is_parked
    host.failed(None)
    assert host.is_parked


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        pytest.param(0.0, 2.0, id="asks for less than the backoff"),
        pytest.param(120.0, 120.0, id="asks for more"),
        pytest.param(10 * 365 * 86400.0, 3600.0, id="asks for ten years"),
    ],
)
def test_host_retry_after_is_honoured_up_to_the_cap(
    host: Host, asked: float, waited: float
) -> None:
    host.failed(asked)
    assert host.wait_s() == waited


def test_host_crawl_delay_counts_from_the_last_request(host: Host, clock: Clock) -> None:
    host.succeeded()  # robots.txt itself
    host.crawl_delay_s = 10.0
    clock.now += 4
    assert host.wait_s() == 6.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1e6)), max_size=30))
@example([(False, 3.1899999999999995), (False, 3600.0)])
def test_host_whatever_happens_waits_at_least_the_delay(events: list[tuple[bool, float]]) -> None:
    clock = Clock()
    host = Host(pace=PACE, clock=clock, crawl_delay_s=3.0)
    for is_fine, asked in events:
        host.succeeded() if is_fine else host.failed(asked)
        assert 3.0 <= host.wait_s() <= PACE.max_retry_after_s
        clock.now += host.wait_s()
        assert host.wait_s() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("-5", None),
        ("1e9", None),
        ("٣", None),
        (" 7 ", 7.0),
        ("99999999999", 99999999999.0),
        ("Wed, 01 Nov 2017 00:02:00 GMT", 120.0),
        ("Wed, 01 Nov 2000 00:00:00 GMT", 0.0),
        ("Wed, 99 Nov 2017 00:00:00 GMT", None),
        ("Fri, 31 Dec 99999 23:59:59 GMT", None),
    ],
)
def test_retry_after_forms_give_seconds_or_nothing(
    value: str | None, seconds: float | None
) -> None:
    assert retry_after_s(value, 1_509_494_400) == seconds


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("concurrency", 0),
        ("max_attempts", 0),
        ("park_after", 0),
        ("min_delay_s", -1.0),
        ("max_backoff_s", 1.0),
    ],
)
def test_pace_out_of_range_is_refused_by_name(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is {value}; expected"):
        dataclasses.replace(PACE, **{name: value})
