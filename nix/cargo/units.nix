# The units of a plan, each as a derivation that sees its own entry, its package's source, the
# outputs of what it depends on, and the toolchain.
#
# Gives: { units, planned, programs, program }
#   units     key to derivation
#   planned   key to what the plan says of it (crates/plan: `Planned`)
#   program   { package, bin } to the derivation that holds bin/NAME
#   linked    { package, bin } to the names of the packages that it is linked from
#   uses      key to the keys of the libraries that the unit names itself (./uses.nix)
{
  cell,
  # The program `unit`: a file.
  runner,
}:
{
  # The plan (./plan.nix): an item of ../imported.nix.
  item,
  # The workspace: ./tree.nix.
  tree,
  # The toolchain: root file systems, of which earlier ones win.
  toolchain,
  # What compiles for another platform than the one that builds (./cross.nix), if one is wanted.
  cross ? null,
  # Root file systems that only clippy sees beside the toolchain.
  lints ? [ ],
  # Package name to a root file system that its units see beside the toolchain, and with them all
  # that links them.
  native ? { },
  # Package name to paths, relative to the workspace, that its units see besides its source.
  extraFiles ? { },
  # Package name to parts in its directory, which its units see: { path, from }.
  parts ? { },
  # Package name to variables that its units see besides Cargo's.
  environment ? { },
  # Names of packages whose units are told the revision that is built, and that revision:
  # { commit, time, dirty }.
  revisioned ? [ ],
  revision ? null,
}:
let
  inherit (tree) root lock;
  # What crates that bind C libraries need: explains a failure, and decides about nothing.
  table = builtins.fromTOML (builtins.readFile ../../crates/description/src/native.toml);
  known = table.needed // table.optional;
  wantsOf =
    { package, unit, ... }:
    if unit.action.kind == "run-build-script" && known ? ${package.name} then
      { wants = known.${package.name}.packages; }
    else
      { };
  # The plan names no store path: a new plan with the same entries gives the same units.
  data = import ../json.nix {
    inherit (tree) kept;
    inherit item;
    what = "the plan";
    version = 2;
  };
  sourceOf = import ./source.nix {
    inherit root;
    inherit (data) layout;
  };
  sources = builtins.mapAttrs (
    directory: _:
    sourceOf {
      inherit directory;
      without = coveredIn directory;
    }
  ) data.layout;
  testSources = builtins.mapAttrs (
    directory: _:
    sourceOf {
      inherit directory;
      withTests = true;
      without = coveredIn directory;
    }
  ) data.layout;
  # Where parts stand in the place of what the workspace has: in the directory of a member.
  coveredIn =
    directory:
    builtins.concatMap (
      member: if member.path == directory then map (part: part.path) (partsOf member.name) else [ ]
    ) data.members;
  partsOf = name: parts.${name} or [ ];
  placedParts =
    { package, unit, ... }:
    map (part: "${unit.sourceDir}/${part.path}=${part.from}") (partsOf package.name);
  kindOf = unit: unit.action.target.kind or "";
  isHarness = unit: unit.action.target.test or false;
  # Whether tests, benches, examples and documents are there too.
  isTest =
    unit:
    unit.action.kind == "run-test"
    || isHarness unit
    || builtins.elem (kindOf unit) [
      "test"
      "bench"
      "example"
    ];
  isLint = unit: unit.action.program or "" == "clippy-driver";
  source =
    { package, unit, ... }:
    let
      inherit (package) origin;
    in
    if origin.kind == "path" then
      (sourceOfMember unit origin).source
    else
      # A `.crate` file, or a whole repository.
      lock.files."${package.name} ${package.version} ${origin.source}";
  sourceOfMember =
    unit: origin:
    (if isTest unit then testSources else sources).${origin.path}
      or (throw "the plan has a unit of the package in \"${origin.path}\", and does not say where that lies");
  # Files beside the source: "PATH=SOURCE" lines.
  extras = planned: builtins.concatStringsSep "\n" (
    filesOf planned ++ placedParts planned ++ programsOf planned
  );
  # What is there of what a unit's code asks for (crates/plan/src/asks.rs).
  askedOf =
    planned:
    builtins.filter (file: builtins.pathExists (root + "/${file}")) (
      ((planned.asks or { }).files or [ ]) ++ (if seesWorkspace planned then [ "Cargo.toml" ] else [ ])
    );
  # Whether it sees the workspace around its package: its code asks, or the root's manifest is
  # declared.
  seesWorkspace =
    { package, ... }@planned:
    package.origin.kind == "path"
    && (
      (planned.asks or { }).workspace or false
      || builtins.elem "Cargo.toml" (extraFiles.${package.name} or [ ])
    );
  # The workspace for those who see it (crates/unit/src/skeleton.rs).
  skeletonOf =
    { package, ... }@planned:
    if !(seesWorkspace planned) then
      { }
    else
      {
        skeleton = builtins.toJSON {
          packages = map (member: { inherit (member) path name; }) data.members;
          targets = builtins.concatMap (
            member:
            if member.path == "" || member.path == package.origin.path then member.targets or [ ] else [ ]
          ) data.members;
        };
      };
  # The revision for those who are told it. What is not committed has none of its own.
  revisionOf =
    { package, ... }:
    if builtins.elem package.name revisioned then { revision = builtins.toJSON revision; } else { };
  withEnvironment =
    { package, unit, ... }: unit // { env = unit.env // environment.${package.name} or { }; };
  # The file or directory of the workspace at a path.
  content =
    file:
    builtins.path {
      name = "extra";
      path = root + "/${file}";
    };
  filesOf =
    { package, unit, ... }@planned:
    let
      isMember = package.origin.kind == "path";
      # Any other package is there as a whole.
      declared =
        extraFiles.${package.name} or [ ]
        ++ askedOf planned
        ++ (if isLint unit && isMember then lintSettings else [ ]);
      all =
        builtins.listToAttrs (
          map (file: {
            name = file;
            value = content file;
          }) declared
        )
        // (if isMember then (sourceOfMember unit package.origin).beside else { });
      isWithin =
        file:
        let
          above = builtins.dirOf file;
        in
        above != "." && (all ? ${above} || isWithin above);
    in
    map (file: "/workspace/${file}=${all.${file}}") (
      builtins.filter (file: !(isWithin file)) (builtins.attrNames all)
    );
  # Where clippy looks for its settings above a package.
  lintSettings = builtins.filter (file: builtins.pathExists (root + "/${file}")) [
    "clippy.toml"
    ".clippy.toml"
  ];
  startedBy = planned: planned.programs or { };
  programsOf =
    planned:
    let
      started = startedBy planned;
      target = key: data.units.${key}.unit.action.target;
      source = key: "${units.${key}}/bin/${(target key).name}";
    in
    map (path: "${path}=${source started.${path}}") (builtins.attrNames started);
  # The same for each unit: what the packages below it need too.
  nativeBelow = builtins.mapAttrs (
    _: planned:
    builtins.foldl' (all: key: all // nativeBelow.${key}) (nativeOf planned) (
      planned.dependencies ++ builtins.attrValues (startedBy planned)
    )
  ) data.units;
  nativeOf =
    { package, ... }:
    if native ? ${package.name} then { ${package.name} = native.${package.name}; } else { };
  # The packages that a unit's output holds code of. What build scripts and macros are made of stays
  # behind.
  linkedBelow =
    key:
    let
      toItem = key: { inherit key; };
      isLinked = key: isLibrary data.units.${key}.unit;
      closure = builtins.genericClosure {
        startSet = [ (toItem key) ];
        operator = item: map toItem (builtins.filter isLinked data.units.${item.key}.dependencies);
      };
    in
    builtins.attrNames (
      builtins.listToAttrs (
        map (item: {
          inherit (data.units.${item.key}.package) name;
          value = true;
        }) closure
      )
    );
  isLibrary =
    unit:
    builtins.elem (kindOf unit) [
      "lib"
      "cdylib"
    ];
  # Whether it links what the packages below it are linked to, or loads that when it runs, as the
  # build scripts that call bindgen load libclang.
  links = unit: kindOf unit != "lib" || isHarness unit;
  # What rustc loads with the macros that a library is compiled with.
  nativeOfMacros = builtins.mapAttrs (
    _: planned:
    builtins.foldl' (all: key: all // nativeLoaded key) { } planned.dependencies
  ) data.units;
  nativeLoaded =
    key:
    let
      kind = kindOf data.units.${key}.unit;
    in
    if kind == "proc-macro" then
      nativeBelow.${key}
    else if kind == "lib" then
      nativeOfMacros.${key}
    else
      { };
  nativeFor =
    key: planned:
    if native == { } then
      [ ]
    else
      builtins.attrValues (
        if links planned.unit then nativeBelow.${key} else nativeOf planned // nativeOfMacros.${key}
      );
  crossFor = planned: if cross != null && cross.concerns planned.unit then cross.roots else [ ];
  build =
    key: planned:
    cell {
      inherit (planned.unit) name;
      roots =
        toolchain
        ++ crossFor planned
        ++ (if isLint planned.unit then lints else [ ])
        ++ nativeFor key planned;
      program = runner;
      writable = [ "/cargo" ];
      # Where sources lie (crates/unit/src/source.rs, PLACES).
      memory = [
        "/workspace"
        "/cargo/registry"
        "/cargo/repositories"
      ];
      attributes = {
        unit = builtins.toJSON (withEnvironment planned);
        passAsFile = [ "unit" ] ++ builtins.attrNames (skeletonOf planned);
        source = source planned;
        inputs = map (key: units.${key}) planned.dependencies;
        extras = extras planned;
      }
      // wantsOf planned
      // skeletonOf planned
      // revisionOf planned;
    };
  units = builtins.mapAttrs build data.units;
  keyOf =
    { package, bin }:
    let
      found = builtins.filter (p: p.package == package && p.name == bin && p.kind == "bin") data.programs;
    in
    if found == [ ] then
      throw "the workspace has no binary \"${bin}\" in the package \"${package}\""
    else
      (builtins.head found).unit;
in
{
  inherit units;
  planned = data.units;
  inherit (data) programs;
  uses = import ./uses.nix { planned = data.units; };
  inherit keyOf;
  # The output of a program's unit: holds bin/NAME.
  program = binary: units.${keyOf binary};
  linked = binary: linkedBelow (keyOf binary);
}
