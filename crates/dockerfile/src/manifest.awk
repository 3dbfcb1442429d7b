# Leaves of a Cargo.toml what decides how dependencies are compiled, so that nothing else compiles them again.
# Works on one section at a time: that a dependency has a path may show on its last line.

function flush(    i, local, key, dotted) {
  for (i = 1; i <= count; i++) {
    if (lines[i] ~ /^[ \t]*path[ \t]*=/) local = 1
    key = lines[i]
    if (sub(/[ \t]*\.[ \t]*path[ \t]*=.*/, "", key)) dotted[trimmed(key)] = 1
  }
  if (section !~ unwanted) {
    if (section != "") print section
    for (i = 1; i <= count; i++) {
      if (local && section ~ /dependencies\./ && lines[i] ~ /^[ \t]*version[ \t]*=/) continue
      key = lines[i]
      if (section ~ /dependencies[ \t]*\]/ && sub(/[ \t]*\.[ \t]*version[ \t]*=.*/, "", key) && (trimmed(key) in dotted)) continue
      print lines[i]
    }
  }
  count = 0
}

function trimmed(text) {
  gsub(/^[ \t]+|[ \t]+$/, "", text)
  return text
}

# How many brackets the line leaves open, and whether it leaves a string of several lines open.
function measure(line,    quotes) {
  quotes = gsub(/"""|'''/, "", line)
  if (quotes % 2) quoted = !quoted
  if (quoted) return
  gsub(/\\"/, "", line)
  gsub(/"[^"]*"|'[^']*'/, "", line)
  sub(/#.*/, "", line)
  depth += gsub(/[[{]/, "", line) - gsub(/[]}]/, "", line)
}

BEGIN {
  unwanted = "^[ \t]*\\[+[ \t]*(test|bench|example|badges|lints|workspace\\.lints|package\\.metadata|workspace\\.metadata)[].\t ]"
  described = "^[ \t]*(description|authors|license|license-file|repository|homepage|documentation|readme|keywords|categories|publish|include|exclude)[ \t]*[.=]"
}

depth > 0 || quoted {
  if (!dropping) lines[++count] = $0
  measure($0)
  next
}

/^[ \t]*(#|$)/ { next }

/^[ \t]*\[/ {
  flush()
  section = $0
  sub(/[ \t]*#.*/, "", section)
  next
}

{
  about = section ~ /^[ \t]*\[[ \t]*(workspace\.)?package[ \t]*\]/
  dropping = about && $0 ~ described
  measure($0)
  if (dropping) next
  if (about) sub(/^[ \t]*version[ \t]*=[ \t]*("[^"]*"|'[^']*')/, "version = \"0.0.0\"")
  if ($0 ~ /[{,][ \t]*path[ \t]*=/) {
    gsub(/,[ \t]*version[ \t]*=[ \t]*("[^"]*"|'[^']*')/, "")
    gsub(/version[ \t]*=[ \t]*("[^"]*"|'[^']*')[ \t]*,[ \t]*/, "")
  }
  lines[++count] = $0
}

END { flush() }
