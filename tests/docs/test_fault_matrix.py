"""docs/faults.md lists the rows of the fault matrix; `make faults` generates it."""

import re
from pathlib import Path

from tests.faults import rows

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r'^\| <a id="[a-z0-9]+"></a>(\w+) \| (.+?) \| (\w+) \| \d+ ', re.MULTILINE)
LINK = re.compile(r"docs/faults\.md#([a-z0-9]+)")


def test_the_page_lists_exactly_the_rows() -> None:
    shown = ROW.findall((ROOT / "docs" / "faults.md").read_text())
    assert shown == [(row.id, row.what, str(row.expected)) for row in rows.ALL]


def test_the_readme_links_to_existing_rows() -> None:
    known = {row.id.lower() for row in rows.ALL}
    linked = set(LINK.findall((ROOT / "README.md").read_text()))
    assert linked
    assert linked <= known
