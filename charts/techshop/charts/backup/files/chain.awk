# Of slices of the oplog, whose paths are read, find those that have everything after the time `from` and before the second
# `before`, where 0 is for ever. Slices may overlap: of two that go on the one that goes further is taken.
function later(a, b) { return seconds[a] != seconds[b] ? seconds[a] > seconds[b] : ordinal[a] > ordinal[b] }
function time(text,    parts) {
  split(text, parts, ".")
  seconds[text] = parts[1] + 0
  ordinal[text] = parts[2] + 0
  return text
}

match($0, /[0-9]+\.[0-9]+-[0-9]+\.[0-9]+\.bson\.gz$/) {
  split(substr($0, RSTART, RLENGTH - 8), ends, "-")
  path[++n] = $0
  begin[n] = time(ends[1])
  end[n] = time(ends[2])
}

END {
  reached = time(from)
  # By their beginnings; they come nearly so.
  for (i = 2; i <= n; i++)
    for (j = i; j > 1 && later(begin[j - 1], begin[j]); j--) {
      t = begin[j]; begin[j] = begin[j - 1]; begin[j - 1] = t
      t = end[j]; end[j] = end[j - 1]; end[j - 1] = t
      t = path[j]; path[j] = path[j - 1]; path[j - 1] = t
    }
  for (i = 1; i <= n && !(before + 0 && seconds[reached] >= before + 0);) {
    best = 0
    for (; i <= n && !later(begin[i], reached); i++)
      if (later(end[i], reached) && (!best || later(end[i], end[best]))) best = i
    if (!best) break
    print path[best], begin[best], end[best]
    reached = end[best]
  }
  gap = 0
  for (; i <= n; i++) if (later(end[i], reached)) gap = 1
  print "up to", reached (gap ? " gap" : "")
}
