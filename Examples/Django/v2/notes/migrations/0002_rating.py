"""The column of version 2. It may be empty, so that version 1 goes on working while the hosts change over."""
from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds it; backwards it is dropped."""

    dependencies = [("notes", "0001_initial")]
    operations = [migrations.AddField("note", "rating", models.IntegerField(null=True))]
