"""Takes votes into the queue, and counts those that have reached the database."""
import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg2
import redis

CHOICES = Path(os.environ.get("CHOICES", "/choices")).read_text().split()
QUEUE = redis.Redis(os.environ.get("REDIS", "redis"), socket_timeout=5, socket_connect_timeout=5)


def counts():
    """{choice: votes}; nothing before the worker has made its table."""
    password = Path(os.environ.get("PASSWORD_FILE", "/run/secrets/database-password")).read_text().strip()
    database = psycopg2.connect(
        host=os.environ.get("DATABASE", "database"), user="voting", dbname="voting", password=password, connect_timeout=5)
    try:
        with database.cursor() as cursor:
            cursor.execute("SELECT choice, count(*) FROM votes GROUP BY choice")
            return dict(cursor.fetchall())
    except psycopg2.errors.UndefinedTable:
        return {}
    finally:
        database.close()


class API(BaseHTTPRequestHandler):
    """POST /votes {"voter", "choice"}, GET /results, GET /health."""

    protocol_version = "HTTP/1.1"

    def answer(self, status, value):
        """One JSON answer."""
        body = json.dumps(value).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path == "/health":
            return self.answer(200, "ok")
        if self.path != "/results":
            return self.answer(404, f"no {self.path}")
        try:
            return self.answer(200, counts())
        except (psycopg2.Error, OSError) as problem:
            return self.answer(503, f"the database does not answer: {problem}".strip())

    def do_POST(self):
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 1000))
        if self.path != "/votes":
            return self.answer(404, f"no {self.path}")
        try:
            vote = json.loads(body)
            voter, choice = str(vote["voter"]), vote["choice"]
        except (ValueError, KeyError, TypeError):
            return self.answer(400, 'a vote is {"voter": …, "choice": …}')
        if choice not in CHOICES or not 0 < len(voter) <= 64:
            return self.answer(400, f"the choices are {', '.join(CHOICES)}; a voter's name has 1 to 64 characters")
        try:
            QUEUE.rpush("votes", json.dumps({"voter": voter, "choice": choice}))
        except redis.RedisError as problem:
            return self.answer(503, f"the queue does not answer: {problem}")
        return self.answer(202, "taken")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    ThreadingHTTPServer(("", int(os.environ.get("PORT", "80"))), API).serve_forever()
