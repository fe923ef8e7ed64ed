#!/usr/bin/env bash
# The programs that the tests need besides Node.js, from Debian's packages where they are missing: MariaDB and PostgreSQL,
# which the tests start for themselves if none runs on its usual port, Galera for the clusters of test/cluster, PgBouncer,
# a browser for examples/web, shells and manual pages.
set -euo pipefail

have() {
  local folder
  for folder in ${PATH//:/ } /usr/sbin /usr/libexec /usr/local/sbin /usr/local/bin /usr/lib/postgresql/*/bin; do
    [ -x "$folder/$1" ] && return 0
  done
  return 1
}

packages=()
have mariadbd || have mysqld || packages+=(mariadb-server)
{ have postgres && have initdb; } || packages+=(postgresql)
[ -e /usr/lib/galera/libgalera_smm.so ] || packages+=(galera-4)
have rsync || packages+=(rsync)
have lsof || packages+=(lsof)
have pgbouncer || packages+=(pgbouncer)
have perl || packages+=(perl)
have sqlite3 || packages+=(sqlite3)
have chromium-headless-shell || packages+=(chromium-headless-shell)
have zsh || packages+=(zsh)
have fish || packages+=(fish)
have man || packages+=(man-db)
have mandoc || packages+=(mandoc)
have debootstrap || packages+=(debootstrap) # npm run test:release
[ ${#packages[@]} -eq 0 ] && exit 0

if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
  echo "the tests need ${packages[*]}: install them, or run this as root on Debian" >&2
  exit 1
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${packages[@]}"
