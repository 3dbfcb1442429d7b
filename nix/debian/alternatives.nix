# Symbolic links that the alternatives system would have made: path to target.
{
  "usr/bin/cc" = "gcc";
  "usr/bin/c++" = "g++";
  "usr/bin/c99" = "gcc";
  "usr/bin/awk" = "mawk";
}
