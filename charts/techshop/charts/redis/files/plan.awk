# Decide what the cluster's shape needs next. A function of what it is given and nothing else: CLUSTER NODES as the node
# `self` sees it, the masters there are to be (`shards`), and in the environment the host names of the MEMBERS, their
# PLACES ("ADDRESS ZONE/NODE" lines) and whether a move of slots may have been INTERRUPTED. Prints what `self` is to do:
#   assign ID FIRST LAST   give a master its first slots (node 0 only)
#   follow ID              become the replica of a master
#   restart                begin again as an empty node (a replica that its shard can spare)
#   takeover               become the master in place of ours, for the masters to be spread over zones and nodes
#   move ID...             share the slots among the masters, leaving none on these (node 0 only)
#   fix                    end a move of slots that was interrupted (node 0 only)
#   say TEXT               nothing
# All nodes see the same list, so that each can take its own place in one plan.

function distance(a, b) { return a > b ? a - b : b - a }
function ordinal(host) { sub(/\..*/, "", host); sub(/.*-/, "", host); return host + 0 }
function zone_of(id) { return zone[ip[id]] }
function node_of(id) { return node[ip[id]] }

# Masters wanted where there are fewest of them, first by zone and then by node: losing one must not lose a majority.
function crowd(id) { return in_zone[zone_of(id)] * 1000 + on_node[node_of(id)] }
function count_master(id, by) { in_zone[zone_of(id)] += by; on_node[node_of(id)] += by }

# A replica belongs to the shard with the fewest, as far from its other copies as can be.
function count_copy(shard, id) { copies[shard, zone_of(id)]++; copies[shard, node_of(id)]++ }
function cost(shard, id) {
  return replicas[shard] * 1000000 + copies[shard, node_of(id)] * 1000 + copies[shard, zone_of(id)]
}
function near(shard, id) { return (zone_of(shard) == zone_of(id)) + 2 * (node_of(shard) == node_of(id)) }

# The ids of a list in the order of their ordinals, which is the same on every node.
function sorted(list, n,    i, j, id) {
  for (i = 2; i <= n; i++) {
    id = list[i]
    for (j = i - 1; j > 0 && ordinal(host[list[j]]) > ordinal(host[id]); j--) list[j + 1] = list[j]
    list[j + 1] = id
  }
}

BEGIN {
  members = split(ENVIRON["MEMBERS"], list)
  for (i = 1; i <= members; i++) member[list[i]] = 1
  n = split(ENVIRON["PLACES"], list)
  for (i = 1; i < n; i += 2) {
    split(list[i + 1], place, "/")
    zone[list[i]] = "zone " place[1]
    node[list[i]] = "node " place[2]
  }
}

