"""Settings of one installation: DJANGO_SETTINGS_MODULE=my_settings."""
from project.settings import *  # noqa: F403

TITLE = "my notes"
