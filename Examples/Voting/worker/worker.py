"""Takes votes from the queue into the database. A voter has one vote: a later one replaces it.

A vote leaves the queue's second list only when it is in the database, so a worker that is killed loses none.
"""
import json
import os
import signal
import sys
import time
from pathlib import Path

import psycopg2
import redis


def work(queue, database):
    """Forever."""
    with database, database.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS votes (voter text PRIMARY KEY, choice text NOT NULL)")
    print("waiting for votes")
    while True:
        # Left by a worker that was killed, else the next one; a second to notice that the queue has gone.
        item = queue.lindex("votes-in-work", 0) or queue.blmove("votes", "votes-in-work", 1, "LEFT", "RIGHT")
        if item is None:
            continue
        vote = json.loads(item)
        with database, database.cursor() as cursor:
            cursor.execute("INSERT INTO votes (voter, choice) VALUES (%(voter)s, %(choice)s) "
                           "ON CONFLICT (voter) DO UPDATE SET choice = EXCLUDED.choice", vote)
        queue.lrem("votes-in-work", 1, item)
        print(f"{vote['voter']} votes for {vote['choice']}")


def main():
    """Begins again whenever the queue or the database goes away."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    password = Path(os.environ.get("PASSWORD_FILE", "/run/secrets/database-password")).read_text().strip()
    while True:
        try:
            queue = redis.Redis(os.environ.get("REDIS", "redis"), socket_timeout=5, socket_connect_timeout=5)
            database = psycopg2.connect(
                host=os.environ.get("DATABASE", "database"), user="voting", dbname="voting", password=password, connect_timeout=5)
            try:
                work(queue, database)
            finally:
                database.close()
        except (psycopg2.Error, redis.RedisError) as problem:
            print(f"begins again in a second: {problem}".strip())
            time.sleep(1)


if __name__ == "__main__":
    main()
