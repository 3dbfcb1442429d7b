# The ingredients of an image, as its provenance and its SBOM name them (crates/image:
# `spec::InputsSpec`). They are texts and the sources of the image's own crates. So no build waits
# for more than the image itself waits for, and a change that concerns only other images changes
# nothing here.
{
  # The workspace: a path.
  root,
  # The description with everything resolved: description.json as a value.
  description,
  # The platform that programs are for, by rustc's name.
  target,
  # Maps the name of each call of Cargo to the build of its binaries: ../cargo/workspace.nix,
  # `build`.
  builds,
  # The workspace's lock: ../cargo/lock.nix.
  lock,
  # The path of a part: ../part.nix, applied to the parts for the platform.
  partOf,
  # The downloads of parts for the platform: maps names to { url, sha256 }.
  downloads,
  # The packages that npm installs for parts: ../npm/parts.nix, `contents`.
  npm,
  # ../debian/lock.nix for the platform, and for the machine that builds.
  debian,
  hostDebian,
  # The components of the release that compiles (../toolchain/release.nix), and the sets of packages
  # that compile.
  components,
  toolchainSets,
  # Maps the name of each program of Crateyard that helps to make images to its digest.
  tools,
  # The revision that is built, for crates that get it: { commit, time, dirty }.
  revision,
}:
let
  checksums = builtins.listToAttrs (
    map (package: {
      name = "${package.name} ${package.version} ${package.source}";
      value = package.checksum or null;
    }) lock.outside
  );
