"""Fixtures that several files of unit tests share."""

from tests.unit.activation.attempt_host import make, progress, web1  # noqa: F401 fixtures
