"""docs/faults.md is about the rows that there are; `make faults` writes it anew."""

import re
from pathlib import Path

from tests.faults import rows

ROOT = Path(__file__).resolve().parents[2]
ROW = re.compile(r'^\| <a id="[a-z0-9]+"></a>(\w+) \| (.+?) \| (\w+) \| \d+ ', re.MULTILINE)
LINK = re.compile(r"docs/faults\.md#([a-z0-9]+)")


def test_the_page_has_each_row_and_no_other() -> None:
    shown = ROW.findall((ROOT / "docs" / "faults.md").read_text())
    assert shown == [(row.id, row.what, str(row.expected)) for row in rows.ALL]


def test_the_readme_links_to_rows_that_there_are() -> None:
    known = {row.id.lower() for row in rows.ALL}
    linked = set(LINK.findall((ROOT / "README.md").read_text()))
    assert linked
    assert linked <= known
