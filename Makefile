# Two commands do all the set-up on a fresh Debian machine; both may be run again at any time.
#   make images   builds the container images and says where they lie
#   make test     runs all tests, and says what it skipped and why

TARGET = $(or $(CARGO_TARGET_DIR),target)
# The commands that build images need half the crates of the command line. Built without
# optimisation, they are ready in a third of the time. `make test` needs the same crates.
BUILD = $(TARGET)/debug/fetch-and-build
# On a fresh machine nothing was compiled before. Preparing for the next edit takes time as well.
export CARGO_INCREMENTAL = 0

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
