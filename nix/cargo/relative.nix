# The path of a file below a directory, as `builtins.path` gives it to a filter.
#
# Of a store that lies elsewhere (`--store DIR`) the filter gets the file's place on the disk, which
# ends in, and need not begin with, the directory's own path.
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
    if found == null then throw "${path} does not lie in ${toString directory}" else builtins.head found;
in
path: if builtins.substring 0 length path == prefix then builtins.substring length (-1) path else elsewhere path
