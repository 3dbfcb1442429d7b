# The path of a file relative to a directory, for a path that `builtins.path` passes to a filter.
#
# With a store elsewhere (`--store DIR`), the filter gets the file's path on the disk. That path
# contains the directory's own path, but need not begin with it.
{
  # The directory: a path.
  directory,
}:
let
  prefix = "${builtins.unsafeDiscardStringContext (toString directory)}/";
  length = builtins.stringLength prefix;
  escape = builtins.replaceStrings
    [ "\\" "." "+" "*" "?" "(" ")" "[" "]" "{" "}" "^" "$" "|" ]
    [ "\\\\" "\\." "\\+" "\\*" "\\?" "\\(" "\\)" "\\[" "\\]" "\\{" "\\}" "\\^" "\\$" "\\|" ];
  pattern = ".*${escape prefix}(.*)";
  # Matching is slow, and there are many files.
  elsewhere =
    path:
    let
      found = builtins.match pattern path;
    in
    if found == null then
      throw "${path} does not lie in ${toString directory}"
    else
      builtins.head found;
in
path:
if builtins.substring 0 length path == prefix then
  builtins.substring length (-1) path
else
  elsewhere path
