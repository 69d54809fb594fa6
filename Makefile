# The front door. Meson and ninja do the work; `make help` lists the goals.
#
#   CC=clang                     another compiler     (build directory build-clang)
#   SANITIZE=address,undefined   a sanitizer build    (build-asan)
#   SANITIZE=thread                                   (build-tsan)
#   WERROR=true                  warnings are errors
#   BUILD=DIR                    a build directory of your own

PREFIX ?= /usr/local
DESTDIR ?=
SANITIZE ?=
WERROR ?=

# make's own idea of CC is no wish of the user.
ifeq ($(origin CC),default)
CC :=
endif
export CC

comma := ,
compiler_part := $(if $(filter-out cc gcc,$(CC)),-$(notdir $(CC)))
sanitizer_part := $(if $(findstring address,$(SANITIZE)),-asan,$(if $(findstring thread,$(SANITIZE)),-tsan,\
	$(if $(SANITIZE),-$(subst $(comma),-,$(SANITIZE)))))
BUILD ?= build$(compiler_part)$(strip $(sanitizer_part))

build := tools/build.sh $(BUILD) $(if $(WERROR),-Dwerror=$(WERROR)) \
	$(if $(SANITIZE),-Db_sanitize=$(SANITIZE) -Db_lundef=false)

.PHONY: all help deps demo check bench fuzz fuzz-coverage prove soak coverage install format clean

all:
	@UHYVE_NO_INSTALL=1 tools/deps.sh build || { echo "Run: make deps"; exit 1; }
	@$(build)

help:
	@echo "make            build (in $(BUILD))"
	@echo "make demo       build and boot the example unikernel"
	@echo "make check      build and run every test; GROUPS='gcc system nested clang asan tsan fuzz prove'"
	@echo "make bench      measure"
	@echo "make fuzz       fuzz one target: T=TARGET S=SECONDS"
	@echo "make fuzz-coverage  what do its inputs reach: T=TARGET"
	@echo "make prove      prove what can be proved; N='PROOF...'"
	@echo "make coverage   which branches do the tests reach"
	@echo "make soak       very many VMs, and their ends at random moments: M=MINUTES"
	@echo "make install    to PREFIX ($(PREFIX)) below DESTDIR"
	@echo "make format     lay the sources out"
	@echo "make deps       install what the build needs"
	@echo "make clean      remove what was built"

deps:
	@tools/deps.sh build

demo:
	@tools/deps.sh build
	@$(build) -- --quiet
	@tools/demo.sh $(BUILD)

check:
	@tools/deps.sh check
	@tools/check.sh $(GROUPS)

bench:
	@tools/deps.sh bench
	@$(build) -- --quiet
	@ninja -C $(BUILD) --quiet bench-programs
	@tools/build.sh $(BUILD)-plain -Dtrace=disabled -Dtests=disabled -- --quiet src/uhyve
	@$(BUILD)/bench/bench-driver --uhyve $(BUILD)/src/uhyve --bare $(BUILD)/bench/bare_kvm \
		--native $(BUILD)/bench/bench_native --native-trap $(BUILD)/bench/native_trap \
		--plain $(BUILD)-plain/src/uhyve \
		--guests $(BUILD)/guests --images '$(UHYVE_TEST_IMAGES)' --json $(BUILD)/bench.json

fuzz:
	@tools/deps.sh check
	@CC=clang tools/build.sh build-fuzz -Dfuzz=enabled -Db_sanitize=address,undefined \
		-Db_lundef=false -- --quiet fuzz-programs
	@tools/fuzz.sh build-fuzz $(or $(S),60) $(T)

soak:
	@tools/deps.sh check
	@$(build) -- --quiet
	@tools/build.sh build-tsan -Db_sanitize=thread -Db_lundef=false -- --quiet
	@tools/build.sh build-asan -Db_sanitize=address,undefined -Db_lundef=false -- --quiet
	@tests/soak/run -b $(BUILD) long $(or $(M),10)

prove:
	@tools/deps.sh prove
	@tools/prove.sh $(N)

coverage:
	@tools/deps.sh coverage
	@tools/build.sh build-coverage -Dtests=enabled -Db_coverage=true -- --quiet
	@tools/coverage.sh build-coverage

fuzz-coverage:
	@tools/deps.sh coverage
	@tools/build.sh build-coverage -Dtests=enabled -Db_coverage=true -- --quiet fuzz-programs
	@tools/coverage.sh build-coverage --fuzz $(T)

# The prefix is part of what is built (pkg-config file, man page directory).
install:
	@$(build) -Dprefix=$(PREFIX) -- --quiet
	@DESTDIR="$(DESTDIR)" meson install -C $(BUILD) --no-rebuild

format:
	@tools/deps.sh format
	find bench fuzz guests include prove src tests -name '*.[ch]' -exec clang-format -i {} +

clean:
	rm -rf build build-*
