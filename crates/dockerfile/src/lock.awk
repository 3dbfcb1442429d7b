# Gives the workspace's own packages, named in `members`, one version in a Cargo.lock, so that theirs compiles nothing again.

BEGIN {
  total = split(members, names, " ")
  for (i = 1; i <= total; i++) member[names[i]] = 1
  RS = ""
  ORS = "\n\n"
}

{
  match($0, /\nname = "[^"]*"/)
  name = substr($0, RSTART + 9, RLENGTH - 10)
  if ($0 ~ /^\[\[package\]\]/ && (name in member) && $0 !~ /\nsource = /) sub(/\nversion = "[^"]*"/, "\nversion = \"0.0.0\"")
  for (name in member) gsub("\"" name " [0-9][^\" ]*\"", "\"" name " 0.0.0\"")
  print
}