{
  id = $1
  split($2, part, ",")
  host[id] = part[2]
  sub(/:[0-9]+@.*/, "", part[1])
  ip[id] = part[1]
  if ($3 ~ /myself/) me = id
  for (i = 9; i <= NF; i++) {
    if ($i ~ /^\[/) { open = 1; continue }
    range = split($i, part, "-")
    slots[id] += part[range] - part[1] + 1
    for (s = part[1] + 0; s <= part[range] + 0; s++) owner[s] = id
    assigned += part[range] - part[1] + 1
  }
  if ($3 ~ /fail|handshake|noaddr/) {
    if (slots[id]) lost = id
    dead++
    next
  }
  live[host[id]] = id
  if (host[id] in member) present++
  if ($3 ~ /slave/) { master_of[id] = $4; replicas[$4]++; followers[++n_followers] = id }
  else if (slots[id] && host[id] in member) masters[++n_masters] = id
  else if (slots[id]) leaving[++n_leaving] = id
  else if (!(host[id] in member)) next
  # Who is not connected may just have handed its slots over, which it had no time to tell.
  else if ($8 == "connected" || id == me) empty[++n_empty] = id
  else away++
}

END {
  leader = ordinal(self) == 0
  sorted(masters, n_masters); sorted(empty, n_empty); sorted(followers, n_followers)
  for (i = 1; i <= n_masters; i++) { count_master(masters[i], 1); count_copy(masters[i], masters[i]) }
  for (i = 1; i <= n_followers; i++) count_copy(master_of[followers[i]], followers[i])

  # Masters that are still missing are chosen among the nodes that hold nothing.
  for (made = 0; n_masters + made < shards; made++) {
    best = ""
    for (i = 1; i <= n_empty; i++)
      if (!(empty[i] in chosen) && (best == "" || crowd(empty[i]) < crowd(best))) best = empty[i]
    if (best == "") break
    chosen[best] = 1
    order[made + 1] = best
    count_master(best, 1)
    count_copy(best, best)
  }

  if (assigned < 16384 && !lost) {
    if (!leader) { print "say waiting for node 0 to give out the slots"; exit }
    for (shard = 0; shard < shards; shard++) {
      first = int(shard * 16384 / shards); last = int((shard + 1) * 16384 / shards) - 1
      if (!(first in owner)) print "assign", order[++given], first, last
    }
    exit
  }

  # The other empty nodes follow a master each; two change their places where that brings copies further apart.
  for (i = 1; i <= n_empty; i++) {
    id = empty[i]
    if (id in chosen) continue
    best = ""
    for (j = 1; j <= n_masters + made; j++) {
      shard = j <= n_masters ? masters[j] : order[j - n_masters]
      if (best == "" || cost(shard, id) < cost(best, id)) best = shard
    }
    if (best == "") break
    replicas[best]++
    count_copy(best, id)
    place_of[id] = best
    for (j = 1; j < i; j++) {
      other = empty[j]
      if (!(other in place_of)) continue
      if (near(best, other) + near(place_of[other], id) < near(best, id) + near(place_of[other], other)) {
        place_of[id] = place_of[other]
        place_of[other] = best
        break
      }
    }
  }
  if (me in place_of) { print "follow", place_of[me]; exit }
  for (id in place_of) unplaced = 1

  if (lost && (host[lost] in live || !(host[lost] in member))) {
    print "say " slots[lost] " slots are gone with node " ordinal(host[lost]) ": see docs/runbooks/redis-lost-shard.md"
    exit
  }
  if (dead || away || present < members || unplaced) { print "say waiting until all nodes are there and have their place"; exit }

  if (leader && (open || ENVIRON["INTERRUPTED"])) { print "fix"; exit }
  excess = n_masters - shards
  share = 16384 / shards
  for (i = 1; i <= n_masters; i++) if (distance(slots[masters[i]], share) > share / 50 + 2) uneven = 1
  if (leader && (n_leaving || made || excess > 0 || (n_masters == shards && uneven))) {
    line = "move"
    for (i = 1; i <= n_leaving; i++) line = line " " leaving[i]
    for (; excess > 0; excess--) {
      worst = ""
      for (i = 1; i <= n_masters; i++)
        if (!(masters[i] in emptied) && (worst == "" || crowd(masters[i]) >= crowd(worst))) worst = masters[i]
      emptied[worst] = 1
      count_master(worst, -1)
      line = line " " worst
    }
    print line
    exit
  }

  # A replica that its shard can spare, or that follows another replica, goes where one is missing. When a master is
  # missing and nobody is empty it begins again, as empty as a new node.
  for (i = n_followers; i && !spare; i--)
    if (!slots[master_of[followers[i]]] || replicas[master_of[followers[i]]] > 1) spare = followers[i]
  for (i = n_masters; i; i--) if (!target || replicas[masters[i]] <= replicas[target]) target = masters[i]
  missing = shards - n_masters
  if (spare && !open && !n_leaving && !made && excess <= 0 && (missing > 0 || !slots[master_of[spare]] || !replicas[target])) {
    if (spare != me) print "say waiting for node " ordinal(host[spare]) " to find its place"
    else if (missing > 0) print "restart"
    else print "follow", target
    exit
  }

  # One takeover at a time: the first replica whose place has at least two masters fewer than its master's.
  if (!open && !n_leaving && n_masters == shards)
    for (i = 1; i <= n_followers; i++) {
      id = followers[i]
      at = master_of[id]
      gain = in_zone[zone_of(at)] - in_zone[zone_of(id)]
      if (zone_of(at) == zone_of(id)) gain = on_node[node_of(at)] - on_node[node_of(id)]
      if (gain >= 2) {
        if (id == me) { print "takeover"; exit }
        break
      }
    }

  if (me in master_of) print "say replica of node " ordinal(host[master_of[me]])
  else print "say master of " slots[me] + 0 " slots, with " replicas[me] + 0 " replica(s)"
}
