"""The table of cloud regions: consistent in itself, and with facts from elsewhere than its rows."""

from __future__ import annotations

import math
import re
from collections import Counter

import pytest

from aicsched.data.cloud import CloudRegion, cloud_region, cloud_regions
from aicsched.data.zones import grid_zone, grid_zones
from aicsched.errors import InputError, UnknownZone
from aicsched.signals.base import refuse_unknown_zone

REGIONS = tuple(cloud_regions().values())
# Coarse bounding boxes after Natural Earth (public domain), overseas parts left out where they are far:
# south, north, west, east [degrees].
BOXES = {
    "AE": (22.6, 26.1, 51.6, 56.4), "AR": (-55.0, -21.8, -73.6, -53.7), "AT": (46.4, 49.0, 9.5, 17.1),
    "AU": (-43.7, -10.1, 112.9, 153.7), "BE": (49.5, 51.5, 2.5, 6.4), "BH": (25.8, 26.3, 50.4, 50.7),
    "BR": (-33.7, 5.3, -74.0, -34.8), "CA": (41.7, 60.0, -141.0, -52.7), "CH": (45.8, 47.8, 6.0, 10.5),
    "CL": (-55.9, -17.5, -75.7, -66.4), "CN": (18.2, 53.6, 73.6, 134.8), "DE": (47.3, 55.1, 5.9, 15.0),
    "DK": (54.6, 57.7, 8.1, 15.1), "ES": (36.0, 43.8, -9.3, 4.3), "FI": (59.8, 70.1, 20.6, 31.5),
    "FR": (41.4, 51.1, -4.8, 9.6), "GB": (50.0, 60.8, -8.1, 1.7), "GR": (34.9, 41.7, 19.6, 28.2),
    "HK": (22.2, 22.6, 113.8, 114.3), "ID": (-10.9, 5.9, 95.2, 141.0), "IE": (51.5, 55.4, -10.4, -6.0),
    "IL": (29.5, 33.4, 34.2, 35.9), "IN": (6.7, 35.5, 68.2, 97.3), "IT": (35.5, 47.1, 6.6, 18.5),
    "JP": (24.3, 45.5, 123.7, 145.8), "KR": (33.2, 38.6, 126.0, 130.9), "MX": (14.5, 32.7, -118.4, -86.7),
    "MY": (0.9, 7.4, 99.6, 119.3), "NG": (4.3, 13.9, 2.7, 14.6), "NL": (50.8, 53.7, 3.1, 7.2),
    "NO": (58.0, 71.2, 4.9, 31.0), "NZ": (-47.3, -34.4, 166.5, 178.5), "OM": (16.6, 26.4, 52.0, 59.8),
    "PE": (-18.3, 0.0, -81.3, -68.7), "PH": (5.1, 20.8, 117.0, 126.6), "PL": (49.0, 54.8, 14.1, 24.1),
    "QA": (24.6, 26.2, 50.8, 51.6), "SA": (16.4, 32.1, 34.6, 55.6), "SE": (55.3, 69.0, 11.1, 24.2),
    "SG": (1.2, 1.5, 103.6, 104.0), "TH": (5.6, 20.4, 97.4, 105.6), "TR": (35.8, 42.1, 25.7, 44.8),
    "TW": (21.9, 25.3, 120.0, 121.9), "US": (18.9, 49.4, -159.8, -66.9), "VN": (8.6, 23.4, 102.1, 109.4),
    "ZA": (-34.9, -22.1, 16.4, 32.9),
}  # fmt: skip
# How each provider spells its regions.
SPELLINGS = {
    "aws": r"(us|eu|ap|ca|sa|me|af|il|mx|cn|eusc|us-gov)(-de)?-(north|south|east|west|central)"
    r"(east|west)?-\d(-[a-z]{3}-\d[a-z])?",
    "gcp": r"(africa|asia|australia|europe|me|northamerica|southamerica|us)-(north|south|east|west|central)"
    r"(east|west)?\d{1,2}",
    "azure": r"[a-z]+[23]?",
    "ibm": r"(us-(south|east)|(br|ca|eu|au|jp)-[a-z]{2,3})",
}
# Another list than the rows': each provider's own, as of 2026, by metropolis to two decimals, with the
# zone that the operator of a routing service assigned.
ELSEWHERE = (
    ("aws", "us-east-1", 39.04, -77.49, "US-MIDA-PJM"),
    ("aws", "us-west-2", 45.84, -119.7, "US-NW-BPAT"),
    ("aws", "sa-east-1", -23.55, -46.63, "BR-CS"),
    ("aws", "eu-north-1", 59.33, 18.07, "SE-SE3"),
    ("aws", "eu-south-2", 41.65, -0.89, "ES"),
    ("aws", "ca-west-1", 51.05, -114.07, "CA-AB"),
    ("aws", "ap-southeast-5", 3.14, 101.69, "MY-WM"),
    ("aws", "ap-south-2", 17.39, 78.49, "IN-SO"),
    ("gcp", "us-south1", 32.78, -96.8, "US-TEX-ERCO"),
    ("gcp", "us-west4", 36.17, -115.14, "US-NW-NEVP"),
    ("gcp", "us-central1", 41.26, -95.86, "US-MIDW-MISO"),
    ("gcp", "us-east1", 33.2, -80.01, "US-CAR-SC"),
    ("gcp", "us-west2", 34.05, -118.24, "US-CAL-LDWP"),
    ("gcp", "europe-west4", 53.44, 6.83, "NL"),
    ("gcp", "europe-north1", 60.57, 27.2, "FI"),
    ("gcp", "asia-east1", 24.07, 120.54, "TW"),
    ("gcp", "southamerica-west1", -33.45, -70.67, "CL-SEN"),
    ("azure", "northcentralus", 41.88, -87.63, "US-MIDA-PJM"),
    ("azure", "westcentralus", 41.14, -104.82, "US-NW-WACM"),
    ("azure", "westus2", 47.23, -119.85, "US-NW-GCPD"),
    ("azure", "swedencentral", 60.67, 17.14, "SE-SE3"),
    ("azure", "norwaywest", 58.97, 5.73, "NO-NO2"),
    ("azure", "spaincentral", 40.42, -3.7, "ES"),
    ("azure", "australiacentral", -35.28, 149.13, "AU-NSW"),
    ("azure", "denmarkeast", 55.68, 12.57, "DK-DK2"),
    ("azure", "centralindia", 18.52, 73.86, "IN-WE"),
)

