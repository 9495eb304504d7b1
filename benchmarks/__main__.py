"""How fast issuing and checking tokens is, as ratios to what a site would use instead.

    pip install -e '.[benchmark]'
    python -m benchmarks [--quick] [--growth] [--signing-out] [--where] [--only TEXT]

Every contender is a process of its own, with a database of its own: SQLite, and PostgreSQL where there is
one. In each round a job and the one that it is compared with take turns. A ratio is the median over the
rounds of one rate by the other; more is faster. Ends with 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import growth, proofs, signing_out, where
from benchmarks.plan import (
    COMPARISONS,
    HOT_SLOT_BAR,
    MEMORY_BAR,
    MEMORY_LATER_BAR,
    OURS,
    PROOFS_IN_TABLE,
    TOOLKIT,
    Comparison,
    Job,
)
from benchmarks.processes import Process, Site, mariadb_problem, postgresql_problem, redis_problem
from benchmarks.report import HEAD, Result, draw, machine, table

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "speed.svg"

#: Connections of the load generator.
CONNECTIONS = 4
#: Processes that ask for one slot at once.
PROCESSES = 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="few requests: whether it works, not how fast it is"
    )
    parser.add_argument("--growth", action="store_true", help="measure with up to a million bindings instead")
    parser.add_argument(
        "--signing-out", action="store_true", help="measure signing a user out of 10,000 devices instead"
    )
    parser.add_argument(
        "--where", action="store_true", help="say instead in which packages requests spend their time"
    )
    parser.add_argument("--only", default="", help="only the jobs with this text in their names")
    arguments = parser.parse_args()
    problem = postgresql_problem()
    if problem:
        print(f"PostgreSQL is not measured: {problem}")
    databases = ["sqlite"] if problem else ["sqlite", "postgresql"]
    problem = redis_problem()
    if problem:
        print(f"Proofs that are noted in Redis are not measured: {problem}")
    print(machine(), flush=True)
    if arguments.growth:
        for database in databases:
            with Site(database) as site:
                sizes = [5_000, 10_000] if arguments.quick else [10_000, 100_000, 1_000_000]
                rows = growth.measure(site, sizes, 10_000, 20 if arguments.quick else 400)
                print(table(rows), flush=True)
        return
    if arguments.signing_out:
        if mariadb_problem() is None:
            databases.append("mariadb")
        for database in databases:
            with Site(database) as site:
                rows = signing_out.measure(site, 5_000 if arguments.quick else 10_000)
                print(table(rows), flush=True)
        return
    if arguments.where:
        for database in databases:
            with Site(database) as site:
                print(table(_where(site, arguments.only, 20 if arguments.quick else 2_000)), flush=True)
        return
    missed = _compare(databases, arguments.only, arguments.quick)
    if missed:
        sys.exit(f"Missed: {', '.join(missed)}")


def _compare(databases: list[str], only: str, quick: bool) -> list[str]:
    rounds, requests = (2, 12) if quick else (5, 100)
    results: list[Result] = []
    missed: list[str] = []
    for database in databases:
        with Site(database) as site:
            if not only:
                missed += _memory(site, 20 if quick else 500)
                missed += proofs.compare(site, rounds * 4, requests)
            for comparison in COMPARISONS:
                if comparison.database not in {None, database}:
                    continue
                if comparison.job.proves and comparison.job.contender != PROOFS_IN_TABLE and redis_problem():
                    continue
                if only in f"{comparison.group}: {comparison.job.name}":
                    results.append(_in_process(site, comparison, rounds * 4, requests // 4))
                    if comparison.socket:
                        results.append(_over_a_socket(site, comparison, rounds, requests))
            if database == "postgresql" and not only:
                missed += _hot_slot(site, rounds, requests // 3)
            if not only:
                # At the end: it leaves many rows.
                missed += _memory_later(site, 60 if quick else 2_000)
    print(table([HEAD, *(result.row() for result in results)]))
    if not only and not quick:
        draw(results, PICTURE)
    return missed + [f"{result.label} ({result.how})" for result in results if result.missed]


def _where(site: Site, only: str, requests: int) -> list[list[str]]:
    """Return the milliseconds that requests of jobs, and what they are measured against, spend where."""
    rows = [["job", "on", *where.HEAD, "ms"]]
    comparisons = [each for each in COMPARISONS if only in f"{each.group}: {each.job.name}"]
    of_database = [each for each in comparisons if each.database in {None, site.database}]
    jobs = dict.fromkeys(job for each in of_database for job in (each.job, each.against))
    for job in jobs:
        spent = site.process(job.contender, job.hashes_slowly).call(
            "where", job=asdict(job), requests=requests
        )
        name = f"{job.grant} {job.endpoint}: {job.name}"
        rows.append(
            [name, site.database, *(f"{ms:.2f}" for ms in spent.values()), f"{sum(spent.values()):.2f}"]
        )
    return rows


def _in_process(site: Site, comparison: Comparison, rounds: int, requests: int) -> Result:
    if comparison.job.hashes_slowly:
        rounds, requests = min(rounds, 3), min(requests, 5)

    def run(job: Job) -> tuple[float, list[float]]:
        process = site.process(job.contender, job.hashes_slowly)
        seconds = process.call("run", job=asdict(job), requests=requests)
        return requests / sum(seconds), seconds

    result = _take_turns(comparison, site.database, rounds, run)
    queries = [
        site.process(job.contender, job.hashes_slowly).call("count_queries", job=asdict(job), requests=5)
        for job in (comparison.job, comparison.against)
    ]
    return replace(result, queries=queries[0], against_queries=queries[1])


def _over_a_socket(site: Site, comparison: Comparison, rounds: int, requests: int) -> Result:
    def run(job: Job) -> tuple[float, list[float]]:
        seconds, each = site.process(job.contender).call(
            "load",
            job=asdict(job),
            requests=requests,
            connections=CONNECTIONS,
            host="127.0.0.1",
            port=site.server(job.contender),
        )
        return len(each) / seconds, each

    return _take_turns(comparison, f"{site.database}, socket", rounds, run)


def _take_turns(
    comparison: Comparison, how: str, rounds: int, run: Callable[[Job], tuple[float, list[float]]]
) -> Result:
    result = Result(comparison, how, [], [], [], [])
    sides = [
        (comparison.job, result.rates, result.seconds),
        (comparison.against, result.against_rates, result.against_seconds),
    ]
    for number in range(rounds):
        # Who begins changes, too.
        for job, rates, seconds in sides if number % 2 else reversed(sides):
            rate, each = run(job)
            rates.append(rate)
            seconds += each
    return result


def _memory(site: Site, requests: int) -> list[str]:
    """Compare the memory of fresh workers that have logged in, introspected and called the API."""
    used = {}
    for contender, binding in ((TOOLKIT, None), (OURS, "new")):
        process = site.process(contender, number=1)
        for endpoint in ("token", "introspect", "api"):
            job = Job(contender, endpoint, binding=binding)
            process.call("run", job=asdict(job), requests=requests)
        used[contender] = process.call("memory")
        site.end(contender, 1)
    more = used[OURS] - used[TOOLKIT]
    print(f"{site.database}: memory per worker {used[OURS]:.1f} MB, {more:+.1f} MB to {TOOLKIT}", flush=True)
    return ["memory"] if more > MEMORY_BAR else []


def _memory_later(site: Site, requests: int) -> list[str]:
    """Compare the memory of a worker after some requests to that after ten times as many."""
    process, used, made = site.process(OURS, number=1), [], 0
    for until in (requests, 10 * requests):
        while made < until:
            for endpoint in ("token", "introspect", "api"):
                process.call("run", job=asdict(Job(OURS, endpoint, binding="new")), requests=20)
                made += 20
        used.append(process.call("memory"))
    site.end(OURS, 1)
    more = used[1] - used[0]
    print(
        f"{site.database}: memory of a worker after {requests} requests {used[0]:.1f} MB,"
        f" {more:+.1f} MB after {10 * requests}",
        flush=True,
    )
    return ["memory later"] if more > MEMORY_LATER_BAR else []


def _hot_slot(site: Site, rounds: int, requests: int) -> list[str]:
    """Compare one slot, for which several processes ask at once, with a slot for each process."""
    missed = []
    processes = [site.process(OURS, number=number) for number in range(1, PROCESSES + 1)]
    for token in ("opaque", "RS256"):
        hot, own = (Job(OURS, "token", token=token, binding=binding) for binding in ("seen", "slots"))
        for job in (hot, own):
            _rate(processes, job, 1)
        ratio = median(
            _rate(processes, hot, requests) / _rate(processes, own, requests) for _ in range(rounds)
        )
        queries = sum(_ask_all(processes, "count_queries", hot, 20)) / PROCESSES
        alone = processes[0].call("count_queries", job=asdict(own), requests=20)
        print(
            f"{PROCESSES} processes and one hot slot, {token}: {ratio:.2f} of the rate with a slot each;"
            f" {queries:.2f} queries a request, {alone:.2f} alone",
            flush=True,
        )
        if ratio < HOT_SLOT_BAR:
            missed.append(f"hot slot, {token}")
    for number in range(1, PROCESSES + 1):
        site.end(OURS, number)
    return missed


def _rate(processes: list[Process], job: Job, requests: int) -> float:
    """Return the rate at which all processes together are answered."""
    seconds: list[list[float]] = _ask_all(processes, "run", job, requests)
    return sum(requests / sum(each) for each in seconds)


def _ask_all(processes: list[Process], command: str, job: Job, requests: int) -> list[Any]:
    for process in processes:
        process.ask(command, job=asdict(job), requests=requests)
    return [process.answer() for process in processes]


if __name__ == "__main__":
    main()
