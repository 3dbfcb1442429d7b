# The Debian packages with libraries of the C and C++ compiler itself. A program is linked to one when a build
# script says so, and no crate's packages name it.
[
  "libatomic1"
  "libgomp1"
  "libstdc++6"
]
