# Two commands do all the set-up on a fresh Debian machine; both may be run again at any time.
#   make images   builds the container images and says where they lie
#   make test     runs all tests, and says what it skipped and why

TARGET = $(or $(CARGO_TARGET_DIR),target)
ASSEMBLE = $(TARGET)/release/assemble

.PHONY: images test assemble setup book

images: assemble
	@$(ASSEMBLE) fetch
	@$(ASSEMBLE) build --compiler available

test: setup
	@./tests/run

assemble: setup
	@cargo build --release --locked --package assemble

setup:
	@./nix/setup.sh

# The documentation as HTML, in target/book.
book: setup
	@command -v mdbook >/dev/null || cargo install --quiet --locked mdbook
	@mdbook build
