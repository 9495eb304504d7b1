from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.helpers.client import Site
from tests.helpers.logouts import THIS_MACHINE, RelyingParty, relying_party


@pytest.fixture(autouse=True)
def _on_this_machine(settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, **THIS_MACHINE}


@pytest.fixture
def party() -> Iterator[RelyingParty]:
    with relying_party() as party:
        yield party


@pytest.fixture
def told(make_site: Callable[..., Site], party: RelyingParty) -> Any:
    """An application that is told of logouts by its relying party."""
    return make_site("authorization_code", backchannel_logout_uri=party.uri).application
