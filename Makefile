# Every verb of the project: `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := build

# One set of flags for one build folder: quickstart, tests and the lab share it.
FLAGS := --explicit-target-dependency-import-check error
N ?= 3
PREFIX ?= /usr/local

.PHONY: help deps build test quickstart install lab lab-down conformance conformance-record simulate soak bench fmt check

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-20s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

deps:
	@scripts/install-build-deps

build: deps  ## both halves, debug, warnings as errors, declared imports only
	swift build $(FLAGS)

test: deps  ## everything that can fail; ends with how many tests passed
	@scripts/test

quickstart: deps  ## three hosts with real engines, a swarm, a service, the leader killed
	@scripts/quickstart

install: deps  ## a release build of apusd and apus into PREFIX (/usr/local), the module of Deployfiles, and a systemd unit
	swift build -c release --scratch-path .build-release --product apusd $(FLAGS)
	swift build -c release --scratch-path .build-release --product apus $(FLAGS)
	install -D -m 755 .build-release/release/apusd $(DESTDIR)$(PREFIX)/bin/apusd
	install -D -m 755 .build-release/release/apus $(DESTDIR)$(PREFIX)/bin/apus
	mkdir -p $(DESTDIR)$(PREFIX)/lib/apus
	swiftc -swift-version 6 -O -wmo -parse-as-library -module-name Deploy -package-name apus -enable-library-evolution \
		-enable-upcoming-feature ExistentialAny -enable-upcoming-feature InternalImportsByDefault \
		-emit-library -o $(DESTDIR)$(PREFIX)/lib/apus/libDeploy.so -emit-module -emit-module-path $(DESTDIR)$(PREFIX)/lib/apus/Deploy.swiftmodule \
		-emit-module-interface-path $(DESTDIR)$(PREFIX)/lib/apus/Deploy.swiftinterface Sources/Deploy/*.swift
	sed 's|@PREFIX@|$(PREFIX)|g' packaging/apusd.service.in > .build-release/apusd.service
	install -D -m 644 .build-release/apusd.service $(DESTDIR)/etc/systemd/system/apusd.service

lab: build  ## N=3 hosts on this machine, each with its own network, engine, apusd and sshd
	@lab/install
	@lab/lab up $(N)

lab-down:  ## nothing of the lab is left
	@lab/lab down

conformance: build  ## the same journeys on dockerd's swarm mode and on ours, side by side
	@lab/install
	@conformance/run live

conformance-record:  ## the journeys on dockerd's swarm mode, kept as transcripts
	@lab/install
	@conformance/run record

simulate:  ## SEED=n replays one story of the consensus; without it, fresh seeds until stopped
	@scripts/simulate $(SEED)

soak: build  ## FOR=600 seconds of kills and cuts under a load that is checked
	@lab/install && scripts/soak $(FOR) $(SEED)

bench: deps  ## create-to-running and memory, beside dockerd's swarm mode and plain `docker run`
	@lab/install
	swift build -c release --scratch-path .build-release --product apusd $(FLAGS)
	@scripts/bench

fmt:  ## swift format, in place
	swift format --in-place --parallel --recursive Package.swift Sources Tests Core/Package.swift Core/Sources Core/Tests

check:  ## format, floors, links and leftovers, in a second
	@tests/tidy
