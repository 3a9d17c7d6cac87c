# Every target installs what it needs first. All of them share one build of llama.cpp.
.PHONY: demo test test-hostile lint bench setup

demo: setup
	cargo build
	@echo
	@cargo run --quiet -- compare -n 70 -s 3 </dev/null
	@echo
	@echo 'Next: cargo run -- generate -p "Once upon a time" -n 100'

test: setup
	cargo test --workspace
	cargo build --workspace --examples

# Damaged files through the program, 2,000 of them where `make test` takes 200.
test-hostile: setup
	PROXYTUNE_HOSTILE=$${PROXYTUNE_HOSTILE:-2000} cargo test --test it -- hostile

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# Writes models of 1.1 B and 0.12 B random parameters (0.9 GB) under target/ and times them: some minutes.
bench: setup
	cargo bench --profile dev --bench lockstep

setup:
	@scripts/setup.sh
