//! Every table of `images.toml` and every field that it may have. The reader allows these, and the
//! documentation must explain them.

/// One table, for instance `[images.NAME]`.
#[derive(Debug)]
pub struct Table {
    /// Its path, as people write it; `NAME` stands for a name of their own, `[]` for an element of
    /// an array.
    pub path: &'static str,
    /// Its fields, in the order in which the documentation lists them.
    pub fields: &'static [Field],
}

/// One field of a table.
#[derive(Debug)]
pub struct Field {
    /// The key.
    pub name: &'static str,
    /// The kind of value, for people: `string`, `array of strings`.
    pub kind: &'static str,
    /// The value of a missing field, for people; `required` if it must be given.
    pub default: &'static str,
}

impl Table {
    /// Returns the field of that name.
    pub fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }
}

const fn field(name: &'static str, kind: &'static str, default: &'static str) -> Field {
    Field {
        name,
        kind,
        default,
    }
}

/// All tables.
pub static TABLES: &[&Table] = &[
    &TOP,
    &DEBIAN,
    &SET,
    &DEBIAN_SOURCE,
    &BUILD,
    &TOOLCHAIN,
    &CRATE,
    &CRATE_PART,
    &CRATE_DOWNLOAD,
    &PART,
    &DOWNLOAD,
    &USER,
    &IMAGE,
    &BASE,
    &BINARY,
    &IMAGE_BUILD,
    &FILE,
    &IMAGE_DOWNLOAD,
    &DIRECTORY,
    &LINK,
    &CHART,
    &BUNDLED,
    &STEP,
    &HEALTH_CHECK,
    &COMPRESSION,
    &VARIANT,
];

/// The file itself.
pub static TOP: Table = Table {
    path: "images.toml",
    fields: &[
        field("version", "integer", "required"),
        field("debian", "table", "none"),
        field("build", "table", "as below"),
        field("toolchain", "table", "as below"),
        field("crates", "table of tables", "none"),
        field("parts", "table of tables", "none"),
        field("users", "table of tables", "none"),
        field("images", "table of tables", "required"),
    ],
};

/// The sources of Debian packages.
pub static DEBIAN: Table = Table {
    path: "debian",
    fields: &[
        field("suites", "array of strings", "`[\"bookworm\"]`"),
        field("architectures", "array of strings", "`[\"amd64\"]`"),
        field(
            "sets",
            "table of tables",
            "`toolchain`, `base`, `lints`, `cross-*`",
        ),
        field("sources", "table of tables", "none"),
    ],
};

/// An archive of Debian packages that is not Debian's.
pub static DEBIAN_SOURCE: Table = Table {
    path: "debian.sources.NAME",
    fields: &[
        field("url", "string", "required"),
        field("suite", "string", "required"),
        field("components", "array of strings", "`[\"main\"]`"),
        field("key", "string", "none"),
        field("fingerprint", "string", "none"),
        field("architectures", "array of strings", "those it has"),
    ],
};

/// A named set of Debian packages.
pub static SET: Table = Table {
    path: "debian.sets.NAME",
    fields: &[
        field("packages", "array of strings", "required"),
        field("omit", "array of strings", "`[]`"),
        field("beyond", "string", "none"),
        field(
            "architectures",
            "array of strings",
            "`debian.architectures`",
        ),
        field("dependencies", "boolean", "`true`"),
    ],
};

/// The settings for Cargo.
pub static BUILD: Table = Table {
    path: "build",
    fields: &[
        field("profile", "string", "`\"release\"`"),
        field("locked", "boolean", "`true`"),
        field("features", "array of strings", "`[]`"),
        field("all-features", "boolean", "`false`"),
        field("no-default-features", "boolean", "`false`"),
        field("crate-list", "boolean", "`true`"),
    ],
};

/// The compiler.
pub static TOOLCHAIN: Table = Table {
    path: "toolchain",
    fields: &[
        field("provider", "string", "`\"release\"`"),
        field(
            "release",
            "string",
            "what `rust-toolchain.toml` or `rust-version` ask for",
        ),
        field("linker", "string", "the release's own"),
        field("set", "string", "`\"toolchain\"`"),
        field("packages", "array of strings", "`[]`"),
    ],
};

