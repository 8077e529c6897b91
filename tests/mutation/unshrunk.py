"""A plugin of pytest: hypothesis tries the same examples every time, and is content with the first that fails."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "unshrunk",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],
    derandomize=True,
    database=None,
)
