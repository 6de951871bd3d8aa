#!/bin/bash
# OCI runtime of the lab: drops the capabilities that this machine itself does not have, since
# `docker run --privileged` asks for all of them and runc refuses what it cannot give.
bundle=. file=
words=("$@")
for ((i = 0; i < $#; i++)); do
    case ${words[i]} in
        create | run) file=config.json ;;
        --bundle | -b) bundle=${words[i + 1]} ;;
        --bundle=*) bundle=${words[i]#*=} ;;
        --process | -p) [ -n "$file" ] || file=${words[i + 1]} ;;
        --process=*) file=${words[i]#*=} ;;
    esac
done
case $file in
    config.json) file=$bundle/config.json ;;
esac
if [ -n "$file" ] && [ -f "$file" ]; then
    sed -i -E 's/"(@ABSENT@)",?//g; s/,\]/]/g' "$file"
fi
exec @RUNC@ "$@"
