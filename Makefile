# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
#
# The names of what one can do here; noxfile.py has the checks, tools/ the rest. ARGS go to the check's own tool:
# make unit ARGS="-k vlan", make integration ARGS=network.

PYTHON ?= python3
BIN := .work/venv/bin
CHECK := $(BIN)/python tools/check.py
ACTIVE := . .work/activate &&

.DEFAULT_GOAL := help
.PHONY: help demo demo-down test lint sanity unit integration conformance molecule lab pxe faults bench docs clean ready ready-demo

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ready-demo ## run the main job on a lab, twice, then a node dies; KEEP=1 leaves the lab up
	@$(ACTIVE) KEEP=$(KEEP) python tools/demo.py

demo-down: ready-demo ## end the lab that demo KEEP=1 left up
	@$(ACTIVE) python tools/embedded_lab.py down && PYTHONPATH=tests python -m lab --id demo down

test: ready ## all checks
	@$(CHECK)

lint: ready ## style, types, documentation, changelog, build, galaxy-importer
	@$(CHECK) lint

sanity: ready ## ansible-test sanity on the oldest and the newest ansible-core
	@$(CHECK) sanity -- $(ARGS)

unit: ready ## unit tests on both
	@$(CHECK) unit -- $(ARGS)

integration: ready ## integration targets against xapisim on both
	@$(CHECK) integration -- $(ARGS)

conformance: ready ## foreign clients judge xapisim
	@$(CHECK) conformance -- $(ARGS)

molecule: ready ## the main job on the embedded lab, by molecule
	@$(CHECK) molecule -- $(ARGS)

lab: ready ## nodes and guests with real kernels; root on Debian
	@$(CHECK) lab -- $(ARGS)

pxe: ready ## bare machines are installed over the network, with BIOS and UEFI; root on Debian
	@$(CHECK) pxe -- $(ARGS)

faults: ready ## what happens to acknowledged writes when nodes, cables, disks and controllers fail; root on Debian
	@$(CHECK) faults -- $(ARGS)

bench: ready ## measure (docs/performance.md)
	@$(CHECK) bench -- $(ARGS)

docs: ready ## write what is made from other files
	@$(CHECK) docs

clean: ## forget environments, copies and results; end the lab
	@if [ -x $(BIN)/python ]; then $(BIN)/python tools/embedded_lab.py down; fi
	@if [ -L .work/elsewhere ]; then rm -rf "$$(readlink .work/elsewhere)"; fi
	rm -rf .work .ansible .ruff_cache .mypy_cache .pytest_cache tests/output

ready-demo:
	@PYTHON=$(PYTHON) tools/bootstrap demo

ready:
	@PYTHON=$(PYTHON) tools/bootstrap test
