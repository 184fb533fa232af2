"""Texts in MLflow's filters, as its own parser reads them."""

import pytest
from mlflow.utils.search_utils import SearchModelVersionUtils

from trackstack.core.filters import quoted


@pytest.mark.parametrize("name", ["churn", "ada's", 'the "best"', "back\\slash", "50%"])
def test_mlflow_reads_what_was_meant(name: str) -> None:
    (found,) = SearchModelVersionUtils.parse_search_filter(f"name = {quoted(name)}")
    assert found["value"] == name


def test_what_no_filter_can_say_is_told() -> None:
    with pytest.raises(ValueError, match="can name"):
        quoted("""ada's "best" """)
