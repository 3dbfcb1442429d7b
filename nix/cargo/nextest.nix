# The programs of a package's tests as an archive that `cargo nextest run --archive-file` runs.
# <https://nexte.st/docs/ci-features/archiving/>
#
# It is made like a layer: its contents alone decide its bytes.
{
  cell,
  # Root file systems with perl.
  toolchain,
  # Derivations of the program `image`: ../image/make.nix.
  make,
  # Cargo's description of the workspace and its dependencies: metadata.json, and its content.
  metadata,
  described,
  # The plan and the units of `cargo test`: ./workspace.nix.
  tested,
}:
{
  # The package, and its directory in the workspace.
  name,
  directory,
  # The plan's entries of its test runs.
  runs,
}:
let
  inner = if directory == "" then "Cargo.toml" else "${directory}/Cargo.toml";
  manifest = "${described.workspace_root}/${inner}";
  package = builtins.head (
    builtins.filter (package: package.manifest_path == manifest) described.packages
  );

  # Cargo's target directory as units see it, and a path relative to it.
  target = "/cargo/target";
  inTarget = path: builtins.substring (builtins.stringLength target + 1) (-1) path;
  unitOf = planned: path: tested.planned.${planned.programs.${path}}.unit;
  programOf =
    planned: path:
    let
      unit = tested.units.${planned.programs.${path}};
    in
    "${unit}/bin/${(unitOf planned path).action.target.name}";
  # `PLATFORM/PROFILE/deps/PROGRAM`.
  outputDirectory = path: builtins.head (builtins.match "(.*)/deps/[^/]*" (inTarget path));

  # The name that nextest gives to a test's program.
  # <https://docs.rs/nextest-metadata/latest/nextest_metadata/struct.RustBinaryId.html>
  idOf =
    kind: test:
    if kind == "lib" || kind == "proc-macro" then
      name
    else if kind == "test" then
      "${name}::${test}"
    else
      "${name}::${kind}/${test}";
  testOf =
    planned:
    let
      path = planned.unit.action.program;
      test = (unitOf planned path).action.target;
      kind = if test.kind == "cdylib" then "lib" else test.kind;
      id = idOf kind test.name;
    in
    {
      name = id;
      value = {
        inherit kind;
        binary-id = id;
        binary-name = test.name;
        package-id = package.id;
        binary-path = path;
        build-platform = if kind == "proc-macro" then "host" else "target";
      };
    };
  # The programs that tests start.
  isStarted = planned: path: path != planned.unit.action.program;
  startedBy = planned: builtins.filter (isStarted planned) (builtins.attrNames planned.programs);
  started = builtins.concatMap (
    planned:
    map (path: {
      name = inTarget path;
      value = {
        inherit ((unitOf planned path).action.target) name;
        kind = "bin-exe";
        path = inTarget path;
      };
    }) (startedBy planned)
  ) runs;
  # The output of the package's own build script: the path of its directory, and the unit's output.
  written = builtins.concatMap (
    planned:
    let
      script = planned.unit.action.buildScript or null;
    in
    if script == null then
      [ ]
    else
      [
        {
          name = script;
          value = tested.units.${builtins.head planned.dependencies};
        }
      ]
  ) runs;
  scripts = builtins.listToAttrs written;
  # The variables that the build script sets. nextest looks for them beside that directory.
  outputOf =
    script:
    cell {
      name = "${name}-build-script-output";
      roots = toolchain;
      program = "/usr/bin/perl";
      args = [ "${./script-output.pl}" ];
      attributes.directives = "${scripts.${script}}/directives.json";
    };

  binaries = {
    rust-build-meta = {
      target-directory = target;
      base-output-directories = import ../unique.nix (
        map (planned: outputDirectory planned.unit.action.program) runs
      );
      non-test-binaries =
        if started == [ ] then
          { }
        else
          { ${package.id} = builtins.attrValues (builtins.listToAttrs started); };
      build-script-out-dirs = builtins.listToAttrs (
        map (script: {
          name = package.id;
          value = inTarget script;
        }) (builtins.attrNames scripts)
      );
      linked-paths = [ ];
      target-platforms = [ ];
      target-platform = null;
    };
    rust-binaries = builtins.listToAttrs (map testOf runs);
  };

  # The empty directories that tests may use.
  scratch = import ../unique.nix (
    builtins.concatMap (
      { unit, ... }:
      if unit.action.scratch or null == null then
        [ ]
      else
        [ "/target/${inTarget unit.action.scratch}" ]
    ) runs
  );

  fileAt = to: from: {
    kind = "file";
    inherit to from;
  };
  programs = builtins.listToAttrs (
    builtins.concatMap (
      planned:
      map (path: {
        name = "/target/${inTarget path}";
        value = programOf planned path;
      }) (builtins.attrNames planned.programs)
    ) runs
  );
in
make {
  name = "${name}-nextest";
  command = "layer";
  spec = {
    comment = "tests of ${name}";
    compression.algorithm = "zstd";
    sources = [
      (fileAt "/target/nextest/cargo-metadata.json" "${metadata}/metadata.json")
      {
        kind = "text";
        to = "/target/nextest/binaries-metadata.json";
        text = builtins.toJSON binaries;
      }
    ]
    ++ map (to: fileAt to programs.${to}) (builtins.attrNames programs)
    ++ map (to: {
      kind = "directory";
      inherit to;
    }) scratch
    ++ map (
      script: fileAt "/target/${inTarget (builtins.dirOf script)}/output" "${outputOf script}"
    ) (builtins.attrNames scripts)
    ++ map (script: {
      kind = "tree";
      to = "/target/${inTarget script}";
      from = "${scripts.${script}}/files";
    }) (builtins.attrNames scripts);
  };
}
