"""How hypothesis runs here: time is no assertion."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# On a fresh clone hypothesis builds its table of Unicode first, which takes a second of the first example, and a loaded
# machine may take any time over any other: neither says anything about the code.
settings.register_profile("core", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("core")
