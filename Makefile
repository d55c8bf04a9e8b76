# The commands of this project. Most set up the tools first (tools/bootstrap, which does nothing if
# they exist), and runs with them (tools/env). Variables: PYTEST="-k name" for `make test`,
# FAULTS="--rows F2,F9b" for `make faults`.
.POSIX:
.PHONY: demo demo-clean test check coverage bench faults mutants docs bootstrap help

PYTEST =
FAULTS =

help: ## list the targets (the default)
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' Makefile | expand -t 12

demo: bootstrap ## release, preview, update and roll back an app on two hosts and in a container
	@tools/env python -m demo

# Without bootstrap, which would first create what is to be removed.
demo-clean: ## remove everything that the demo created
	@if [ -r .venv/flakeup-env.sh ]; then tools/env python -m demo clean; \
	else echo 'nothing to clean: the demo never ran, as there are no tools'; fi

# The tests run even if a linter fails, so that one run shows both; either makes it fail. They also
# run if a part of the toolchain is missing (no root, no Go): tests that need it are skipped, with the
# reason. Only the Python environment is required. Four groups run in parallel (tests/conftest.py), as
# most of them wait for hosts and daemons. A part of the tests says nothing of
# what all of them cover.
test: ## run the linters, then all tests that can run on this machine
	@tools/bootstrap || test -r .venv/flakeup-env.sh
	@status=0; $(MAKE) --no-print-directory check || status=1; \
	cov=; test -n "$$PYTEST" || cov='--cov --cov-report='; \
	tools/env python -m pytest -n 4 --dist loadscope $$cov $(PYTEST) || status=1; exit $$status

# All linters run, even if one fails. Shell scripts are checked before they are added to git, too.
check: bootstrap ## run the linters: ruff, mypy, shellcheck
	@status=0; \
	tools/env ruff check --output-format=concise . || status=1; \
	tools/env ruff format --check . || status=1; \
	tools/env mypy . || status=1; \
	! git grep -nE '^(<<<<<<<|>>>>>>>) ' || { echo 'git: a conflict is not resolved'; status=1; }; \
	git ls-files -z -co --exclude-standard | xargs -0 -r \
	  awk 'FNR == 1 && /^#!.*[\/ ](ba)?sh *$$/ { printf "%s%c", FILENAME, 0 } { nextfile }' | \
	  xargs -0 -r tools/env shellcheck --external-sources && echo 'shellcheck: no findings' || status=1; \
	tools/env python -m components.pipeline.activation.runner | tools/env shellcheck - && \
	  echo 'shellcheck: no findings in the runner' || status=1; \
	exit $$status

coverage: bootstrap ## which lines of components/pipeline the unit and program tests reach
	@tools/env python -m pytest -q -n 4 --cov=components/pipeline tests/unit tests/program

bench: bootstrap ## measure deployments against their limits (.flakeup/bench.json)
	@tools/env python -m bench

faults: bootstrap ## inject hundreds of faults on real hosts (.flakeup/faults.json, docs/faults.md)
	@tools/env python -m tests.faults $(FAULTS)

mutants: bootstrap ## remove each safeguard: a fault must notice (.flakeup/mutants.json)
	@tools/env python -m tests.faults.mutants

docs: bootstrap ## generate docs/config.md and its JSON schema from the code
	@tools/env python -m components.pipeline.config.reference > docs/.config.md
	@mv docs/.config.md docs/config.md
	@tools/env python -m components.pipeline.config.json_schema > docs/.config.schema.json
	@mv docs/.config.schema.json docs/config.schema.json

bootstrap: ## set up the tools: Pulumi, Python packages, nix, Incus and its image, Docker
	@tools/bootstrap
