# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

VENV := .work/venv
NOX := $(VENV)/bin/nox --session
STAGES := lint build sanity_floor sanity_newest unit unit_newest conformance integration_floor integration_newest molecule

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test lint sanity unit integration conformance molecule bench docs clean

help:  ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

demo: $(VENV)/ready  ## Run the main job on the embedded lab, twice (KEEP=1 leaves the lab up)
	@$(VENV)/bin/python tools/demo.py

demo-down: $(VENV)/ready  ## End the lab that KEEP=1 left up
	@$(VENV)/bin/python tools/embedded_lab.py down

test: $(VENV)/ready  ## All checks and tests
	@$(VENV)/bin/python tools/run_stages.py $(STAGES)

lint: $(VENV)/ready  ## ruff, yamllint, ansible-lint, documentation, changelog, build
	@$(NOX) lint build

sanity: $(VENV)/ready  ## ansible-test sanity on ansible-core 2.16 and the newest
	@$(NOX) sanity_floor sanity_newest

unit: $(VENV)/ready  ## Unit tests (ARGS="-k name")
	@$(NOX) unit -- $(ARGS)

integration: $(VENV)/ready  ## Integration targets on the newest ansible-core (ARGS="vm network")
	@$(NOX) integration_newest -- $(ARGS)

conformance: $(VENV)/ready  ## xapisim judged by foreign clients
	@$(NOX) conformance -- $(ARGS)

molecule: $(VENV)/ready  ## site.yml on the embedded lab
	@$(NOX) molecule

bench: $(VENV)/ready  ## Measure, and print ratios
	@$(NOX) bench -- $(ARGS)

docs: $(VENV)/ready  ## Write what is generated from specs
	@$(NOX) docs

clean:  ## Remove all that make has made here (and end the lab)
	@if [ -x $(VENV)/bin/python ]; then $(VENV)/bin/python tools/embedded_lab.py down; fi
	@rm -rf .work .pytest_cache .ruff_cache tests/output

$(VENV)/ready: tools/bootstrap requirements.txt
	@tools/bootstrap
