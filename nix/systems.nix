# The systems that build, by Nix's names, with their other names.
{
  x86_64-linux = {
    # Debian's name of the architecture.
    architecture = "amd64";
    # The prefix of the names of GNU's compilers.
    gnu = "x86_64-linux-gnu";
    # rustc's name.
    rust = "x86_64-unknown-linux-gnu";
  };
  aarch64-linux = {
    architecture = "arm64";
    gnu = "aarch64-linux-gnu";
    rust = "aarch64-unknown-linux-gnu";
  };
}
