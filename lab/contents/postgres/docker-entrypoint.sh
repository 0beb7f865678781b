#!/bin/bash
# Makes a database on the first start and then runs the server, as people know it from the official image:
# POSTGRES_PASSWORD, POSTGRES_USER, POSTGRES_DB, POSTGRES_INITDB_ARGS (each also from a file, as NAME_FILE),
# POSTGRES_INITDB_WALDIR, POSTGRES_HOST_AUTH_METHOD, PGDATA; what is in /docker-entrypoint-initdb.d is run once.
set -euo pipefail
shopt -s nullglob

# from_file NAME DEFAULT: sets NAME to its value, or to what is in the file that NAME_FILE names, or to DEFAULT.
from_file() {
  local name=$1 file=$1_FILE value=$2
  if [[ -n ${!name-} && -n ${!file-} ]]; then
    echo "error: both $name and $file are set; keep one of them" >&2
    exit 1
  fi
  [[ -z ${!file-} ]] || value=$(<"${!file}")
  export "$name=${!name:-$value}"
  unset "$file"
}

# query DATABASE [psql's options]: as the administrator, over the socket, ending with the first error.
query() {
  psql --set ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" --dbname "$@"
}

# Makes the files of the database.
create() {
  local words=(--username "$POSTGRES_USER") method=${POSTGRES_HOST_AUTH_METHOD-}
  if [[ -z $POSTGRES_PASSWORD && $method != trust ]]; then
    echo "error: the database has no password: set POSTGRES_PASSWORD, or POSTGRES_PASSWORD_FILE to a file with it." >&2
    echo "       POSTGRES_HOST_AUTH_METHOD=trust lets everybody in without one." >&2
    exit 1
  fi
  [[ -z ${POSTGRES_INITDB_WALDIR-} ]] || words+=(--waldir "$POSTGRES_INITDB_WALDIR")
  # The arguments are words as in a shell: quotes hold.
  eval "initdb \"\${words[@]}\" --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") $POSTGRES_INITDB_ARGS"
  printf '\nhost all all all %s\n' "${method:-$(postgres -C password_encryption)}" >>"$PGDATA/pg_hba.conf"
}

# Runs what the user has put there, in the order of the names. A script that may be executed is, others are read in here.
prepare() {
  local file
  [[ $POSTGRES_DB == postgres ]] || query postgres --quiet --set name="$POSTGRES_DB" <<<'CREATE DATABASE :"name";'
  for file in /docker-entrypoint-initdb.d/*; do
    echo "$0: $file"
    case $file in
      *.sh)
        # shellcheck disable=SC1090
        if [[ -x $file ]]; then "$file"; else . "$file"; fi
        ;;
      *.sql) query "$POSTGRES_DB" --file "$file" ;;
      *.sql.gz) gunzip -c "$file" | query "$POSTGRES_DB" ;;
      *.sql.xz) xzcat "$file" | query "$POSTGRES_DB" ;;
      *) echo "$0: $file is none of .sh, .sql, .sql.gz, .sql.xz; left alone" ;;
    esac
  done
}

[[ ${1:0:1} != - ]] || set -- postgres "$@"
for word in "$@"; do
  case $word in -\? | --help | --describe-config | -V | --version) exec "$@" ;; esac
done
[[ ${1-} == postgres ]] || exec "$@"

if [[ $(id -u) == 0 ]]; then
  mkdir -p "$PGDATA" /run/postgresql
  chmod 700 "$PGDATA"
  chown -R postgres:postgres "$PGDATA" /run/postgresql
  [[ -z ${POSTGRES_INITDB_WALDIR-} ]] || { mkdir -p "$POSTGRES_INITDB_WALDIR" && chown -R postgres:postgres "$POSTGRES_INITDB_WALDIR"; }
  # By its path: busybox has a setpriv too, which knows less.
  HOME=/var/lib/postgresql exec /usr/bin/setpriv --reuid postgres --regid postgres --clear-groups -- "$0" "$@"
fi

if [[ -s $PGDATA/PG_VERSION ]]; then
  echo "$0: $PGDATA has a database; nothing to make"
else
  from_file POSTGRES_PASSWORD ""
  from_file POSTGRES_USER postgres
  from_file POSTGRES_DB "$POSTGRES_USER"
  from_file POSTGRES_INITDB_ARGS ""
  create
  # Only on the socket, so that nobody takes it for ready over the network.
  arguments=("${@:2}" -c listen_addresses= -p 5432)
  PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -o "$(printf '%q ' "${arguments[@]}")" -w start
  prepare
  PGUSER=$POSTGRES_USER pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD
  printf '\nPostgreSQL init process complete; ready for start up.\n\n'
fi
exec "$@"
