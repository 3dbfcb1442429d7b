//! Writes the bake file: targets, contexts, caches.
//!
//! <https://docs.docker.com/build/bake/reference/>

use std::collections::BTreeSet;
use std::fmt::Write;

use super::config::lines_of;
use super::images::{archive, bundled};
use super::names::Names;
use super::text::{hcl_list, hcl_string};
use super::{DOCKERFILE, Project, base_context};
use crateyard_description::normal::{Base, Description, Image};
use crateyard_spec::CompressionAlgorithm;

/// The variables that people may set. The defaults are for a build on one machine.
const VARIABLES: &str = r#"variable "CONTEXT" {
  description = "What is built: a directory, or a repository and revision as https://HOST/REPOSITORY.git#REVISION"
  default     = "."
}

variable "LAYOUTS" {
  description = "Directory of the OCI layouts that everything begins with: builder-image, base-image"
  default     = ".crateyard/layouts"
}

variable "TOOLCHAIN" {
  description = "In place of the layout builder-image: a context with Cargo, a linker and a shell, as docker-image://rust:1"
  default     = ""
}

variable "BASE" {
  description = "In place of the layout base-image: a context, as docker-image://debian:12-slim"
  default     = ""
}

variable "BUNDLE" {
  description = "Directory of the archives that images hold; `docker buildx bake archives` fills it"
  default     = ".crateyard/bundle"
}

variable "VENDOR" {
  description = "Directory that `cargo vendor --versioned-dirs` has filled; without it the stage `vendor` does"
  default     = ""
}

variable "BUILDER_IMAGE" {
  description = "An image with the programs in /out: nothing is compiled"
  default     = ""
}

variable "CODEGEN_UNITS" {
  description = "In place of the profile's codegen-units"
  default     = ""
}

variable "REGISTRY" {
  description = "Before the image's name in its tags, with its slash: registry.example.org/team/"
  default     = ""
}

variable "VERSION" {
  description = "In place of the version of each image, as tag and label"
  default     = ""
}

variable "OUTPUT" {
  description = "Where images go: engine, layout (OCI layouts under DESTINATION), or registry"
  default     = "engine"
}

variable "DESTINATION" {
  description = "Directory of the layouts, one for each image"
  default     = ".crateyard/images"
}

variable "PLATFORMS" {
  description = "In place of the platforms of each image, with commas"
  default     = ""
}

variable "CA" {
  description = "File of certificates to trust while dependencies are downloaded"
  default     = ""
}

variable "SOURCE_DATE_EPOCH" {
  description = "Seconds since 1970 of everything that has a time"
  default     = "0"
}

variable "CACHE" {
  description = "Where the cache is kept: registry, gha, local, or nothing"
  default     = ""
}

variable "CACHE_AT" {
  description = "A repository for registry, a directory for local"
  default     = ""
}

variable "CACHE_SCOPE" {
  description = "Whose cache is written: main, or that of a pull request; main's is read in any case"
  default     = "main"
}

variable "RECIPE" {
  description = "What keys the dependencies, such as a hash of Cargo.lock: one cache for each"
  default     = "any"
}

# The name of a target's cache: whose, what, for which platform, with which dependencies.
function "scope" {
  params = [owner, target, platforms]
  result = replace(join("-", concat([owner, target], platforms, [RECIPE])), "/", "-")
}

function "cache" {
  params = [scope]
  result = {
    registry = "type=registry,ref=${CACHE_AT}:${scope}"
    gha      = "type=gha,scope=${scope}"
    local    = "type=local"
  }
}

function "read" {
  params = [target, platforms]
  result = CACHE == "" ? [] : [
    for owner in distinct([CACHE_SCOPE, "main"]) : CACHE == "local"
    ? "type=local,src=${CACHE_AT}/${scope(owner, target, platforms)}"
    : cache(scope(owner, target, platforms))[CACHE]
  ]
}

function "write" {
  params = [target, platforms]
  result = CACHE == "" ? [] : [
    CACHE == "local"
    ? "type=local,mode=max,dest=${CACHE_AT}/${scope(CACHE_SCOPE, target, platforms)}"
    : "${cache(scope(CACHE_SCOPE, target, platforms))[CACHE]},mode=max"
  ]
}

function "platforms" {
  params = [own]
  result = PLATFORMS == "" ? own : split(",", PLATFORMS)
}

function "version" {
  params = [own]
  result = VERSION == "" ? own : VERSION
}

# An engine unpacks what it keeps, and can't set its times anew.
function "output" {
  params = [target, options]
  result = {
    engine   = "type=docker"
    layout   = "type=oci,tar=false,dest=${DESTINATION}/${target},${options},rewrite-timestamp=true"
    registry = "type=image,push=true,store=false,${options},rewrite-timestamp=true"
  }[OUTPUT]
}
"#;

/// Returns the text of the whole file.
pub(super) fn file(description: &Description, project: &Project, names: &Names) -> String {
    let mut out = String::from(VARIABLES);
    let images: Vec<&str> = description.images.keys().map(String::as_str).collect();
    let binaries = description.build.binaries().into_iter();
    let outputs: Vec<String> = binaries.map(|binary| names.output(binary)).collect();
    let archives = bundled(description).into_iter();
    let archives: Vec<String> = archives.map(|image| names.archive(image)).collect();
    out += &group("default", &images);
    out += &group(names.own("outputs"), &outputs);
    if !archives.is_empty() {
        out += &group(names.own("archives"), &archives);
    }
    out += &common();
    let platforms = all_platforms(description);
    out += &stage_target(names.own("dependencies"), &platforms);
    out += &stage_target(names.own("builder"), &platforms);
    for output in &outputs {
        let _ = write!(
            out,
            "\ntarget \"{output}\" {{\n  inherits = [\"_common\"]\n  target   = \"{output}\"\n  \
             output   = [\"type=local,dest=.crateyard/out\"]\n}}\n"
        );
    }
    for image in description.images.values() {
        out += &image_target(image, project, &platforms, names);
    }
    let archived = bundled(description).into_iter();
    for image in archived.filter_map(|name| description.images.get(name)) {
        let Image { name, .. } = image;
        let _ = write!(
            out,
            "\ntarget \"{}\" {{\n  inherits = [\"{name}\"]\n  output   = \
             [\"type=oci,dest=${{BUNDLE}}/{},{},rewrite-timestamp=true\"]\n}}\n",
            names.archive(name),
            archive(name),
            compression(image),
        );
    }
    out
}

