# Decide which backups go. Reads the paths of a bucket's objects, one a line; `now` is the UTC time as YYYYMMDDTHHMMSSZ, and
# keepDays, keepLast, keepWeekly and keepMonthly are the rules: a backup stays when any of them wants it, and the newest that
# was verified stays whatever they say. Prints the paths that go, what makes an object a backup first. An archive without a
# manifest is no backup: it goes when it is a day old, and nobody can still be writing it.

# Days since 1970-01-01 of a time as it stands in names.
function days(time,    y, m) {
  y = substr(time, 1, 4) + 0; m = substr(time, 5, 2) + 0
  if (m < 3) { y--; m += 12 }
  return 365 * y + int(y / 4) - int(y / 100) + int(y / 400) + int((153 * m - 457) / 5) + substr(time, 7, 2) - 719469
}
function seconds(time) {
  return days(time) * 86400 + substr(time, 10, 2) * 3600 + substr(time, 12, 2) * 60 + substr(time, 14, 2)
}
# The newest of each of the last `many` groups stays; groups are numbered with time.
function keep_newest_of(group, many,    i, seen, taken) {
  for (i = n; i && taken < many; i--)
    if (!(group[i] in seen)) { seen[group[i]] = 1; taken++; keep[i] = 1 }
}

match($0, /[0-9]+T[0-9]+Z\./) {
  time = substr($0, RSTART, RLENGTH - 1)
  start = substr($0, 1, RSTART + RLENGTH - 2)
  kind = substr($0, RSTART + RLENGTH - 1)
  if (!(start in at)) { at[start] = time; starts[++all] = start }
  has[start, kind] = 1
  kinds[start] = kinds[start] " " kind
}

END {
  for (i = 2; i <= all; i++) { # by time, the oldest first
    start = starts[i]
    for (j = i - 1; j > 0 && at[starts[j]] > at[start]; j--) starts[j + 1] = starts[j]
    starts[j + 1] = start
  }
  for (i = 1; i <= all; i++) {
    start = starts[i]
    if (has[start, ".manifest.json"]) backup[++n] = start
    else if (seconds(now) - seconds(at[start]) > 86400) gone[++others] = start
  }
  for (i = 1; i <= n; i++) {
    time = at[backup[i]]
    each[i] = i
    week[i] = int((days(time) + 3) / 7) # weeks begin on Monday; 1970-01-01 was a Thursday
    month[i] = substr(time, 1, 6)
    if (seconds(now) - seconds(time) <= keepDays * 86400) keep[i] = 1
    if (has[backup[i], ".verified.json"]) verified = i
  }
  keep_newest_of(each, keepLast)
  keep_newest_of(week, keepWeekly)
  keep_newest_of(month, keepMonthly)
  if (verified) keep[verified] = 1
  for (i = 1; i <= n; i++) if (!(i in keep)) gone[++others] = backup[i]
  for (i = 1; i <= others; i++) {
    start = gone[i]
    if (has[start, ".manifest.json"]) print start ".manifest.json"
    if (has[start, ".verified.json"]) print start ".verified.json"
    many = split(kinds[start], rest, " ")
    for (j = 1; j <= many; j++) if (rest[j] !~ /^[.](manifest|verified)[.]json$/) print start rest[j]
  }
}
