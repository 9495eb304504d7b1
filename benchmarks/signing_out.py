"""How long it takes to sign a user out of many devices, and how long others wait for it."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import Any

from benchmarks.plan import OURS, Job
from benchmarks.processes import Site


def measure(site: Site, devices: int) -> list[list[str]]:
    """Return a table: how long signing out of so many devices takes, and a page of them.

    :param devices: how many devices the user has.
    """
    process = site.process(OURS)
    # Makes alice, and a device of hers.
    process.call("run", job=asdict(Job(OURS, "token", binding="seen")), requests=1)
    process.call("fill", rows=devices, devices=devices)
    seconds = process.call("show_devices")
    result = process.call("sign_out_everywhere")
    assert result["signed_out"] == devices + 1, result
    head = ["database", "devices", "a page of them, ms", "signing out, s", "transactions", "the longest, ms"]
    row = [
        site.database,
        f"{devices:,}",
        f"{seconds * 1000:.0f}",
        f"{result['seconds']:.2f}",
        str(result["transactions"]),
        f"{result['longest'] * 1000:.0f}",
    ]
    return [head, row]


# In the contender's site.


def show_devices() -> float:
    """Read the first page of alice's devices, and return the seconds that it takes."""
    from django.contrib.auth.models import User

    from oauth_binding.devices import devices_of

    alice = User.objects.get(username="alice")
    started = time.perf_counter()
    devices_of(alice)[:50]
    return time.perf_counter() - started


def sign_out_everywhere() -> dict[str, Any]:
    """Sign alice out; return the seconds, in all and of the longest transaction, and how many there are."""
    from django.contrib.auth.models import User
    from django.db import connection

    from oauth_binding.devices import sign_out_everywhere

    begun = 0.0
    transactions: list[float] = []
    set_autocommit = connection.set_autocommit

    # What begins a transaction, and what is called when it has been committed.
    def watch(autocommit: bool, *arguments: Any, **named: Any) -> None:
        nonlocal begun
        if not autocommit:
            begun = time.perf_counter()
        set_autocommit(autocommit, *arguments, **named)
        if autocommit:
            transactions.append(time.perf_counter() - begun)

    alice = User.objects.get(username="alice")
    connection.set_autocommit = watch  # type: ignore[method-assign]
    try:
        started = time.perf_counter()
        signed_out = sign_out_everywhere(alice)
        seconds = time.perf_counter() - started
    finally:
        connection.set_autocommit = set_autocommit  # type: ignore[method-assign]
    return {
        "signed_out": signed_out,
        "seconds": seconds,
        "transactions": len(transactions),
        "longest": max(transactions),
    }