fn group<S: AsRef<str>>(name: &str, targets: &[S]) -> String {
    format!(
        "\ngroup \"{name}\" {{\n  targets = {}\n}}\n",
        hcl_list(targets)
    )
}

fn common() -> String {
    format!(
        r#"
target "_common" {{
  context    = CONTEXT
  dockerfile = "{DOCKERFILE}"
  contexts = merge(
    {{ "builder-image" = {} }},
    VENDOR == "" ? {{}} : {{ vendor = VENDOR }},
  )
  args = {{
    BUILDER_IMAGE     = BUILDER_IMAGE
    CODEGEN_UNITS     = CODEGEN_UNITS
    SOURCE_DATE_EPOCH = SOURCE_DATE_EPOCH
  }}
  secret = CA == "" ? [] : ["id=ca,src=${{CA}}"]
  attest = ["type=provenance,disabled=true"]
}}
"#,
        layout_or("TOOLCHAIN", "builder-image")
    )
}

/// Returns the contexts that an image needs besides the common ones.
fn contexts(image: &Image, project: &Project) -> String {
    let mut contexts = Vec::new();
    if let Some(context) = base_context(image, project) {
        let at = match context.as_str() {
            "base-image" => layout_or("BASE", &context),
            _ => layout(&context),
        };
        contexts.push(format!("{} = {at}", hcl_string(&context)));
    }
    if let Base::Layout { path, digest } = &image.base {
        let digest = digest
            .as_ref()
            .map_or(String::new(), |digest| format!("@{digest}"));
        let at = hcl_string(&format!("oci-layout://{path}{digest}"));
        contexts.push(format!("\"{}-base-image\" = {at}", image.name));
    }
    if !image.images.is_empty() {
        contexts.push("bundle = BUNDLE".to_string());
    }
    match contexts.is_empty() {
        true => String::new(),
        false => format!("  contexts   = {{ {} }}\n", contexts.join(", ")),
    }
}

/// Returns an expression for the context that a variable names, or for the layout if it is empty.
fn layout_or(variable: &str, context: &str) -> String {
    format!("{variable} == \"\" ? {} : {variable}", layout(context))
}

/// Returns the address of a context's layout.
fn layout(context: &str) -> String {
    format!("\"oci-layout://${{LAYOUTS}}/{context}\"")
}

/// Returns the platforms of all images.
fn all_platforms(description: &Description) -> String {
    let platforms = description
        .images
        .values()
        .flat_map(|image| &image.platforms);
    let platforms: BTreeSet<String> = platforms.map(ToString::to_string).collect();
    hcl_list(platforms)
}

/// Returns the target of a stage that is not an image of the description. It has its own cache.
fn stage_target(name: &str, platforms: &str) -> String {
    format!(
        r#"
target "{name}" {{
  inherits   = ["_common"]
  target     = "{name}"
  platforms  = platforms({platforms})
  output     = ["type=cacheonly"]
  cache-from = read("{name}", platforms({platforms}))
  cache-to   = write("{name}", platforms({platforms}))
}}
"#
    )
}

/// Returns an exporter's options for the layers of an image, including those of its base.
fn compression(image: &Image) -> String {
    let level = image.compression.level;
    let level = level.map_or(String::new(), |level| format!(",compression-level={level}"));
    let algorithm = match image.compression.algorithm {
        CompressionAlgorithm::None => "uncompressed",
        other => other.name(),
    };
    format!("compression={algorithm}{level},force-compression=true")
}

fn image_target(image: &Image, project: &Project, all_platforms: &str, names: &Names) -> String {
    let Image { name, .. } = image;
    let platforms = hcl_list(image.platforms.iter().map(ToString::to_string));
    let main = image.tags.first().map_or("latest", String::as_str);
    let tags: Vec<String> = image
        .tags
        .iter()
        .map(|tag| match tag == main {
            true => format!("\"${{REGISTRY}}{name}:${{version({})}}\"", hcl_string(tag)),
            false => format!("\"${{REGISTRY}}{name}:{tag}\""),
        })
        .collect();
    let contexts = contexts(image, project);
    let compression = compression(image);
    let (stage, dependencies) = (names.image(name), names.own("dependencies"));
    let cache_from = format!(
        "concat(read(\"{name}\", platforms({platforms})), \
         read(\"{dependencies}\", platforms({all_platforms})))"
    );
    let lines = lines_of(&image.config).into_iter();
    let lines: String = lines
        .map(|(argument, value)| format!(", {argument} = {}", hcl_string(value)))
        .collect();
    format!(
        r#"
target "{name}" {{
  inherits   = ["_common"]
  target     = "{stage}"
{contexts}  args       = {{ VERSION = version({main}){lines} }}
  platforms  = platforms({platforms})
  tags       = [{}]
  output     = [output("{name}", "{compression}")]
  cache-from = {cache_from}
  cache-to   = write("{name}", platforms({platforms}))
}}
"#,
        tags.join(", "),
        main = hcl_string(main),
    )
}
