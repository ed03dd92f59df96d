from __future__ import annotations

from collections.abc import Callable

from hypothesis import HealthCheck, given, settings


def property_test(*strategies, **named) -> Callable:
    """Test with many values, the same in every run, however slow the machine is."""
    setting = settings(
        max_examples=100,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    return lambda test: setting(given(*strategies, **named)(test))
