"""Homes of paths: what is pinned, what the table says, and how the hash spreads the rest."""

from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.routing.placement import (
    HEAVY,
    WORTH_IT,
    Homes,
    Placement,
    loads,
    propose,
    rendezvous,
)

SITES = [f"mx{number}.example" for number in range(2000)]
lanes = st.integers(1, 8).map(lambda number: tuple(str(lane) for lane in range(number)))
counts = st.dictionaries(
    st.integers(0, 60).map(lambda number: f"mx{number}.example"),
    st.one_of(st.floats(0, 10), st.floats(0, 10_000)),
    max_size=40,
)


@given(lanes, st.text(max_size=20), st.text(max_size=5))
def test_every_path_has_exactly_one_home(general: tuple[str, ...], site: str, source: str) -> None:
    """Whatever it is called; and asking again, or in another order of lanes, changes nothing."""
    home = rendezvous(general, site, source)
    assert home in general
    assert rendezvous(general[::-1], site, source) == home


@pytest.mark.parametrize("number", [2, 3, 4, 8])
def test_a_lane_that_comes_takes_its_share_and_nothing_else_moves(number: int) -> None:
    """Rendezvous: of n + 1 lanes the new one has a share of 1 / (n + 1), and all others keep what they do not give to it."""
    before = tuple(str(lane) for lane in range(number))
    after = (*before, str(number))
    moved = [site for site in SITES if rendezvous(before, site) != rendezvous(after, site)]
    assert {rendezvous(after, site) for site in moved} == {str(number)}
    assert len(moved) == pytest.approx(len(SITES) / (number + 1), rel=0.25)


@given(lanes.filter(lambda general: len(general) > 1), st.data())
def test_a_lane_that_goes_leaves_the_paths_of_others_alone(
    general: tuple[str, ...], data: st.DataObject
) -> None:
    """Only what lived there has another home."""
    gone = data.draw(st.sampled_from(general))
    site = data.draw(st.sampled_from(SITES))
    rest = tuple(lane for lane in general if lane != gone)
    if rendezvous(general, site) != gone:
        assert rendezvous(rest, site) == rendezvous(general, site)


def test_the_hash_spreads_sites_evenly() -> None:
    """Four lanes have a quarter each of 2,000 sites, give or take a few."""
    found = Counter(rendezvous(("0", "1", "2", "3"), site) for site in SITES)
    assert all(count == pytest.approx(500, abs=80) for count in found.values())


def test_paths_of_one_site_from_many_sources_are_spread() -> None:
    """The source counts in the digest as much as the site."""
    found = Counter(rendezvous(("0", "1"), "mx.example", f"source-{number}") for number in range(400))
    assert min(found.values()) > 150


def test_the_table_goes_before_the_hash() -> None:
    """Also where it names a dedicated lane."""
    placement = Placement(("0", "1"), ("storm",), table={"mx.example": "storm", "a.example": "1"})
    assert placement.home("mx.example") == "storm"
    assert placement.home("a.example") == "1"


def test_a_lane_that_is_not_there_has_no_path() -> None:
    """A table or a pin from before a change of lanes counts for nothing."""
    placement = Placement(("0",), pins={"example.com": "gone"}, table={"mx.example": "gone"})
    assert placement.home("mx.example") == "0"
    assert placement.pinned("example.com") is None


@pytest.mark.parametrize(
    ("domain", "lane"),
    [
        ("example.com", "one"),
        ("a.example.com", "many"),
        ("a.b.example.com", "many"),
        ("c.b.a.example.com", "few"),
        ("example.org", None),
        ("com", None),
    ],
)
def test_a_domain_has_the_lane_of_its_longest_pin(domain: str, lane: str | None) -> None:
    """A name itself, else the nearest ``*.`` above it."""
    pins = {"example.com": "one", "*.example.com": "many", "*.a.example.com": "few"}
    assert Placement(("0",), ("one", "many", "few"), pins).pinned(domain) == lane


def test_a_site_goes_with_a_pinned_domain() -> None:
    """Once that is known; others of the site go there too, and it is told once."""
    told: list[tuple[str, str]] = []
    placement = Placement(("0",), ("storm",), {"pinned.example": "storm"})
    homes = Homes(placement, "0", lambda site, lane: told.append((site, lane)))
    assert homes.elsewhere("mx.example") is None
    assert homes.routed("pinned.example", "mx.example") == "storm"
    assert homes.routed("other.example", "mx.example") == homes.elsewhere("mx.example") == "storm"
    assert homes.routed("pinned.example", "mx.example") == "storm"
    assert told == [("mx.example", "storm")]


