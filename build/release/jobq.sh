#!/bin/sh
# jobq with the Node.js that came with it, wherever this is unpacked or linked from.
file=$0
case $file in */*) ;; *) file=./$file ;; esac
if [ -L "$file" ]; then file=$(readlink -f -- "$file"); fi
root=${file%/*}/../lib/jobq
exec "$root/bin/node" "$root/bin/run.js" "$@"