/// Extra inputs of a crate.
pub static CRATE: Table = Table {
    path: "crates.NAME",
    fields: &[
        field("packages", "array of strings", "`[]`"),
        field("files", "array of strings", "`[]`"),
        field("environment", "table of strings", "none"),
        field("revision", "boolean", "`false`"),
        field("parts", "array of tables", "`[]`"),
        field("downloads", "array of tables", "`[]`"),
    ],
};

/// A part that npm makes, or that is downloaded.
pub static PART: Table = Table {
    path: "parts.NAME",
    fields: &[
        field("npm", "string", "this or `download`"),
        field("build", "array of strings", "none"),
        field("output", "string", "none"),
        field("scripts", "array of strings", "`[]`"),
        field("ignored-scripts", "array of strings", "`[]`"),
        field("dev", "boolean", "whether there is `build`"),
        field("download", "table or array of tables", "this or `npm`"),
    ],
};

/// A file from the web, by its hash.
pub static DOWNLOAD: Table = Table {
    path: "parts.NAME.download",
    fields: &[
        field("url", "string", "required"),
        field("sha256", "string", "what `assemble lock` adds"),
        field("architecture", "string", "all"),
        field("unpack", "boolean", "`false`"),
        field("strip", "integer", "none"),
    ],
};

/// A part that a crate is compiled with.
pub static CRATE_PART: Table = Table {
    path: "crates.NAME.parts[]",
    fields: &[
        field("part", "string", "required"),
        field("path", "string", "required"),
        field("from", "string", "all of the part"),
    ],
};

/// A file from the web that a crate is compiled with.
pub static CRATE_DOWNLOAD: Table = Table {
    path: "crates.NAME.downloads[]",
    fields: &[
        field("url", "string", "required"),
        field("path", "string", "required"),
        field("sha256", "string", "what `assemble lock` adds"),
        field("architecture", "string", "all"),
        field("unpack", "boolean", "`false`"),
        field("strip", "integer", "none"),
        field("from", "string", "all of the archive"),
    ],
};

/// An account inside images.
pub static USER: Table = Table {
    path: "users.NAME",
    fields: &[
        field("uid", "integer", "required"),
        field("gid", "integer", "the `uid`"),
        field("home", "string", "`\"/nonexistent\"`"),
        field("shell", "string", "`\"/usr/sbin/nologin\"`"),
    ],
};

/// An image.
pub static IMAGE: Table = Table {
    path: "images.NAME",
    fields: IMAGE_FIELDS,
};

/// A variant of an image: the same fields, each in place of the image's own.
pub static VARIANT: Table = Table {
    path: "images.NAME.variants.NAME",
    fields: IMAGE_FIELDS.split_at(IMAGE_FIELDS.len() - 1).0,
};

/// `variants` stays last: variants have no variants of their own.
const IMAGE_FIELDS: &[Field] = &[
    field("base", "string or table", "the set `base`"),
    field("binaries", "array of strings or tables", "`[]`"),
    field("build", "table", "`[build]`"),
    field("packages", "array of strings", "`[]`"),
    field("files", "array of tables", "`[]`"),
    field("downloads", "array of tables", "`[]`"),
    field("directories", "array of tables", "`[]`"),
    field("links", "array of tables", "`[]`"),
    field("charts", "array of tables", "`[]`"),
    field("images", "array of tables", "`[]`"),
    field("steps", "array of tables", "`[]`"),
    field("user", "string", "`\"nonroot\"`"),
    field("workdir", "string", "none"),
    field("entrypoint", "array of strings", "the only binary"),
    field("command", "array of strings", "none"),
    field("environment", "table of strings", "`PATH` alone"),
    field("ports", "array of integers or strings", "`[]`"),
    field("volumes", "array of strings", "`[]`"),
    field("labels", "table of strings", "from Cargo's metadata"),
    field("stop-signal", "string", "none"),
    field("health-check", "table or `\"none\"`", "none"),
    field(
        "platforms",
        "array of strings",
        "each of `debian.architectures`",
    ),
    field("compression", "string or table", "`\"gzip\"`"),
    field("tags", "array of strings", "the package's version"),
    field("variants", "table of tables", "none"),
];

/// The base of an image.
pub static BASE: Table = Table {
    path: "images.NAME.base",
    fields: &[
        field("set", "string", "none"),
        field("layout", "string", "none"),
        field("reference", "string", "none"),
        field("digest", "string", "none"),
    ],
};

