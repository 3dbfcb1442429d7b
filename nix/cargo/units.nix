# The units of a plan. Each is a derivation that sees its own entry, its package's source, the
# outputs of its dependencies, and the toolchain.
#
# Gives: { units, planned, program, linked, uses, filesOf }
#   units     maps keys to derivations
#   planned   maps keys to entries of the plan (crates/plan: `Planned`)
#   program   maps { package, bin } to the derivation that holds bin/NAME
#   linked    maps { package, bin } to the names of the packages that it is linked from
#   uses      maps keys to the keys of the libraries that the unit names itself (./uses.nix)
#   filesOf   maps keys to the files of the workspace that the unit sees besides its source: a map
#             of paths to contents
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
  # Root file systems and settings for another platform than the one that builds (./cross.nix), or
  # null.
  cross ? null,
  # Root file systems that clippy alone sees beside the toolchain.
  lints ? [ ],
  # Maps package names to root file systems. The units of the package, and all units that link them,
  # see its root file system beside the toolchain.
  native ? { },
  # Maps package names to paths, relative to the workspace, that their units see besides their
  # sources.
  extraFiles ? { },
  # Maps package names to parts in their directories that their units see: { path, from }.
  parts ? { },
  # Maps package names to variables that their units see besides Cargo's.
  environment ? { },
  # Names of packages whose units get the revision that is built, and that revision: { commit, time,
  # dirty }.
  revisioned ? [ ],
  revision ? null,
}:
let
  inherit (tree) root lock;
  # The needs of crates that bind C libraries. They explain a failure, and decide nothing.
  table = builtins.fromTOML (builtins.readFile ../../crates/description/src/debian-by-crate.toml);
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
  ofOthers = import ./of-others.nix { inherit root; };
  # For each package: { whole, library, programs }. `whole` is the source of its build script, and
  # the others lack what belongs to other programs of the package.
  sources = builtins.mapAttrs (
    directory: place:
    let
      covered = coveredIn directory;
      without =
        left:
        sourceOf {
          inherit directory;
          without = covered ++ left;
        };
      whole = without [ ];
      codeOf =
        program:
        let
          left = ofOthers { inherit place program; };
        in
        if left == [ ] then whole else without left;
    in
    {
      inherit whole;
      library = codeOf null;
      programs = builtins.mapAttrs (program: _: codeOf program) (place.programs or { });
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
  # Paths in a member's directory where parts take the place of the workspace's own files.
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
  # Whether the unit sees tests, benches, examples and documents too.
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
    let
      ofPackage = all: all.${origin.path} or missing;
      missing = throw (
        "the plan has a unit of the package in \"${origin.path}\", and does not say where that lies"
      );
      package = ofPackage sources;
    in
    if isTest unit then
      ofPackage testSources
    else if kindOf unit == "bin" then
      package.programs.${unit.action.target.name} or package.whole
    else if isLibrary unit || kindOf unit == "proc-macro" then
      package.library
    else
      package.whole;
  # Files beside the source: "PATH=SOURCE" lines.
  extras = planned: builtins.concatStringsSep "\n" (
    placedFiles planned ++ placedParts planned ++ programsOf planned
  );
  # The existing files among those that a unit's code reads (crates/plan/src/reads.rs).
  askedOf =
    planned:
    builtins.filter (file: builtins.pathExists (root + "/${file}")) (
      ((planned.asks or { }).files or [ ])
      ++ (if seesWorkspace planned then [ "Cargo.toml" ] else [ ])
    );
  # Whether the unit sees the workspace around its package: its code asks for it, or the description
  # lists the root's manifest among its files.
  seesWorkspace =
    { package, ... }@planned:
    package.origin.kind == "path"
    && (
      (planned.asks or { }).workspace or false
      || builtins.elem "Cargo.toml" (extraFiles.${package.name} or [ ])
    );
  # The workspace for units that see it (crates/unit/src/skeleton.rs).
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
            if member.path == "" || member.path == package.origin.path then
              member.targets or [ ]
            else
              [ ]
          ) data.members;
        };
      };
  # The revision, for units that get it.
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
  # The files and directories of the workspace that a unit sees besides its source: maps paths to
  # contents.
  filesOf =
    { package, unit, ... }@planned:
    let
      isMember = package.origin.kind == "path";
      # A package from elsewhere is there as a whole.
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
    builtins.removeAttrs all (builtins.filter isWithin (builtins.attrNames all));
  placedFiles =
    planned:
    let
      files = filesOf planned;
    in
    map (file: "/workspace/${file}=${files.${file}}") (builtins.attrNames files);
  # The files above a package where clippy looks for its settings.
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
  # The same for each unit, including the needs of the packages below it.
  nativeBelow = builtins.mapAttrs (
    _: planned:
    builtins.foldl' (all: key: all // nativeBelow.${key}) (nativeOf planned) (
      planned.dependencies ++ builtins.attrValues (startedBy planned)
    )
  ) data.units;
  nativeOf =
    { package, ... }:
    if native ? ${package.name} then { ${package.name} = native.${package.name}; } else { };
  # The packages whose code a unit's output holds. The packages that build scripts and macros are
  # made of do not belong to it.
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
  # Whether a unit links the libraries of the packages below it, or loads them when it runs, as the
  # build scripts that call bindgen load libclang.
  links = unit: kindOf unit != "lib" || isHarness unit;
  # The root file systems that rustc needs to load the macros of a library.
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
      # The places of sources (crates/unit/src/source.rs, PLACES).
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
      isAsked = program: program.package == package && program.name == bin && program.kind == "bin";
      found = builtins.filter isAsked data.programs;
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
  filesOf = builtins.mapAttrs (_: filesOf) data.units;
  inherit keyOf;
  # Maps { package, bin } to the output of its unit, which holds bin/NAME.
  program = binary: units.${keyOf binary};
  linked = binary: linkedBelow (keyOf binary);
}
