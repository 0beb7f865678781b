"""Version 2: a note has a rating, so its migration must have run before."""
from django.db import models


class Note(models.Model):
    """A line of text that people rate."""

    text = models.TextField()
    rating = models.IntegerField(null=True)

    def __str__(self):
        return f"{self.id} {self.text} ({self.rating or 'no'} stars)"
