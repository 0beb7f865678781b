"""The column of version 2."""
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds it; backwards it is dropped."""

    dependencies = [("notes", "0001_initial")]
    operations = [migrations.AddField("note", "rating", models.IntegerField(default=0))]
