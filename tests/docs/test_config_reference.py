"""docs/config.md and the JSON schema are what the code says, and the example works."""

from pathlib import Path

import yaml

from components.pipeline.config.reference import page
from components.pipeline.config.stack import parse

PAGE = Path(__file__).parents[2] / "docs" / "config.md"


def test_the_page_is_current() -> None:
    """To repair: python -m components.pipeline.config.reference > docs/config.md."""
    assert PAGE.read_text() == page()


def test_the_example_is_a_config() -> None:
    block = PAGE.read_text().split("```yaml\n")[1].split("```")[0]
    config = yaml.safe_load(block)["config"]
    settings = parse({key.removeprefix("flakeup:"): value for key, value in config.items()})
    assert [host.name for host in settings.hosts] == ["web1"]
