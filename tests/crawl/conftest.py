from collections.abc import Iterator

import pytest

from tests.crawl.site import Site


@pytest.fixture
def site() -> Iterator[Site]:
    """A web on loopback, empty."""
    with Site() as site:
        yield site
