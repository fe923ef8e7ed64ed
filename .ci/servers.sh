#!/usr/bin/env bash
# Makes sure that the tests find MariaDB and PostgreSQL: what is missing is installed (Debian, Ubuntu). Nothing needs to
# be running: test/support/servers.ts uses servers on the usual local ports, or starts its own from these binaries.
set -euo pipefail

has() {
  local name
  for name in "$@"; do
    command -v "$name" >/dev/null && return
    compgen -G "/usr/sbin/$name" >/dev/null && return
    compgen -G "/usr/lib/postgresql/*/bin/$name" >/dev/null && return
  done
  return 1
}

missing=()
[ -n "${JOBQ_TEST_MYSQL_URL:-}" ] || has mariadbd mysqld || missing+=(mariadb-server)
[ -n "${JOBQ_TEST_POSTGRES_URL:-}" ] || has postgres || missing+=(postgresql)
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "install ${missing[*]}, or name servers in JOBQ_TEST_MYSQL_URL and JOBQ_TEST_POSTGRES_URL" >&2
  exit 1
fi
as_root=()
[ "$(id -u)" -eq 0 ] || as_root=(sudo -n)
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -q
"${as_root[@]}" apt-get install -q -y --no-install-recommends "${missing[@]}"
