# Generated from images.toml by `assemble dockerfile`. Edits are lost; `assemble dockerfile --check` finds them.

variable "CONTEXT" {
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

group "default" {
  targets = ["cluster", "gateway", "gateway-bare", "supervisor"]
}

group "outputs" {
  targets = ["gateway-output", "supervisor-output"]
}

group "archives" {
  targets = ["gateway-archive"]
}

target "_common" {
  context    = CONTEXT
  dockerfile = "Dockerfile.images"
  contexts = merge(
    { "builder-image" = TOOLCHAIN == "" ? "oci-layout://${LAYOUTS}/builder-image" : TOOLCHAIN },
    VENDOR == "" ? {} : { vendor = VENDOR },
  )
  args = {
    BUILDER_IMAGE     = BUILDER_IMAGE
    CODEGEN_UNITS     = CODEGEN_UNITS
    SOURCE_DATE_EPOCH = SOURCE_DATE_EPOCH
  }
  secret = CA == "" ? [] : ["id=ca,src=${CA}"]
  attest = ["type=provenance,disabled=true"]
}

target "dependencies" {
  inherits   = ["_common"]
  target     = "dependencies"
  platforms  = platforms(["linux/amd64"])
  output     = ["type=cacheonly"]
  cache-from = read("dependencies", platforms(["linux/amd64"]))
  cache-to   = write("dependencies", platforms(["linux/amd64"]))
}

target "builder" {
  inherits   = ["_common"]
  target     = "builder"
  platforms  = platforms(["linux/amd64"])
  output     = ["type=cacheonly"]
  cache-from = read("builder", platforms(["linux/amd64"]))
  cache-to   = write("builder", platforms(["linux/amd64"]))
}

target "gateway-output" {
  inherits = ["_common"]
  target   = "gateway-output"
  output   = ["type=local,dest=.crateyard/out"]
}

target "supervisor-output" {
  inherits = ["_common"]
  target   = "supervisor-output"
  output   = ["type=local,dest=.crateyard/out"]
}

target "cluster" {
  inherits   = ["_common"]
  target     = "cluster"
  contexts   = { "base-image" = BASE == "" ? "oci-layout://${LAYOUTS}/base-image" : BASE, bundle = BUNDLE }
  args       = { VERSION = version("0.1.0") }
  platforms  = platforms(["linux/amd64"])
  tags       = ["${REGISTRY}cluster:${version("0.1.0")}"]
  output     = [output("cluster", "compression=gzip,compression-level=6,force-compression=true")]
  cache-from = concat(read("cluster", platforms(["linux/amd64"])), read("dependencies", platforms(["linux/amd64"])))
  cache-to   = write("cluster", platforms(["linux/amd64"]))
}

target "gateway" {
  inherits   = ["_common"]
  target     = "gateway"
  contexts   = { "base-image" = BASE == "" ? "oci-layout://${LAYOUTS}/base-image" : BASE }
  args       = { VERSION = version("0.1.0") }
  platforms  = platforms(["linux/amd64"])
  tags       = ["${REGISTRY}gateway:${version("0.1.0")}"]
  output     = [output("gateway", "compression=gzip,compression-level=6,force-compression=true")]
  cache-from = concat(read("gateway", platforms(["linux/amd64"])), read("dependencies", platforms(["linux/amd64"])))
  cache-to   = write("gateway", platforms(["linux/amd64"]))
}

target "gateway-bare" {
  inherits   = ["_common"]
  target     = "gateway-bare"
  args       = { VERSION = version("0.1.0") }
  platforms  = platforms(["linux/amd64"])
  tags       = ["${REGISTRY}gateway-bare:${version("0.1.0")}"]
  output     = [output("gateway-bare", "compression=gzip,compression-level=6,force-compression=true")]
  cache-from = concat(read("gateway-bare", platforms(["linux/amd64"])), read("dependencies", platforms(["linux/amd64"])))
  cache-to   = write("gateway-bare", platforms(["linux/amd64"]))
}

target "supervisor" {
  inherits   = ["_common"]
  target     = "supervisor"
  contexts   = { "base-image" = BASE == "" ? "oci-layout://${LAYOUTS}/base-image" : BASE }
  args       = { VERSION = version("0.1.0") }
  platforms  = platforms(["linux/amd64"])
  tags       = ["${REGISTRY}supervisor:${version("0.1.0")}"]
  output     = [output("supervisor", "compression=gzip,compression-level=6,force-compression=true")]
  cache-from = concat(read("supervisor", platforms(["linux/amd64"])), read("dependencies", platforms(["linux/amd64"])))
  cache-to   = write("supervisor", platforms(["linux/amd64"]))
}

target "gateway-archive" {
  inherits = ["gateway"]
  output   = ["type=oci,dest=${BUNDLE}/gateway.tar,compression=gzip,compression-level=6,force-compression=true,rewrite-timestamp=true"]
}
