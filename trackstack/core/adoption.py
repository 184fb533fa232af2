"""Whether a platform is used: what runs tell by week, and the rule that calls it healthy.

Weeks begin on Monday, UTC, and are named by that day.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from trackstack.core import prices
from trackstack.core.naming import DEFAULT_EXPERIMENT, Standard
from trackstack.core.usage import MB_PER_GB

CI_TAG = "trackstack.ci"
"""Tag of a run that a CI job logged; its value names the CI. ``trackstack env`` has MLflow's client
set it, by that client's own variable ``MLFLOW_RUN_CONTEXT``."""
CI_USERS = frozenset(
    {
        *("bamboo", "buildkite-agent", "circleci", "codebuild-user", "github-actions"),
        *("gitlab-runner", "jenkins", "runner", "runneradmin", "teamcity", "travis"),
        *("vsts", "vsts_azpcontainer"),
    }
)
"""Whom MLflow finds logged into the machines of CI systems, as the tag ``mlflow.user``."""
_JOB = "JOB"
RULE_EXPERIMENTS = 10
RULE_DAYS = 30
GB = MB_PER_GB * 1_000_000
_PACE_WEEKS = 4
_WEEKS_A_YEAR = 52

HOW_CI_IS_KNOWN = (
    f"A run counts as CI's when it has the tag {CI_TAG} (`trackstack env` has it set in a job of"
    " GitHub, GitLab, Jenkins and others), when MLflow's tag mlflow.source.type is JOB, or when"
    " mlflow.user is a CI system's own user, such as runner or gitlab-runner."
)
HOW_PEOPLE_ARE_KNOWN = (
    "People are the different values of mlflow.user, the name on the machine that trained, among"
    " runs that aren't CI's."
)


def week_of(milliseconds: float) -> str:
    """The Monday of the week that a time is in."""
    day = datetime.fromtimestamp(milliseconds / 1000, UTC).date()
    return (day - timedelta(days=day.weekday())).isoformat()


def is_ci(tags: Mapping[str, str]) -> bool:
    """Whether a CI job logged the run with these tags."""
    return bool(
        tags.get(CI_TAG)
        or tags.get("mlflow.source.type") == _JOB
        or tags.get("mlflow.user") in CI_USERS
    )


@dataclass
class Tally:
    """What was counted in one week of one experiment."""

    runs: int = 0
    ci: int = 0
    people: set[str] = field(default_factory=set)

    def add(self, tags: Mapping[str, str], user: str = "") -> None:
        """Count a run."""
        self.runs += 1
        who = tags.get("mlflow.user") or user
        if is_ci({**tags, "mlflow.user": who}):
            self.ci += 1
        elif who:
            self.people.add(who)


@dataclass(frozen=True)
class Counted:
    """An experiment with its runs by week."""

    name: str
    created: float
    """When, in milliseconds; 0: the server doesn't say."""
    weeks: Mapping[str, Tally]

    @property
    def runs(self) -> int:
        """All of them."""
        return sum(tally.runs for tally in self.weeks.values())


@dataclass(frozen=True)
class Week:
    """A row of the report."""

    week: str
    experiments: int
    """Experiments with a run in this week."""
    new: int
    """Experiments made in this week."""
    runs: int
    ci: int
    people: int
    stored: float | None
    """Bytes of artifacts at its end; None: not known."""

    @property
    def ci_share(self) -> float | None:
        """Part of the runs that CI logged; None when there were none."""
        return self.ci / self.runs if self.runs else None


Verdict = Literal["healthy", "unhealthy", "open"]


