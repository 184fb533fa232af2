"""Pictures by pygal that need nothing from anywhere.

A chart is made with ``js=[]``, as pygal's default is a script from the internet; ``svg`` takes out
the one that it writes all the same.
"""

import re
import sys
from typing import Any

import pygal

# pygal's finder of map plugins speaks an import protocol that Python has left: every import of the
# process that finds nothing would warn about it.
sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, pygal.PluginImportFixer)]


def svg(chart: Any, **options: Any) -> str:
    """The picture as text."""
    text: str = chart.render(is_unicode=True, **options)
    return re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