/// A binary of the workspace.
pub static BINARY: Table = Table {
    path: "images.NAME.binaries[]",
    fields: &[
        field("package", "string", "required"),
        field("bin", "string", "the package's only binary"),
        field("path", "string", "`/usr/bin/BIN`"),
        field("replace", "boolean", "`false`"),
        field("capabilities", "array of strings", "`[]`"),
        field("xattrs", "table of strings", "none"),
    ],
};

/// The settings for Cargo for the binaries of an image.
pub static IMAGE_BUILD: Table = Table {
    path: "images.NAME.build",
    fields: &[
        field("profile", "string", "that of `[build]`"),
        field("features", "array of strings", "those of `[build]`"),
        field("all-features", "boolean", "as in `[build]`"),
        field("no-default-features", "boolean", "as in `[build]`"),
        field("target", "string", "that of the platform"),
    ],
};

/// A file, or all files under a directory.
pub static FILE: Table = Table {
    path: "images.NAME.files[]",
    fields: &[
        field("path", "string", "required"),
        field("source", "string", "this, `text` or `part`"),
        field("text", "string", "this, `source` or `part`"),
        field("part", "string", "this, `source` or `text`"),
        field("from", "string", "all of the part"),
        field(
            "mode",
            "string",
            "`0644`, `0755` where the source is executable",
        ),
        field("user", "string", "`\"root\"`"),
        field("group", "string", "the user's own"),
        field("replace", "boolean", "`false`"),
        field("capabilities", "array of strings", "`[]`"),
        field("xattrs", "table of strings", "none"),
    ],
};

/// A file from the web, or the content of an archive.
pub static IMAGE_DOWNLOAD: Table = Table {
    path: "images.NAME.downloads[]",
    fields: &[
        field("url", "string", "required"),
        field("path", "string", "required"),
        field("sha256", "string", "what `assemble lock` adds"),
        field("architecture", "string", "all"),
        field("unpack", "boolean", "`false`"),
        field("strip", "integer", "none"),
        field("from", "string", "all of the archive"),
        field(
            "mode",
            "string",
            "`0644`, `0755` for programs in an archive",
        ),
        field("user", "string", "`\"root\"`"),
        field("group", "string", "the user's own"),
        field("replace", "boolean", "`false`"),
        field("capabilities", "array of strings", "`[]`"),
        field("xattrs", "table of strings", "none"),
    ],
};

/// A directory.
pub static DIRECTORY: Table = Table {
    path: "images.NAME.directories[]",
    fields: &[
        field("path", "string", "required"),
        field("mode", "string", "`\"0755\"`"),
        field("user", "string", "`\"root\"`"),
        field("group", "string", "the user's own"),
    ],
};

/// A symbolic link.
pub static LINK: Table = Table {
    path: "images.NAME.links[]",
    fields: &[
        field("path", "string", "required"),
        field("target", "string", "required"),
        field("replace", "boolean", "`false`"),
    ],
};

/// A Helm chart, packaged.
pub static CHART: Table = Table {
    path: "images.NAME.charts[]",
    fields: &[
        field("source", "string", "required"),
        field("path", "string", "required"),
    ],
};

/// Another image of this description, as an archive.
pub static BUNDLED: Table = Table {
    path: "images.NAME.images[]",
    fields: &[
        field("image", "string", "required"),
        field("path", "string", "required"),
        field("format", "string", "`\"oci\"`"),
        field("reference", "string", "`IMAGE:TAG`"),
    ],
};

/// A command whose changes become a layer.
pub static STEP: Table = Table {
    path: "images.NAME.steps[]",
    fields: &[
        field("run", "array of strings", "required"),
        field("after", "string", "`\"files\"`"),
        field("workdir", "string", "`\"/\"`"),
        field("environment", "table of strings", "none"),
    ],
};

/// The check by which an engine tells whether the container is healthy.
pub static HEALTH_CHECK: Table = Table {
    path: "images.NAME.health-check",
    fields: &[
        field("command", "array of strings", "required"),
        field("interval", "duration", "`\"30s\"`"),
        field("timeout", "duration", "`\"30s\"`"),
        field("start-period", "duration", "`\"0s\"`"),
        field("retries", "integer", "`3`"),
    ],
};

/// The compression of layers.
pub static COMPRESSION: Table = Table {
    path: "images.NAME.compression",
    fields: &[
        field("algorithm", "string", "required"),
        field("level", "integer", "`6` for gzip, `9` for zstd"),
    ],
};
