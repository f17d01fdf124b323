"""Which connection has to go when the half-open places are full, and what counts as one client."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws.limits import Limits
from aiorest_ws.limits.admission import Admissions, network_of


@pytest.mark.parametrize(
    ("address", "network"),
    [
        (None, None),
        ("", None),
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::1", "::/64"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a name", "a name"),
    ],
)
def test_ipv6_counts_by_network(address: str | None, network: str | None) -> None:
    assert network_of(address) == network


def test_who_has_most_half_open_connections_loses_its_oldest() -> None:
    admissions, limits = Admissions(), Limits(max_connections=4)
    for name, address in (("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")):
        assert admissions.arrive(name, address, limits) is None
    assert admissions.arrive("d1", "d", limits) == "a1"
    admissions.release("a1")
    assert sorted(admissions.half_open) == ["a2", "b1", "c1", "d1"]


def test_address_has_as_many_half_open_connections_as_it_may_have_open() -> None:
    admissions, limits = Admissions(), Limits(max_connections_per_address=2)
    assert [admissions.arrive(name, "2001:db8::1", limits) for name in ("a1", "a2")] == [None, None]
    assert admissions.arrive("a3", "2001:db8::2", limits) == "a1"
    assert admissions.arrive("b1", "203.0.113.7", limits) is None


def test_connection_keeps_its_place_when_it_becomes_another() -> None:
    admissions, limits = Admissions(), Limits(max_connections=1)
    admissions.arrive("door", "a", limits)
    admissions.hand_over("door", "protocol")
    assert admissions.half_open == ["protocol"]
    assert admissions.arrive("protocol", "a", limits) is None
    admissions.admit("protocol", "a", limits)
    assert (admissions.half_open, len(admissions)) == ([], 1)
    admissions.release("protocol")
    assert len(admissions) == 0


steps = st.lists(st.tuples(st.sampled_from(["arrive", "admit", "release"]), st.integers(0, 3), st.integers(0, 9)))


@given(steps, st.integers(1, 5))
def test_as_a_search_among_all_would_have_it(steps: list[tuple[str, int, int]], most: int) -> None:
    admissions, limits = Admissions(), Limits(max_connections=most)
    model: dict[tuple[int, int], int] = {}  # half open: connection → address, in the order of arrival
    let_in: set[tuple[int, int]] = set()
    for what, address, number in steps:
        connection = (address, number)
        if what == "arrive" and connection not in model and connection not in let_in:
            gone = admissions.arrive(connection, str(address), limits)
            model[connection] = address
            assert (gone is not None) == (len(model) > most)
            if gone is not None:
                counts = Counter(model.values())
                assert counts[model[gone]] == max(counts.values())
                assert gone == next(one for one in model if model[one] == model[gone])
                admissions.release(gone)
                del model[gone]
        elif what == "admit" and connection in model and len(let_in) < most:
            admissions.admit(connection, str(address), limits)
            del model[connection]
            let_in.add(connection)
        elif what == "release":
            admissions.release(connection)
            model.pop(connection, None)
            let_in.discard(connection)
        assert set(admissions.half_open) == set(model)
        assert len(admissions) == len(let_in)
