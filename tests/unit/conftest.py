"""What the unit tests share: a small cohort, and SIGTERM, which training takes."""

import pytest
from model_factory import make_cohort
from terminations import sigterm_kept


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two small shards and a split."""
    return make_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture(autouse=True, scope="module")
def keep_sigterm_of_the_module():
    """Give SIGTERM back to pytest after what a module's own fixtures train."""
    with sigterm_kept():
        yield


@pytest.fixture(autouse=True)
def keep_sigterm():
    """Give SIGTERM back to pytest after each test."""
    with sigterm_kept():
        yield
