"""GET / says the version, the host and how many notes there are; POST / adds one; /health looks at the database."""
import socket

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
    return HttpResponse(f"django-{VERSION} on {socket.gethostname()}: {Note.objects.count()} notes\n", "text/plain")


def health(request):
    """200 while the database answers."""
    connection.ensure_connection()
    return HttpResponse("ok\n", "text/plain")


urlpatterns = [path("", index), path("health", health)]