@dataclass(frozen=True)
class Health:
    """The rule of ten experiments in the first month."""

    verdict: Verdict
    experiments: int
    """Made and used in the first month."""
    since: date
    """Its first day."""
    days_left: int

    @property
    def sentence(self) -> str:
        """The verdict in words."""
        were = "experiment was" if self.experiments == 1 else "experiments were"
        count = f"{self.experiments} {were} made and used"
        month = f"the first {RULE_DAYS} days, from {self.since.isoformat()}"
        if self.verdict == "open":
            return (
                f"open: {count} so far in {month}; {RULE_EXPERIMENTS} make it healthy, and"
                f" {self.days_left} days are left"
            )
        return f"{self.verdict}: {count} in {month}; the rule asks for {RULE_EXPERIMENTS}"


@dataclass(frozen=True)
class Stored:
    """How much lies in the artifact store."""

    weeks: Mapping[str, float] = field(default_factory=dict)
    """Week to bytes at its end."""
    source: str = ""
    """Where the figures come from."""
    problem: str = ""
    """Why there are none."""

    @property
    def now(self) -> float:
        """Bytes."""
        return self.weeks[max(self.weeks)] if self.weeks else 0.0

    @property
    def pace(self) -> float:
        """Bytes that a week added, in the mean of the last four at most."""
        known = sorted(self.weeks)[-_PACE_WEEKS - 1 :]
        steps = max(len(known) - 1, 1)
        return (self.weeks[known[-1]] - self.weeks[known[0]]) / steps if known else 0.0

    @property
    def next_year(self) -> float:
        """Bytes in a year at this pace."""
        return max(self.now + self.pace * _WEEKS_A_YEAR, 0.0)


def amount_stored(stored: float) -> str:
    """Bytes in a unit that people read."""
    for unit, size in (("TB", GB * 1000), ("GB", GB), ("MB", GB / 1000), ("kB", GB / 1_000_000)):
        if abs(stored) >= size:
            return f"{stored / size:,.1f} {unit}"
    return f"{stored:,.0f} B"


def share(part: int, whole: int) -> str:
    """A part in percent; empty of nothing."""
    return f"{part / whole:.0%}" if whole else ""


def monthly_usd(stored: float) -> float:
    """What S3 takes a month for so many bytes."""
    return stored / GB * prices.price_of("s3.storage").usd


@dataclass(frozen=True)
class StrayRuns:
    """Runs that lie beside the platform, in a local store."""

    path: str
    runs: int
    problem: str = ""


@dataclass(frozen=True)
class Report:
    """All of it; ``to_json`` and two views show it."""

    stack: str
    made: datetime
    weeks: tuple[Week, ...]
    """The last ones, without a gap."""
    experiments: int
    used: int
    """Experiments with a run."""
    runs: int
    ci: int
    people: int
    health: Health
    stored: Stored
    strays: tuple[StrayRuns, ...]
    strays_whole: bool
    """Whether the search for them came to its end."""
    wrong_names: Mapping[str, str]
    """Experiment to what is wrong with its name."""
    standard: str
    """The pattern; empty when the platform has none."""

    @property
    def stray_runs(self) -> int:
        """How many."""
        return sum(one.runs for one in self.strays)

    def to_json(self) -> dict[str, Any]:
        """For scripts; nobody's name is in it."""
        return {
            "stack": self.stack,
            "made": self.made.isoformat(timespec="seconds"),
            "experiments": self.experiments,
            "experimentsUsed": self.used,
            "runs": self.runs,
            "ciRuns": self.ci,
            "people": self.people,
            "healthy": {"healthy": True, "unhealthy": False, "open": None}[self.health.verdict],
            "health": self.health.sentence,
            "experimentsInFirstMonth": self.health.experiments,
            "weeks": [
                {
                    "week": one.week,
                    "experiments": one.experiments,
                    "newExperiments": one.new,
                    "runs": one.runs,
                    "ciRuns": one.ci,
                    "ciShare": one.ci_share,
                    "people": one.people,
                    "storedBytes": one.stored,
                }
                for one in self.weeks
            ],
            "storage": {
                "bytes": self.stored.now if self.stored.weeks else None,
                "bytesAWeek": self.stored.pace if self.stored.weeks else None,
                "usdAMonth": monthly_usd(self.stored.now) if self.stored.weeks else None,
                "usdAMonthInAYear": (
                    monthly_usd(self.stored.next_year) if self.stored.weeks else None
                ),
                "source": self.stored.source,
                "problem": self.stored.problem or None,
            },
            "strays": [vars(one) for one in self.strays],
            "strayRuns": self.stray_runs,
            "straysWhole": self.strays_whole,
            "standard": self.standard or None,
            "breaksStandard": dict(self.wrong_names),
        }


