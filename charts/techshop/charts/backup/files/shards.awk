# Choose whom to take snapshots from. Reads what CLUSTER NODES says; prints for each shard its first slot, the host, and its
# slots: a replica that follows its master, or the master where none does.
{
  split($2, address, ",")
  host = address[2]
  if (host == "") { host = address[1]; sub(/:[0-9]+@[0-9]+$/, "", host) }
  lost = $3 ~ /fail|handshake|noaddr/
}
$3 ~ /master/ && NF > 8 {
  if (!lost) from[$1] = host
  slots[$1] = $9
  for (i = 10; i <= NF; i++) if ($i !~ /^\[/) slots[$1] = slots[$1] "," $i
}
$3 ~ /slave/ && !lost && $8 == "connected" { replica[$4] = host }
END {
  for (id in slots) {
    first = slots[id]
    sub(/[-,].*/, "", first)
    print first, (id in replica ? replica[id] : from[id]), slots[id]
  }
}
