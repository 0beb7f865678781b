"""Version 1."""
from django.db import models


class Note(models.Model):
    """A line of text."""

    text = models.TextField()

    def __str__(self):
        return f"{self.id} {self.text}"
