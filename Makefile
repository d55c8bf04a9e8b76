# The commands of this project. Each puts its tools in place first (tools/bootstrap: nothing to do
# when they are there), and runs with them (tools/env). Variables: PYTEST="-k name" for `make test`,
# FAULTS="--rows F2,F9b" for `make faults`.
.POSIX:
.PHONY: demo demo-clean test check coverage bench faults mutants docs bootstrap help

PYTEST =
FAULTS =

help: ## what there is to make (the default)
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 12

demo: bootstrap ## two hosts, a container, one app: release, preview, update, rollback (all stay up)
	@tools/env python -m demo

# Not after bootstrap: what is to be removed must not be made first.
demo-clean: ## remove all that the demo made: hosts, container, stack, folder, Incus's project
	@if [ -r .venv/flakeup-env.sh ]; then tools/env python -m demo clean; \
	else echo 'nothing to clean: there are no tools, so there was no demo'; fi

# The tests run also where a linter complains: both are wanted from one run, and either fails it.
# They run also where a part of the toolchain cannot be had (no root, no Go): tests that need it are
# skipped by name. Only without the Python environment is there nothing to run. Four run side by side
# (tests/conftest.py): most of them wait for hosts and daemons. A part of the tests says nothing of
# what all of them cover.
test: ## linters, then all tests that can run on this machine
	@tools/bootstrap || test -r .venv/flakeup-env.sh
	@status=0; $(MAKE) --no-print-directory check || status=1; \
	cov=; test -n "$$PYTEST" || cov='--cov --cov-report='; \
	tools/env python -m pytest -n 4 --dist loadscope $$cov $(PYTEST) || status=1; exit $$status

# Each linter runs, also where another one complains. The shell scripts are what git knows, and what
# it would: a new file is checked before it is added.
check: bootstrap ## linters: ruff, mypy, shellcheck
	@status=0; \
	tools/env ruff check --output-format=concise . || status=1; \
	tools/env ruff format --check . || status=1; \
	tools/env mypy . || status=1; \
	git ls-files -z -co --exclude-standard | xargs -0 -r \
	  awk 'FNR == 1 && /^#!.*[\/ ](ba)?sh *$$/ { printf "%s%c", FILENAME, 0 } { nextfile }' | \
	  xargs -0 -r tools/env shellcheck --external-sources && echo 'shellcheck: no findings' || status=1; \
	tools/env python -m components.pipeline.activation.runner | tools/env shellcheck - && \
	  echo 'shellcheck: no findings in the runner' || status=1; \
	exit $$status

coverage: bootstrap ## which lines of components/pipeline the unit and program tests reach
	@tools/env python -m pytest -q -n 4 --cov tests/unit tests/program

bench: bootstrap ## how fast it is, against its limits (.flakeup/bench.json)
	@tools/env python -m bench

faults: bootstrap ## hundreds of faults on real hosts (.flakeup/faults.json, docs/faults.md)
	@tools/env python -m tests.faults $(FAULTS)

mutants: bootstrap ## takes each safeguard away: a fault must notice (.flakeup/mutants.json)
	@tools/env python -m tests.faults.mutants

docs: bootstrap ## write the parts of docs/ that are made from the code
	@tools/env python -m components.pipeline.config.reference > docs/.config.md
	@mv docs/.config.md docs/config.md
	@tools/env python -m components.pipeline.config.json_schema > docs/.config.schema.json
	@mv docs/.config.schema.json docs/config.schema.json

bootstrap: ## put the tools in place: Pulumi, Python packages, nix, Incus and its image, Docker
	@tools/bootstrap
