# Thin: every target is one line that people and CI run alike. The work is in scripts/.
.DEFAULT_GOAL := help
.PHONY: help demo test coverage check bench rehearse-image rehearse-deploy setup lock audit clean

help:    ## list the targets
	@grep -E '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 17
demo: setup    ## train and test Jane Austen's style on the CPU, in minutes
	@scripts/demo
test: setup    ## run the tests
	@scripts/test
coverage: setup    ## run the tests and count the lines of src that they run, in every process
	@scripts/coverage
check: setup    ## lint, format, types, import boundaries
	@scripts/check
bench: setup    ## measure everything beside named peers, in an hour; appends to benchmarks/results
	@.venv/bin/python benchmarks/idle.py
	@.venv/bin/python benchmarks/startup.py
	@.venv/bin/python benchmarks/storage.py
	@.venv/bin/python benchmarks/copying.py
	@.venv/bin/python benchmarks/prepare.py
	@.venv/bin/python benchmarks/perplexity.py
	@.venv/bin/python benchmarks/peers.py
	@.venv/bin/python benchmarks/table.py
rehearse-image: setup    ## build the image, test and train in it, count what a change uploads; root, half an hour
	@scripts/rehearse-image
	@.venv/bin/python benchmarks/table.py
rehearse-deploy: setup    ## deploy that image to a simulated account, its containers podman's; root, after rehearse-image
	@PATH="$$PWD/.venv/bin:$$PATH" .venv/bin/python -m tools.rehearse_deploy
setup:    ## make .venv as requirements.lock says; does nothing when it stands
	@scripts/setup
lock:    ## compile requirements.in to requirements.lock (needs uv on the PATH)
	uv pip compile requirements.in --override overrides.txt --generate-hashes --python-version 3.11 --python-platform x86_64-manylinux_2_28 -o requirements.lock
audit:    ## ask PyPI for known vulnerabilities of the locked packages
	@scripts/audit
clean:    ## delete caches; keeps .venv, data, runs and build (the pre-training of the embedded model)
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis .coverage src/*.egg-info
