"""Every block of code in README and docs is run, in projects that ``startproject`` has made."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.docs.not_run import NOT_RUN
from tests.docs.pages import PAGES, blocks, name_of, parse
from tests.docs.prepare import BEFORE, FIRST
from tests.docs.reader import Reader
from tests.docs.site import DocumentedSite
from tests.helpers.servers import RSA_KEY, jwk, send, serve

MISSING = [program for program in ("bash", "curl", "openssl") if shutil.which(program) is None]
WITH_BLOCKS = [page for page in PAGES if blocks(page)]


@pytest.fixture
def identity_provider() -> Iterator[str]:
    """Serve the keys of another server, and return the address of its JWK set."""
    keys = json.dumps({"keys": [jwk(RSA_KEY)]}).encode()
    with serve(lambda handler: send(handler, keys)) as address:
        yield f"{address}/jwks.json"


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"the commands of the pages need {', '.join(MISSING)}")
@pytest.mark.parametrize("page", WITH_BLOCKS, ids=name_of)
def test_the_blocks_of_a_page(
    page: Path,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    identity_provider: str,
    record_property: Any,
) -> None:
    numbers = count()

    def new_site() -> DocumentedSite:
        prepared: DocumentedSite = request.getfixturevalue("prepared")
        return prepared.copy(tmp_path / f"site{next(numbers)}")

    name = name_of(page)
    if name in FIRST:
        site = DocumentedSite(tmp_path / "site")
        site.run(FIRST[name])
    else:
        site = new_site()
    reader = Reader(name, new_site, site)
    reader.placeholders["https://idp.example/jwks.json"] = identity_provider
    try:
        for example in parse(page, reader):
            example.evaluate()
        reader.finish()
    finally:
        reader.site.stop()
    record_property("documentation", reader.summary())


def test_what_is_not_run_is_there() -> None:
    """The table has nothing but blocks of the pages; all others are run above, or fail there."""
    keys = Counter(block.key for page in PAGES for block in blocks(page))

    assert [key for key in {**NOT_RUN, **BEFORE} if keys[key] != 1] == []
