//! images.toml: the one description of what each image holds.
