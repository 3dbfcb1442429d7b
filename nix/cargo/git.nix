# The checkout of a git repository that Cargo.lock pins.
{
  # The source in the lock: git+URL?branch=NAME#COMMIT, with `tag=`, `rev=` or nothing instead of
  # `branch=`.
  source,
  ...
}:
let
  parts = builtins.match "git\\+([^?#]*)(\\?[^#]*)?#([0-9a-f]{40})" source;
  query = builtins.elemAt parts 1;
  decode = import ./percent.nix;
  valueOf =
    key:
    let
      found = if query == null then null else builtins.match "\\?${key}=(.*)" query;
    in
    if found == null then null else decode (builtins.head found);
  branch = valueOf "branch";
  tag = valueOf "tag";
  ref =
    if branch != null then
      { ref = branch; }
    else if tag != null then
      { ref = "refs/tags/${tag}"; }
    else
      { allRefs = true; };
in
if parts == null then
  throw "Cargo.lock names the source \"${source}\", which is not a git source with a commit"
else
  builtins.fetchGit (
    ref
    // {
      url = builtins.elemAt parts 0;
      rev = builtins.elemAt parts 2;
      submodules = true;
    }
  )
