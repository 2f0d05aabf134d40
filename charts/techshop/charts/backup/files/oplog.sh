#!/bin/bash
# Store a slice of the oplog every INTERVAL seconds. One that fails says why; the next one has what it would have had.
trap 'kill -TERM "$running" 2> /dev/null; wait; exit 0' TERM
while :; do
  began=$SECONDS
  touch /tmp/round # what the probes look at
  rm -f /tmp/more
  # Longer than any takes: a connection can be dead without either end knowing. In the foreground, as otherwise it signals twice.
  timeout --foreground --kill-after=10 900 bash /scripts/slice.sh & running=$!
  wait "$running"
  left=$((INTERVAL - (SECONDS - began)))
  [ -e /tmp/more ] || [ "$left" -le 0 ] || { sleep "$left" & running=$!; wait "$running"; }
done
