"""Version 2: a note has a rating, so its migration must have run before."""
from django.db import models


class Note(models.Model):
    """A line of text that people rate."""

    text = models.TextField()
    rating = models.IntegerField(default=0)