def health_of(counted: Iterable[Counted], now: datetime) -> Health:
    """Hold a platform against the rule.

    Its first month begins with MLflow's own experiment ``Default``, which the first migration
    makes. An experiment counts when somebody made it in that month and logged a run into it, then
    or later: one that was only declared is no adoption.
    """
    known = [one for one in counted if one.created]
    first = min((one.created for one in known), default=now.timestamp() * 1000)
    since = datetime.fromtimestamp(first / 1000, UTC)
    end = since + timedelta(days=RULE_DAYS)
    number = sum(
        1
        for one in known
        if one.name != DEFAULT_EXPERIMENT and one.created < end.timestamp() * 1000 and one.runs
    )
    verdict: Verdict = "open" if now < end else "unhealthy"
    if number >= RULE_EXPERIMENTS:
        verdict = "healthy"
    return Health(verdict, number, since.date(), max((end - now).days + 1, 0) if now < end else 0)


def weeks_of(
    counted: Collection[Counted], stored: Stored, now: datetime, most: int
) -> tuple[Week, ...]:
    """The last weeks up to this one, those without a run among them."""
    last = week_of(now.timestamp() * 1000)
    seen = {week for one in counted for week in one.weeks}
    seen |= {week_of(one.created) for one in counted if one.created}
    first = min((week for week in seen if week <= last), default=last)
    names = [last]
    while names[0] > first and len(names) < most:
        names.insert(0, (date.fromisoformat(names[0]) - timedelta(days=7)).isoformat())
    return tuple(_week(name, counted, stored) for name in names)


def _week(name: str, counted: Iterable[Counted], stored: Stored) -> Week:
    runs = ci = experiments = new = 0
    people: set[str] = set()
    for one in counted:
        tally = one.weeks.get(name)
        if tally is not None:
            experiments += 1
            runs, ci, people = runs + tally.runs, ci + tally.ci, people | tally.people
        new += bool(one.created and week_of(one.created) == name and one.name != DEFAULT_EXPERIMENT)
    return Week(name, experiments, new, runs, ci, len(people), _stored_at(name, stored))


def _stored_at(week: str, stored: Stored) -> float | None:
    """Nothing is written in some weeks: what lay there before still does."""
    known = [one for one in stored.weeks if one <= week]
    return stored.weeks[max(known)] if known else None


def report_of(
    stack: str,
    counted: Collection[Counted],
    *,
    stored: Stored,
    strays: tuple[Iterable[StrayRuns], bool],
    standard: Standard | None,
    now: datetime,
    weeks: int,
) -> Report:
    """Put it together.

    Args:
        stack: its name.
        counted: every experiment.
        stored: the artifact store.
        strays: those found, and whether everything was searched.
        standard: the naming standard, if the platform has one.
        now: when.
        weeks: how many are shown at most.
    """
    tallies = [tally for one in counted for tally in one.weeks.values()]
    return Report(
        stack=stack,
        made=now,
        weeks=weeks_of(counted, stored, now, weeks),
        experiments=len(counted),
        used=sum(1 for one in counted if one.runs),
        runs=sum(tally.runs for tally in tallies),
        ci=sum(tally.ci for tally in tallies),
        people=len({who for tally in tallies for who in tally.people}),
        health=health_of(counted, now),
        stored=stored,
        strays=tuple(strays[0]),
        strays_whole=strays[1],
        wrong_names=standard.breaking(one.name for one in counted) if standard else {},
        standard=standard.pattern if standard else "",
    )
