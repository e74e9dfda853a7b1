# The commands of this repository. Each is one line that you could type yourself.

# Where cargo puts what it builds; benches and demos run the release binary.
TARGET := $(or $(CARGO_TARGET_DIR),target)

.PHONY: demo build test check needs bench bench-table bench-scenarios bench-live bench-programs bench-tls conformance reference fuzz clean

demo: ## build release and run the demo; nothing to install
	cargo build --release --locked --package rsp
	$(TARGET)/release/rsp demo

build: ## the release binary, in target/release/rsp
	cargo build --release --locked --package rsp

test: needs ## everything that must be green before a merge
	cargo build --workspace --all-targets --locked
	$(MAKE) check
	cargo test --workspace --locked --doc
	@if cargo nextest --version >/dev/null 2>&1; then \
		echo cargo nextest run --workspace; cargo nextest run --workspace --locked; \
	else \
		echo "cargo-nextest is missing (cargo install cargo-nextest): running cargo test"; \
		cargo test --workspace --locked --lib --bins --tests; \
	fi

check: ## what a reader can check without running anything
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@if cargo deny --version >/dev/null 2>&1; then \
		echo cargo deny check; cargo deny check; \
	else \
		echo "cargo-deny is missing (cargo install cargo-deny): licences and advisories were not checked"; \
	fi

needs: ## install what the tests need where it is missing
	scripts/install-test-needs

bench: build ## everything that is measured, within 40 minutes; writes all tables into bench/README.md
	scripts/install-test-needs bench
	python3 bench/run.py --all

bench-table: build ## rsp, nginx and HAProxy side by side
	scripts/install-test-needs bench
	python3 bench/run.py

bench-scenarios: build ## a million requests, slow readers, reloads and dying upstreams under load
	scripts/install-test-needs bench
	python3 bench/run.py --scenarios

bench-live: build ## live channels beside nchan and a bare loop of sends, storms, a million channels, a Redis that is killed
	scripts/install-test-needs bench
	python3 bench/run.py --live

bench-programs: build ## programs for clients beside websocketd
	scripts/install-test-needs bench
	python3 bench/run.py --programs

bench-tls: build ## TLS, HTTP/2 and passing through beside nginx and HAProxy, and a client that resets streams
	scripts/install-test-needs bench
	python3 bench/run.py --tls

conformance: build ## Autobahn's test suite of WebSocket against rsp; needs a Python 2.7 with pip
	scripts/conformance

reference: ## write doc/reference.md, the manual pages, rsp.d.luau and doc/metrics.md anew from their tables
	UPDATE=1 cargo test --package rsp-core --locked reference
	UPDATE=1 cargo test --package rsp --locked the_reference_of

fuzz: ## ten minutes a target; needs a nightly toolchain and cargo-fuzz
	cd fuzz && for target in $$(cargo +nightly fuzz list); do mkdir -p corpus/$$target && \
		cargo +nightly fuzz run $$target corpus/$$target seeds/$$target -- -max_total_time=600 || exit 1; done

clean: ## what was built, and what npm installed
	cargo clean
	rm -rf testkit/browser/node_modules testkit/interop/node_modules testkit/interop/python
