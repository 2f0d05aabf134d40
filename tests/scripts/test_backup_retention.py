"""Which backups stay, over months of nights."""

import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from techshop import paths

AWK = paths.ROOT / "charts/techshop/charts/backup/files/retention.awk"
NOW = datetime(2028, 3, 4, 2, 0, tzinfo=UTC)  # after a February of 29 days, a Saturday
KINDS = (".manifest.json", ".verified.json", ".archive.gz")


def name(time: datetime) -> str:
    return f"mongodb/{time:%Y/%m/%d}/techshop-{time:%Y%m%dT%H%M%SZ}"


def gone(names: list[str], *, now: datetime = NOW, **rules: int) -> list[str]:
    """Return what the rules delete of these objects."""
    rules = {"keepDays": 0, "keepLast": 0, "keepWeekly": 0, "keepMonthly": 0} | rules
    variables = [f"{key}={value}" for key, value in (rules | {"now": f"{now:%Y%m%dT%H%M%SZ}"}).items()]
    command = ["awk", *(word for variable in variables for word in ("-v", variable)), "-f", str(AWK)]
    done = subprocess.run(command, input="\n".join(names), capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def kept(nights: list[datetime], *, verified: list[datetime] = [], **rules: int) -> list[datetime]:  # noqa: B006
    """Return the nights whose backups stay, of backups that are whole."""
    names = [name(night) + kind for night in nights for kind in KINDS if kind != KINDS[1] or night in verified]
    deleted = gone(names, **rules)
    for night in nights:
        ours = [object_ for object_ in names if object_.startswith(name(night))]
        assert len(set(ours) & set(deleted)) in {0, len(ours)}, "a backup goes whole or not at all"
    return [night for night in nights if name(night) + KINDS[0] not in deleted]


NIGHTS = [NOW - timedelta(days=days) for days in range(60)]


@pytest.mark.parametrize(
    ("rules", "wanted"),
    [
        ({"keepDays": 7}, NIGHTS[:8]),
        ({"keepLast": 3}, NIGHTS[:3]),
        ({"keepDays": 2, "keepLast": 5}, NIGHTS[:5]),
        # Saturday itself, and the Sundays before.
        ({"keepWeekly": 4}, [NIGHTS[day] for day in (0, 6, 13, 20)]),
        # Saturday, the last of February, the last of January.
        ({"keepMonthly": 3}, [NIGHTS[day] for day in (0, 4, 33)]),
        ({"keepDays": 1, "keepWeekly": 2, "keepMonthly": 2}, [NIGHTS[day] for day in (0, 1, 4, 6)]),
    ],
)
def test_of_sixty_nights_exactly_those_that_a_rule_wants_stay(rules: dict[str, int], wanted: list[datetime]) -> None:
    assert kept(NIGHTS, **rules) == wanted


def test_the_newest_verified_backup_stays_however_old_it_is() -> None:
    assert kept(NIGHTS, verified=NIGHTS[40:], keepLast=2) == [*NIGHTS[:2], NIGHTS[40]]


def test_what_makes_an_object_a_backup_goes_first_so_that_half_a_backup_is_never_taken_for_one() -> None:
    old = name(NIGHTS[50])
    assert gone([old + kind for kind in sorted(KINDS)] + [name(NOW) + kind for kind in KINDS], keepLast=1) == [
        old + kind for kind in KINDS
    ]


@pytest.mark.parametrize(("hours", "goes"), [(1, False), (23, False), (25, True), (24 * 400, True)])
def test_an_archive_without_a_manifest_goes_when_nobody_can_be_writing_it(hours: int, goes: bool) -> None:
    archive = name(NOW - timedelta(hours=hours)) + ".archive.gz"
    assert gone([archive], keepDays=9999, keepLast=9) == ([archive] if goes else [])


@pytest.mark.parametrize(
    "other", ["mongodb/notes.txt", "redis/dump.rdb", "", "mongodb/2027/techshop-latest.archive.gz"]
)
def test_what_is_not_named_as_a_backup_is_left_alone(other: str) -> None:
    assert gone([other]) == []


RULES = st.fixed_dictionaries({
    "keepDays": st.integers(0, 40), "keepLast": st.integers(0, 5),
    "keepWeekly": st.integers(0, 6), "keepMonthly": st.integers(0, 6),
})  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 900 * 24 * 60), min_size=1, max_size=40, unique=True), RULES, st.data())
def test_any_history_keeps_what_the_rules_say(minutes: list[int], rules: dict[str, int], data: st.DataObject) -> None:
    nights = sorted((NOW - timedelta(minutes=ago) for ago in minutes), reverse=True)
    verified = data.draw(st.lists(st.sampled_from(nights), unique=True))
    weeks, months = {}, {}
    for night in nights:
        weeks.setdefault(tuple(night.isocalendar())[:2], night)
        months.setdefault((night.year, night.month), night)
    wanted = {night for night in nights if NOW - night <= timedelta(days=rules["keepDays"])}
    wanted |= {*nights[: rules["keepLast"]], *sorted(verified)[-1:]}
    wanted |= {*list(weeks.values())[: rules["keepWeekly"]], *list(months.values())[: rules["keepMonthly"]]}
    assert set(kept(nights, verified=verified, **rules)) == wanted
