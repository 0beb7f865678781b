"""GET / shows the version and the notes, POST / adds one, /health asks the database."""
import socket

from django.conf import settings
from django.db import connection
from django.http import HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from notes.models import Note
from project.version import VERSION


@csrf_exempt
def index(request):
    """The one page."""
    if request.method == "POST":
        Note.objects.create(text=request.body.decode() or "empty")
    rows = list(Note.objects.order_by("id"))
    head = f"{settings.TITLE}, version {VERSION}, on {socket.gethostname()}: {len(rows)} notes"
    return HttpResponse("\n".join([head, *map(str, rows), ""]), "text/plain")


def health(request):
    """200 while the database answers."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok\n", "text/plain")


urlpatterns = [path("", index), path("health", health)]
