"""Fixtures that several files of unit tests share."""

from tests.unit.attempt_host import make, progress, web1  # noqa: F401 fixtures