in
{
  # The image's entry in the description.
  image,
  # The sources of the image's layers for the platform, and the sets whose packages the image holds
  # in any case.
  sources,
  packageSets,
  # Maps the name of an image to its layout.
  layoutOf,
}:
let
  calls = import ../unique.nix (map (source: source.from.call) (ofKind "program"));
  # The builds of all the image's calls as one.
  build = {
    planned = builtins.foldl' (all: call: all // builds.${call}.planned) { } calls;
    units = builtins.foldl' (all: call: all // builds.${call}.units) { } calls;
    uses = builtins.foldl' (all: call: all // builds.${call}.uses) { } calls;
    filesOf = builtins.foldl' (all: call: all // builds.${call}.filesOf) { } calls;
  };
  # The settings of Cargo. All calls of an image have the same ones, except for features that single
  # binaries require.
  settings =
    if calls == [ ] then
      description.build.settings
    else
      description.build.calls.${builtins.head calls}.settings;

  checksumOf =
    package:
    if package.origin.kind == "registry" then
      checksums."${package.name} ${package.version} ${package.origin.source}"
    else
      null;

  # The values that follow a flag.
  valuesOf =
    flag: args:
    let
      follows = index: builtins.elemAt args index == flag;
      indices = builtins.filter follows (builtins.genList (index: index) (builtins.length args));
    in
    map (index: builtins.elemAt args (index + 1)) indices;
  # Whether an option is a name that Cargo computes from all the others.
  isComputed =
    option: builtins.match "(metadata|extra-filename|linker|incremental)=.*" option != null;
  unit =
    key: planned:
    let
      inherit (planned.unit) action env;
      args = action.args or [ ];
      forTarget = builtins.elem "--target" args;
      # A crate that is compiled for the image and has a build script may link the script's output.
      isRun = below: build.planned.${below}.unit.action.kind == "run-build-script";
      scripts = builtins.filter isRun planned.dependencies;
      script =
        if forTarget && action.buildScript or null != null && scripts != [ ] then
          { buildOutput = build.units.${builtins.head scripts}; }
        else
          { };
      # The crate's licence is in a file, and its manifest does not name it. The sources of members
      # have no documents, and the file may lie in a directory above.
      file = env.CARGO_PKG_LICENSE_FILE or "";
      licenseSource =
        if planned.package.origin.kind == "path" then
          import ../plain-file.nix {
            inherit root;
            path = "${planned.package.origin.path}/${file}";
            name = "license";
          }
        else
          build.units.${key}.source;
      isNamed = env.CARGO_PKG_LICENSE or "" != "";
      licenseFile =
        if forTarget && !isNamed && file != "" && licenseSource != null then
          {
            # A git repository is one source for all its packages.
            licenseFile =
              if planned.package.origin.kind == "git" && planned.package.origin.path != "" then
                "${planned.package.origin.path}/${file}"
              else
                file;
            inherit licenseSource;
          }
        else
          { };
    in
    script
    // licenseFile
    // {
      package = planned.package.name;
      inherit (planned.package) version;
      origin = planned.package.origin.path or "";
      source = planned.package.origin.source or "";
      checksum = checksumOf planned.package;
      license = env.CARGO_PKG_LICENSE or "";
      authors = env.CARGO_PKG_AUTHORS or "";
      repository = env.CARGO_PKG_REPOSITORY or "";
      kind = action.target.kind or action.kind;
      inherit forTarget;
      uses = build.uses.${key};
      options = builtins.filter (option: !(isComputed option)) (valuesOf "-C" args);
      settings = valuesOf "--cfg" args;
    };
  described = builtins.mapAttrs unit build.planned;

  # The keys of all units below a program's.
  below =
    key:
    map (item: item.key) (
      builtins.genericClosure {
        startSet = [ { inherit key; } ];
        operator = item: map (key: { inherit key; }) build.planned.${item.key}.dependencies;
      }
    );

  # Maps the directory of each package of the workspace to its source, as its units see it.
  sourcesOf =
    keys:
    builtins.listToAttrs (
      builtins.concatMap (
        key:
        let
          inherit (build.planned.${key}.package) origin;
        in
        if origin.kind == "path" then
          [
            {
              name = origin.path;
              value = build.units.${key}.source;
            }
          ]
        else
          [ ]
      ) keys
    );
  # Files that crates see besides their sources: what the description declares, and what their code
  # reads.
  extrasOf = keys: builtins.foldl' (all: key: all // build.filesOf.${key}) { } keys;
  # The variables and the revision that the description gives to crates: nothing for the others.
  declaredOf =
    keys:
    let
      names = import ../unique.nix (map (key: build.planned.${key}.package.name) keys);
      inputsOf =
        name:
        let
          crate = description.crates.${name} or { };
          environment = crate.environment or { };
        in
        (if environment == { } then { } else { inherit environment; })
        // (if crate.revision or false then { inherit revision; } else { });
    in
    import ../select.nix (inputs: inputs != { }) (
      builtins.listToAttrs (
        map (name: {
          inherit name;
          value = inputsOf name;
        }) names
      )
    );
  # Parts that crates are compiled with, including crates of a registry: { name, path, crate } each.
  partsOf =
    keys:
    builtins.concatMap (
      key:
      let
        crate = build.planned.${key}.package.name;
      in
      map (part: {
        name = part.part;
        path = part.from or "";
        inherit crate;
      }) ((description.crates.${crate} or { }).parts or [ ])
    ) keys;
  # A path that no file of the workspace can have.
  pathOf = { name, path, ... }: "part:${name}" + (if path == "" then "" else "/${path}");
  # The used path of a part, with all its users.
  partInput =
    _: uses:
    let
      inherit (builtins.head uses) name path;
      byCrates = builtins.filter (use: use ? crate) uses;
    in
    {
      inherit name path;
      from = partOf { inherit name path; };
      inImage = builtins.length byCrates < builtins.length uses;
      crates = import ../unique.nix (map (use: use.crate) byCrates);
    }
    // (if npm ? ${name} then { npm = npm.${name}; } else { });
  # The sources in a map of paths to contents.
  placed =
    contents: builtins.attrValues (builtins.mapAttrs (path: from: { inherit path from; }) contents);
  stored = path: {
    inherit path;
    from = builtins.path {
      name = "content";
      path = root + "/${path}";
    };
  };

  # The lock's entries for the packages of sets, with the packages' role.
  entriesOf =
    role: lock: sets:
    map (package: package // { inherit role; }) (builtins.concatMap lock.entriesOf sets);
  # A release takes the place of Debian's own Rust.
  isUsed = entry: components == [ ] || !(import ../debian/is-rust.nix entry);
  # The sources that are made from placeholders of a kind.
  ofKind = kind: builtins.filter (source: source.from.placeholder or "" == kind) sources;
  programs = map (
    { to, from, ... }:
    let
      unit = builds.${from.call}.keyOf { inherit (from) package bin; };
    in
    {
      path = to;
      inherit (from) package bin;
      inherit unit;
      units = below unit;
    }
  ) (ofKind "program");
  keys = import ../unique.nix (builtins.concatMap (program: program.units) programs);
  packageSources = sourcesOf keys;
  declared = declaredOf keys;
  parts =
    partsOf keys
    ++ map (source: {
      inherit (source.from) name;
      path = source.from.path or "";
    }) (ofKind "part");
  partInputs = builtins.attrValues (builtins.mapAttrs partInput (builtins.groupBy pathOf parts));
  # The names of the parts among them that are downloaded.
  downloaded = builtins.filter (name: downloads ? ${name}) (
    import ../unique.nix (map (part: part.name) parts)
  );
  nativeSets = builtins.concatMap (
    key:
    let
      crate = description.crates.${build.planned.${key}.package.name} or { };
    in
    if crate ? set then [ crate.set ] else [ ]
  ) keys;
in
{
  description = image;
  build = {
    inherit (settings)
      profile
      features
      allFeatures
      noDefaultFeatures
      ;
    target = settings.target or target;
  }
  // (if declared == { } then { } else { crates = declared; });
  inherit tools;
  packages =
    (
      if programs == [ ] then
        [ ]
      else
        builtins.filter isUsed (entriesOf "toolchain" hostDebian toolchainSets)
    )
    ++ entriesOf "library" hostDebian nativeSets
    ++ entriesOf "image" debian packageSets;
  components = if programs == [ ] then [ ] else components;
  units = builtins.listToAttrs (
    map (name: {
      inherit name;
      value = described.${name};
    }) keys
  );
  inherit programs;
  sources =
    placed packageSources
    ++ placed (extrasOf keys)
    ++ map (part: {
      path = pathOf part;
      inherit (part) from;
    }) partInputs
    ++ map (source: stored source.from.path) (ofKind "workspace");
  images = map (source: {
    inherit (source.from) name;
    layout = layoutOf source.from.name;
  }) (ofKind "image");
}
// (
  if downloaded == [ ] then
    { }
  else
    { downloads = map (part: downloads.${part} // { inherit part; }) downloaded; }
)
// (if partInputs == [ ] then { } else { parts = partInputs; })
