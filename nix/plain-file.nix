# A file of a directory, as a path in the store of its own. Null if there is no such file, if the
# path leads out of the directory, or if a symbolic link is on the way, because links may lead
# anywhere on the machine.
{
  # The directory: a path.
  root,
  # The file, relative to it; may have `.` and `..`.
  path,
  # The name in the store.
  name,
}:
let
  parts = builtins.filter (part: builtins.isString part && part != "" && part != ".") (
    builtins.split "/" path
  );
  withoutLast = list: builtins.genList (builtins.elemAt list) (builtins.length list - 1);
  step =
    above: part:
    if above == null then
      null
    else if part != ".." then
      above ++ [ part ]
    else if above == [ ] then
      null
    else
      withoutLast above;
  inner = builtins.foldl' step [ ] parts;
  isPlain =
    directory: below:
    let
      kind = (builtins.readDir directory).${builtins.head below} or "none";
      rest = builtins.tail below;
    in
    if rest == [ ] then
      kind == "regular"
    else
      kind == "directory" && isPlain (directory + "/${builtins.head below}") rest;
in
if inner != null && inner != [ ] && isPlain root inner then
  builtins.path {
    inherit name;
    path = root + "/${builtins.concatStringsSep "/" inner}";
  }
else
  null
