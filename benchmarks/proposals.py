"""What the patches in docs/proposals/ gain django-oauth-toolkit, as ratios to it without them.

    pip install -e '.[benchmark]'
    git clone https://github.com/django-oauth/django-oauth-toolkit ../django-oauth-toolkit
    python -m benchmarks.proposals ../django-oauth-toolkit [--quick] [--only TEXT]

Two processes take turns, one with a patch and one without it, each with a database of its own: SQLite, and
PostgreSQL where there is one. A ratio is the median over the rounds of one rate by the other; more is faster.
The clone is read only.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.plan import TOOLKIT, Job
from benchmarks.processes import Process, Site, postgresql_problem
from benchmarks.report import machine, table

PATCHES: Final = Path(__file__).resolve().parents[1] / "docs" / "proposals"

#: The commit of django-oauth-toolkit that the patches apply to.
COMMIT: Final = "0f9d49f4abe00bc5c605ed52cf42cd96a3ed2ae2"

#: Without it, no site starts whose settings have the toolkit's class for Django REST framework.
_NEEDED: Final = "drf-circular-import"

_CODE: Final = Job(TOOLKIT, "token", "authorization_code")
_CODE_WITH_ID_TOKEN: Final = replace(_CODE, scope="openid")
_CLIENT: Final = Job(TOOLKIT, "token", "client_credentials")
_PASSWORD: Final = Job(TOOLKIT, "token", "password")
_REFRESH: Final = Job(TOOLKIT, "token", "refresh_token")


@dataclass(frozen=True)
class Proposal:
    """Patches that are measured together, and the jobs that they are for."""

    patches: tuple[str, ...]
    jobs: tuple[Job, ...]
    #: Patches that both sides have.
    after: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What the table calls it."""
        return self.patches[0] if len(self.patches) == 1 else "all of them"


_SINGLE: Final = (
    Proposal(("app-authorized",), (_CLIENT, _PASSWORD)),
    Proposal(("refresh-reads",), (_REFRESH,)),
    Proposal(("code-read-once",), (_CODE, _CODE_WITH_ID_TOKEN)),
    Proposal(("code-redeemed-with-tokens",), (_CODE, _CODE_WITH_ID_TOKEN), after=("code-read-once",)),
    Proposal(("id-token-reread",), (_CODE_WITH_ID_TOKEN,)),
)
PROPOSALS: Final = (
    *_SINGLE,
    Proposal(
        tuple(proposal.patches[0] for proposal in _SINGLE),
        (_CLIENT, _PASSWORD, _REFRESH, _CODE, _CODE_WITH_ID_TOKEN),
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clone", type=Path, help="a clone of django-oauth-toolkit")
    parser.add_argument(
        "--quick", action="store_true", help="few requests: whether it works, not how fast it is"
    )
    parser.add_argument("--only", default="", help="only the proposals with this text in their names")
    arguments = parser.parse_args()
    problem = postgresql_problem()
    if problem:
        print(f"PostgreSQL is not measured: {problem}")
    rounds, requests = (2, 5) if arguments.quick else (20, 25)
    print(machine(), flush=True)
    rows = [["proposal", "job", "database", "rate", "queries", "ms"]]
    for proposal in PROPOSALS:
        if arguments.only in proposal.name:
            for database in ["sqlite"] if problem else ["sqlite", "postgresql"]:
                rows += _measure(proposal, arguments.clone, database, rounds, requests)
    print(table(rows))


def _measure(proposal: Proposal, clone: Path, database: str, rounds: int, requests: int) -> list[list[str]]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        processes = []
        for name, patches in (("before", ()), ("after", proposal.patches)):
            toolkit = directory / name
            _check_out(clone, toolkit, [_NEEDED, *proposal.after, *patches])
            site = stack.enter_context(Site(database, toolkit))
            processes.append(site.process(TOOLKIT))
        before, after = processes
        return [
            [proposal.name, _describe(job), database, *_compare(before, after, job, rounds, requests)]
            for job in proposal.jobs
        ]


def _compare(before: Process, after: Process, job: Job, rounds: int, requests: int) -> list[str]:
    """Return the ratio of rates, and of both sides the queries and the median time."""
    ratios: list[float] = []
    seconds: dict[Process, list[float]] = {before: [], after: []}
    for number in range(rounds):
        took = {}
        # Who begins changes.
        for process in (before, after) if number % 2 else (after, before):
            each: list[float] = process.call("run", job=asdict(job), requests=requests)
            seconds[process] += each
            took[process] = sum(each)
        ratios.append(took[before] / took[after])
    queries = [process.call("count_queries", job=asdict(job), requests=5) for process in (before, after)]
    return [
        f"{median(ratios):.2f}",
        " / ".join(f"{number:g}" for number in queries),
        " / ".join(f"{median(each) * 1000:.2f}" for each in seconds.values()),
    ]


def _check_out(clone: Path, directory: Path, patches: Sequence[str]) -> None:
    """Make a tree with the toolkit and some patches; their tests and changelogs would overlap."""
    clone_quietly = ["git", "clone", "--quiet", "--shared", "--no-checkout", str(clone), str(directory)]
    subprocess.run(clone_quietly, check=True)
    git = ["git", "-C", str(directory)]
    subprocess.run([*git, "-c", "advice.detachedHead=false", "checkout", "--quiet", COMMIT], check=True)
    for patch in patches:
        apply = ["apply", "--include=oauth2_provider/*", str(PATCHES / f"{patch}.patch")]
        subprocess.run([*git, *apply], check=True)


def _describe(job: Job) -> str:
    return f"{job.grant.replace('_', ' ')}{', ID token' if job.scope == 'openid' else ''}"


if __name__ == "__main__":
    main()