# Airports by the codes that Local Zones are named with (airportsdata, MIT): latitude, longitude [degrees].
AIRPORTS = {
    "akl": (-37.0, 174.8), "ath": (37.9, 23.9), "atl": (33.6, -84.4), "bkk": (13.7, 100.7),
    "bos": (42.4, -71.0), "bue": (-34.8, -58.5), "ccu": (22.7, 88.4), "chi": (42.0, -87.9),
    "cph": (55.6, 12.7), "del": (28.6, 77.1), "den": (39.9, -104.7), "dfw": (32.9, -97.0),
    "ham": (53.6, 10.0), "han": (21.2, 105.8), "hel": (60.3, 25.0), "hnl": (21.3, -157.9),
    "iah": (30.0, -95.3), "ist": (41.3, 28.8), "las": (36.1, -115.2), "lax": (33.9, -118.4),
    "lim": (-12.0, -77.1), "los": (6.6, 3.3), "mci": (39.3, -94.7), "mct": (23.6, 58.3),
    "mia": (25.8, -80.3), "mnl": (14.5, 121.0), "msp": (44.9, -93.2), "nyc": (40.6, -73.8),
    "pdx": (45.6, -122.6), "per": (-31.9, 116.0), "phl": (39.9, -75.2), "phx": (33.4, -112.0),
    "qro": (20.6, -100.2), "scl": (-33.4, -70.8), "sea": (47.4, -122.3), "tpe": (25.1, 121.2),
    "waw": (52.2, 21.0),
}  # fmt: skip


def _name(item: CloudRegion) -> str:
    return f"{item.provider}:{item.region}"


def _km(south: float, west: float, north: float, east: float) -> float:
    """Return the great-circle distance of two points."""
    one, other = math.radians(south), math.radians(north)
    turn = math.sin(one) * math.sin(other)
    turn += math.cos(one) * math.cos(other) * math.cos(math.radians(east - west))
    return 6371.0 * math.acos(min(1.0, turn))


@pytest.mark.parametrize("item", REGIONS, ids=_name)
def test_each_region_lies_in_its_country_on_its_grid(item: CloudRegion) -> None:
    if item.grid_zone:
        assert grid_zones()[item.grid_zone].country == item.country
        assert item.zone_source
    else:
        assert item.kind == "edge"
        assert not item.zone_source
    assert math.isnan(item.latitude_deg) == math.isnan(item.longitude_deg) == (not item.town)
    assert bool(item.coordinates_source) == bool(item.town) == bool(item.precision)
    if item.town:
        south, north, west, east = BOXES[item.country]
        assert south <= item.latitude_deg <= north
        assert west <= item.longitude_deg <= east


@pytest.mark.parametrize("item", REGIONS, ids=_name)
def test_efficiency_says_of_what_it_is(item: CloudRegion) -> None:
    scopes = {"region", "macro-region", "fleet"}
    for value, scope in ((item.pue, item.pue_scope), (item.wue_l_per_kwh, item.wue_scope)):
        assert (scope in scopes) != math.isnan(value)
    known = not (math.isnan(item.pue) and math.isnan(item.wue_l_per_kwh))
    assert known == bool(item.efficiency_source) == bool(item.year)
    if known:
        assert 1.0 <= item.pue <= 2.0


@pytest.mark.parametrize("item", REGIONS, ids=_name)
def test_names_are_spelled_as_the_provider_does(item: CloudRegion) -> None:
    assert re.fullmatch(SPELLINGS[item.provider], item.region)
    assert item.kind in {"region", "restricted", "edge"}
    assert item.place


