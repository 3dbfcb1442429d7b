# The checkout of a git repository that Cargo.lock pins.
{
  source,
  ...
}:
let
  parts = builtins.match "git\\+([^?#]*)(\\?[^#]*)?#([0-9a-f]{40})" source;
  query = builtins.elemAt parts 1;
  branch = if query == null then null else builtins.match "\\?branch=(.*)" query;
  tag = if query == null then null else builtins.match "\\?tag=(.*)" query;
  ref =
    if branch != null then
      { ref = builtins.head branch; }
    else if tag != null then
      { ref = "refs/tags/${builtins.head tag}"; }
    else
      { allRefs = true; };
in
if parts == null then
  throw "Cargo.lock names the source \"${source}\", which is no git source with a commit"
else
  builtins.fetchGit (
    ref
    // {
      url = builtins.elemAt parts 0;
      rev = builtins.elemAt parts 2;
      submodules = true;
    }
  )