def test_what_a_pinned_domain_has_shown_ends_with_its_lane() -> None:
    """A placement without the lane gives the site back to the hash."""
    homes = Homes(Placement(("0",), ("storm",), {"pinned.example": "storm"}), "0")
    homes.routed("pinned.example", "mx.example")
    homes.use(Placement(("0",)))
    assert homes.routed("pinned.example", "mx.example") is None


def test_of_two_lanes_with_domains_of_one_site_the_table_chooses() -> None:
    """So that all processes have the same home for it, whichever domain they met first."""
    placement = Placement(("0",), ("a", "b"), {"a.example": "a", "b.example": "b"}, {"mx.example": "b"})
    homes = Homes(placement, "0")
    assert homes.routed("a.example", "mx.example") == homes.routed("b.example", "mx.example") == "b"


@given(lanes, st.data())
def test_all_processes_agree(general: tuple[str, ...], data: st.DataObject) -> None:
    """For any site exactly one lane says that it is its own, and the others name that lane."""
    dedicated = data.draw(st.sampled_from([(), ("storm",)]))
    table = data.draw(st.dictionaries(st.sampled_from(SITES[:5]), st.sampled_from([*general, "storm"])))
    placement = Placement(general, dedicated, table=table)
    site = data.draw(st.sampled_from(SITES[:8]))
    answers = {lane: Homes(placement, lane).elsewhere(site) for lane in (*general, *dedicated)}
    (home,) = [lane for lane, answer in answers.items() if answer is None]
    assert {answer for answer in answers.values() if answer is not None} <= {home}


@pytest.mark.parametrize(
    ("placement", "is_alone"),
    [
        (Placement(("0",)), True),
        (Placement(("0", "1")), False),
        (Placement(("0",), ("storm",)), False),
        (Placement(("1",)), False),
    ],
)
def test_one_general_lane_is_alone(placement: Placement, *, is_alone: bool) -> None:
    """Nobody needs to be asked then; a dedicated lane is company."""
    assert Homes(placement, "0").is_alone is is_alone


@given(lanes, counts)
def test_a_proposal_is_worth_it(general: tuple[str, ...], counted: dict[str, float]) -> None:
    """The fullest lane has clearly less than before, or nothing changes."""
    placement = Placement(general)
    table = propose(placement, counted)
    before = max(loads(placement, counted).values())
    after = max(loads(msgspec.structs.replace(placement, table=table), counted).values())
    assert table == placement.table or after <= before * (1 - WORTH_IT) + 1e-9


@given(lanes, counts)
def test_a_proposal_names_heavy_sites_only(general: tuple[str, ...], counted: dict[str, float]) -> None:
    """The table stays small: at most 1 / HEAVY sites for each lane."""
    placement = Placement(general)
    table = propose(placement, counted)
    fair = sum(counted.values()) / len(general)
    assert set(table.values()) <= set(general)
    assert all(counted[site] >= fair * HEAVY for site in table)
    assert len(table) <= len(general) / HEAVY


@given(lanes, counts)
def test_a_proposal_is_good_enough_to_stay(general: tuple[str, ...], counted: dict[str, float]) -> None:
    """Asked again with the same counts, it proposes itself: nothing swings to and fro."""
    placement = Placement(general)
    table = propose(placement, counted)
    assert propose(msgspec.structs.replace(placement, table=table), counted) == table


def test_heavy_sites_are_kept_apart() -> None:
    """Two of them that the hash puts into one lane get one each."""
    general = ("0", "1")
    together = [site for site in SITES if rendezvous(general, site) == "0"][:2]
    light = dict.fromkeys(SITES[100:200], 1.0)
    table = propose(Placement(general), {**dict.fromkeys(together, 1000.0), **light})
    assert {Placement(general, table=table).home(site) for site in together} == {"0", "1"}


def test_sites_of_dedicated_lanes_are_left_there() -> None:
    """They are no part of what the general lanes share, and stay in the table."""
    placement = Placement(("0", "1"), ("storm",), table={"mx.example": "storm"})
    one_lane = [site for site in SITES if rendezvous(("0", "1"), site) == "0"][:4]
    table = propose(placement, {"mx.example": 1e6, **dict.fromkeys(one_lane, 100.0)})
    assert table["mx.example"] == "storm"
    assert len(table) > 1
