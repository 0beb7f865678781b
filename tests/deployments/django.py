"""A Django project and its database in PostgreSQL, from one version to the next and back."""

import shutil

from deployments.kit import *

SECRET = {"POSTGRES_PASSWORD": "a secret of the lab"}


def psql(sql):
    return engine("docker-3", "exec", "db", "psql", "-U", "postgres", "-qtAXc", sql)


def columns():
    return psql("select string_agg(column_name, ' ' order by column_name) from information_schema.columns where table_name = 'notes_note'").split()


def story_django():
    """Django: version 2 migrates once and before it serves, a rollback takes the schema back and keeps the data, backups restore"""
    text = (ROOT / "Examples/Django/Deployfile.swift").read_text()
    deployfile(text)
    for host in HOSTS:
        engine(host, "volume", "rm", "-f", "notes", check=False)
    text1 = apus("deploy", timeout=150, **SECRET)
    said(text1, "notes.0001_initial")
    expect(text1.count("migrate: migrate with") == 2, text1)  # planned once, done once, for two hosts
    until("it serves", lambda: answer("docker-1") and answer("docker-2"), 20)
    psql("insert into notes_note (text) values ('kept')")
    text = apus("deploy", **SECRET)
    expect(text.count("No changes detected, update skipped.") == 3, text)
    said(apus("migrate", "django", **SECRET), "No migrations to apply, migrate skipped.")
    before = columns()
    said(apus("deploy", "django", "--tag", "2", **SECRET), "applied notes.0002_rating")
    expect(set(columns()) - set(before) == {"rating"}, columns())
    said(apus("backup", "db", **SECRET), "backup: /var/tmp/apus-backups/db-postgres-")
    said(apus("rollback", "django", **SECRET), "notes back to 0001_initial")
    expect(columns() == before and psql("select text from notes_note") == "kept", columns())
    said(apus("rollback", "django", **SECRET), "already, taken back from 2")
    psql("delete from notes_note")
    said(apus("restore", "db", "--yes", **SECRET), "restored /var/tmp/apus-backups/db-postgres-")
    expect(psql("select text from notes_note") == "kept" and "rating" in columns(), "the backup is not back")
    shutil.rmtree("/var/tmp/apus-backups", ignore_errors=True)
