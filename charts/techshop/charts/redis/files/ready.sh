#!/bin/sh
# Ready: the data is loaded; in a cluster also: every slot is served, and a replica has its master's data.
set -eu
# shellcheck source=lib.sh
. /scripts/lib.sh

[ "$(admin ping)" = PONG ]
[ "$CLUSTER" = true ] || exit 0

state=$(admin CLUSTER INFO)
[ "$(echo "$state" | field cluster_state)" = ok ]
[ "$(echo "$state" | field cluster_slots_assigned)" = 16384 ]
replication=$(admin INFO replication)
[ "$(echo "$replication" | field role)" = master ] || [ "$(echo "$replication" | field master_link_status)" = up ]