def test_names_are_unique_and_providers_are_whole() -> None:
    count = Counter((item.provider, item.kind == "edge") for item in REGIONS)
    assert len(cloud_regions()) == len(REGIONS)
    # botocore lists 34 open regions and 2 to come, 2 in China, 2 of the government, 1 sovereign;
    # Google 46 places with names, Microsoft 57 and, in China, 6, IBM 11; the EC2 guide 48 Local Zones.
    assert count == {
        ("aws", False): 41, ("gcp", False): 46, ("azure", False): 63, ("ibm", False): 11, ("aws", True): 48
    }  # fmt: skip


@pytest.mark.parametrize(("provider", "region", "south", "west", "zone"), ELSEWHERE)
def test_another_list_agrees(provider: str, region: str, south: float, west: float, zone: str) -> None:
    item = cloud_region(provider, region)
    assert item.grid_zone == zone
    assert _km(item.latitude_deg, item.longitude_deg, south, west) < 40


@pytest.mark.parametrize("item", [item for item in REGIONS if item.kind == "edge"], ids=_name)
def test_local_zones_lie_by_the_airport_they_are_named_for(item: CloudRegion) -> None:
    south, west = AIRPORTS[item.region.split("-")[-2]]
    assert _km(item.latitude_deg, item.longitude_deg, south, west) < 50


@pytest.mark.parametrize(
    ("region", "pue"),
    [("eu-west-1", 1.11), ("us-east-1", 1.15), ("ap-southeast-2", 1.16), ("sa-east-1", 1.17)],
)
def test_a_year_earlier_it_was_much_the_same(region: str, pue: float) -> None:
    """AWS' PUE of 2024, from the page of that year."""
    assert abs(cloud_region("aws", region).pue - pue) <= 0.04


def test_the_average_of_all_lies_among_the_regions() -> None:
    """AWS: 1.14 on average over all, 1.11 in Europe."""
    own = [item.pue for item in REGIONS if item.provider == "aws" and item.pue_scope == "region"]
    assert min(own) < 1.14 < max(own)
    assert cloud_region("aws", "ap-east-1").pue == 1.14
    assert cloud_region("aws", "eu-south-1").pue_scope == "macro-region"


def test_a_mistyped_region_is_refused_with_the_nearest_names() -> None:
    with pytest.raises(InputError, match=r"aws has no region 'eu-centrl-1'.*eu-central-1"):
        cloud_region("aws", "eu-centrl-1")
    with pytest.raises(InputError, match=r"no provider 'azur'; did you mean azure"):
        cloud_region("azur", "eastus")
    assert cloud_region(" AWS ", "eu-central-1") is cloud_region("aws", "eu-central-1")


def test_zones_have_one_id_and_each_alias_one_zone() -> None:
    names = [
        name
        for zone in grid_zones().values()
        for name in {zone.grid_zone, zone.eia_balancing_authority, zone.entsoe_area, *zone.aliases} - {""}
    ]
    assert Counter(names).most_common(1)[0][1] == 1
    for zone in grid_zones().values():
        assert zone.grid_zone.startswith(zone.country)
        assert zone.parent in {"", *grid_zones()}
        # Electricity Maps' ids of the United States end with the EIA's code.
        if zone.country == "US":
            assert zone.grid_zone.split("-")[-1] == zone.eia_balancing_authority
        else:
            assert not zone.eia_balancing_authority


def test_entsoe_areas_are_those_of_its_client() -> None:
    mappings = pytest.importorskip("entsoe.mappings", reason="needs the extra grid")
    for zone in grid_zones().values():
        if zone.entsoe_area:
            assert mappings.Area.has_code(zone.entsoe_area)


def test_a_zone_answers_to_its_other_names() -> None:
    for name in ("PJM", "ERCO", "ercot", "DE_LU", "SE_4", "AUS-QLD", "CISO", "ISNE", "BPAT", "AZPS", "FPL"):
        assert name.upper() in (
            (zone := grid_zone(name)).eia_balancing_authority,
            zone.entsoe_area,
            *zone.aliases,
        )
    with pytest.raises(UnknownZone, match=r"no 'PJN'; did you mean PJM"):
        grid_zone("PJN")


def test_a_source_that_calls_a_zone_otherwise_is_told_apart_from_one_without_it() -> None:
    with pytest.raises(UnknownZone, match="it is called PJM"):
        refuse_unknown_zone("US-MIDA-PJM", ["DE", "PJM"], "files")
    with pytest.raises(UnknownZone, match="it is a part of SE"):
        refuse_unknown_zone("SE-SE3", ["DE", "SE"], "files")
    for zone, known in (("SE-SE3", ["DE", "NL"]), ("DEE", ["DE"]), ("US-MIDA-PJM", ["US"])):
        with pytest.raises(UnknownZone, match="did you mean"):
            refuse_unknown_zone(zone, known, "files")
