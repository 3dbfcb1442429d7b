# Two commands do all the set-up on a fresh Debian machine; both may be run again at any time.
#   make images   builds the container images and says where they lie
#   make test     runs all tests, and says what it skipped and why

TARGET = $(or $(CARGO_TARGET_DIR),target)
# The commands that build images need half the crates of the command line, and no optimisation.
# `make test` needs the same crates.
BUILD = $(TARGET)/debug/fetch-and-build
# Incremental compilation makes the first build slower, and both commands begin with one. They share
# the setting, because Cargo would otherwise compile the workspace's crates twice.
images test: export CARGO_INCREMENTAL = 0

.PHONY: images test assemble setup book

images: setup
	@cargo build --locked --package crateyard-build
	@$(BUILD) fetch
	@$(BUILD) build --compiler available

test: setup
	@./tests/run

# The command line as CI keeps it.
assemble: setup
	@cargo build --release --locked --package assemble

setup:
	@./nix/setup.sh

# The documentation as HTML, in target/book.
book: setup
	@command -v mdbook >/dev/null || cargo install --quiet --locked mdbook
	@mdbook build
