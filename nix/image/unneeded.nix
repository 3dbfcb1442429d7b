# Files of Debian packages that nothing in an image reads.
[
  "usr/share/doc/**"
  "usr/share/man/**"
  "usr/share/info/**"
  "usr/share/locale/**"
  "usr/share/lintian/**"
  "usr/share/bug/**"
  "usr/share/doc-base/**"
]
