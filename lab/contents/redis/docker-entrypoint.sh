#!/bin/sh
# Runs the server as redis, in /data. Clients on other hosts are let in without a password, as in the official image.
set -eu

case ${1-} in -* | *.conf) set -- redis-server "$@" ;; esac
if [ "${1-}" = redis-server ]; then
  if [ "$(id -u)" = 0 ]; then
    chown -R redis:redis /data
    exec /usr/bin/setpriv --reuid redis --regid redis --clear-groups -- "$0" "$@"
  fi
  case " $* " in *" --protected-mode "* | *.conf*) ;; *) set -- "$@" --protected-mode no ;; esac
fi
exec "$@"
