"""The table."""
from django.db import migrations, models


class Migration(migrations.Migration):
    """Creates it."""

    initial = True
    operations = [migrations.CreateModel("Note", [("id", models.AutoField(primary_key=True)), ("text", models.TextField())])]
