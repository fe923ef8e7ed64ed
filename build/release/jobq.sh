#!/bin/sh
# jobq with the Node.js that came with it, wherever this is unpacked or linked from. With 4 MB for what is new, where V8 begins
# with one, a short command ends before anything is collected, 3 ms sooner.
file=$0
case $file in */*) ;; *) file=./$file ;; esac
if [ -L "$file" ]; then file=$(readlink -f -- "$file"); fi
root=${file%/*}/../lib/jobq
exec "$root/bin/node" --min-semi-space-size=4 "$root/bin/run.js" "$@"
