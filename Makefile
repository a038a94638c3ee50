# make demo and make test do all the set-up on a fresh Debian 12 machine (root or sudo).
SHELL := /bin/bash
BAZEL ?= bazel

.PHONY: help deps build demo test mutate format check bench bench-gates lab-x86 docs clean

help:
	@echo 'make demo      build, then run a program on the sandbox'"'"'s own kernel'
	@echo 'make build     build the CLI and leave it at out/ringfence'
	@echo 'make test      all tests: unit, end to end, lab; PART=quick|long|lab for one part'
	@echo 'make mutate    swaps each system call for ENOSYS: does a case notice?'
	@echo 'make format    clang-format every source in place'
	@echo 'make check     format, clang thread-safety, clang-tidy, layering, file sizes'
	@echo 'make bench     measures it all beside native and other runtimes (10 minutes); leaves out/bench'
	@echo 'make bench-gates  the pass lines of bench/gates: exitless service, idle sandboxes'
	@echo 'make lab-x86   the smoke tests on hardware-KVM semantics, under QEMU TCG'
	@echo 'make clean     remove what was built'

deps:
	@tools/install-deps

build: deps
	$(BAZEL) build //runtime/main:ringfence
	@mkdir -p out
	@cp -f bazel-bin/runtime/main/ringfence out/ringfence.new
	@chmod 755 out/ringfence.new
	@mv -f out/ringfence.new out/ringfence

demo: build
	@tools/demo

test: deps
	@tools/run-tests $(if $(PART),--part $(PART))

mutate: deps
	@tools/mutate

format:
	@clang-format -i $$(git ls-files "*.h" "*.cc")

check: deps
	@tools/check

bench: build
	@tools/bench

bench-gates: build
	$(BAZEL) build //test/programs:all
	@tools/run-tests --no-build 'gates_*'

lab-x86: build
	@test/lab/run-x86

docs: deps
	$(BAZEL) build //sentry/syscalls:compatibility_page //runtime/confine:confinement_page
	bazel-bin/sentry/syscalls/compatibility_page > docs/syscalls.md
	bazel-bin/runtime/confine/confinement_page > docs/confinement_calls.md

clean:
	rm -rf out
	$(BAZEL) clean
