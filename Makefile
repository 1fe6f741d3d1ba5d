# murre: one makefile. `make help` lists the targets. Requires GNU make, pkg-config and what packages.txt names.
#
# The layer table: a layer may include its own headers and those of the layers listed. It lives here only: each layer is compiled with
# an include directory that holds links to just these, so that a breach does not compile; tools/tidy and the link order read it too.
LAYERS     := base proto history rt mesh lib store svc edge sim main
DEPS_base  :=
DEPS_proto := base
DEPS_history := base
DEPS_rt    := base
DEPS_mesh  := rt proto base
DEPS_lib   := mesh rt proto base
DEPS_store := rt base
DEPS_svc   := store rt proto base
DEPS_edge  := svc rt proto base
DEPS_sim   := history edge svc store mesh rt proto base
DEPS_main  := sim history edge svc store mesh rt proto base

SAN   ?=
PLANT ?=
B     ?= build$(if $(SAN),/$(SAN))$(if $(PLANT),/plant)
PREFIX  ?= /usr/local
DESTDIR ?=

ifneq ($(filter tsan fuzz,$(SAN)),)
CC := clang
else ifeq ($(origin CC),default)
CC := gcc
endif

WARN := -Wall -Wextra -Wpedantic -Werror -Wshadow -Wconversion -Wsign-conversion -Wcast-qual -Wstrict-prototypes \
        -Wmissing-prototypes -Wundef -Wvla -Wformat=2 -Wswitch-enum -Wimplicit-fallthrough -Wnull-dereference
HARD := -D_FORTIFY_SOURCE=3 -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
OPT_   := -O2 $(HARD)
OPT_asan := -O1 -fPIE -fsanitize=address,undefined -fno-sanitize-recover=all
OPT_tsan := -O1 -fPIE -fsanitize=thread
OPT_fuzz := -O1 -fPIE -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
CFLAGS  := -std=gnu17 -g3 -fno-omit-frame-pointer -D_GNU_SOURCE $(if $(PLANT),-DMURRE_PLANT) $(OPT_$(SAN)) $(WARN)
comma := ,
LDFLAGS := -pie -pthread -rdynamic -Wl,-z,relro,-z,now $(if $(filter asan,$(SAN)),-fsanitize=address$(comma)undefined) \
           $(if $(filter tsan,$(SAN)),-fsanitize=thread)
PKGS    := openssl sqlite3 libidn libunistring yaml-0.1 jansson
PKG_CFLAGS := $(shell pkg-config --cflags openssl sqlite3 libidn yaml-0.1 jansson)
LIBS    := $(shell pkg-config --libs openssl sqlite3 libidn yaml-0.1 jansson) -lunistring -lhttp_parser -ldl -lm
TEST_LIBS := -lcmocka -lexpat $(shell pkg-config --libs libxml-2.0)
TEST_CFLAGS := $(shell pkg-config --cflags libxml-2.0) -Wno-cast-qual

layer_src = $(sort $(wildcard src/$(1)/*.c src/$(1)/*/*.c))
MAIN_SRC := src/main/murre.c src/main/murrectl.c src/main/murre_sim.c src/main/murre_history.c
# What plants faults is in the build that has them, and in no other.
NO_PLANT := $(if $(PLANT),,src/base/plant.c)
SRC      := $(filter-out $(MAIN_SRC) $(NO_PLANT),$(foreach l,$(LAYERS),$(call layer_src,$(l))))
OBJ      := $(SRC:%.c=$(B)/obj/%.o)
LIB      := $(B)/libmurre_all.a
TEST_SRC := $(sort $(foreach l,$(LAYERS),$(wildcard test/$(l)/*_test.c test/$(l)/*/*_test.c)))
TEST_SUP := $(sort $(wildcard test/support/*.c))
TEST_BIN := $(TEST_SRC:test/%.c=$(B)/test/%)
FUZZ_SRC := $(sort $(wildcard test/fuzz/*_fuzz.c))
FUZZ     := $(FUZZ_SRC:test/fuzz/%_fuzz.c=%)
PROG     := $(foreach p,murre murrectl murre_sim murre_history,$(if $(wildcard src/main/$(p).c),$(B)/$(subst _,-,$(p))))

# One line a step; V=1 shows the commands.
say = $(if $(V),,@echo "  $(1) $(2)";)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.PHONY: all help libmurre examples test plant sim fuzz fuzz-build interop inside inside-root perf valgrind callgrind checks bench tidy ci ci-rest fuzz-all install install-lib clean print-layers

all: $(PROG) libmurre examples ## build the programs, libmurre and the examples into build/

help: ## list the targets
	@grep -hE '^[a-z][a-z_-]*:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 20

# --- compiling, one include directory a layer ------------------------------------------------------------------------------------
inc_dir = $(B)/inc/$(1)
$(B)/inc/%/.made: Makefile
	@rm -rf $(@D) && mkdir -p $(@D)
	@for l in $* $(DEPS_$*); do ln -s $(abspath src)/$$l $(@D)/$$l; done
	@touch $@

define layer_rules
$(B)/obj/src/$(1)/%.o: src/$(1)/%.c $(B)/inc/$(1)/.made
	@mkdir -p $$(@D)
	$(call say,CC,$$<)$(CC) $(CFLAGS) $(PKG_CFLAGS) -I$(B)/inc/$(1) $(CFLAGS_$(1)) -MMD -MP -c $$< -o $$@
endef
CFLAGS_lib := -Iinclude
$(foreach l,$(LAYERS),$(eval $(call layer_rules,$(l))))

$(LIB): $(OBJ)
	@mkdir -p $(@D)
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $(OBJ)

$(B)/murre: $(B)/obj/src/main/murre.o $(LIB)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(B)/murrectl: LIBS += -ledit
$(B)/murrectl: $(B)/obj/src/main/murrectl.o $(LIB)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)
$(B)/murre-sim: $(B)/obj/src/main/murre_sim.o $(LIB)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# libmurre: the runtime and the mesh behind include/murre.h, compiled for a shared library. Nothing but murre_* can be linked to in either form.
SO_NAME  := libmurre.so.0
SO_FILE  := $(SO_NAME).1
SO_SRC   := $(filter-out src/rt/tls_openssl.c src/rt/tls_cert.c src/rt/tls_peer.c $(NO_PLANT),$(foreach l,base rt mesh lib,$(call layer_src,$(l))) $(sort $(wildcard src/proto/etf/*.c src/proto/dist/*.c)))
SO_OBJ   := $(SO_SRC:%.c=$(B)/so/%.o)
SO_LIBS  := $(shell pkg-config --libs libcrypto) -pthread -ldl -lm
SO_FLAGS := -shared -pthread -Wl,-soname,$(SO_NAME) -Wl,--version-script=src/lib/libmurre.map -Wl,-z,defs -Wl,-z,relro,-z,now \
            $(if $(filter asan,$(SAN)),-fsanitize=address$(comma)undefined) $(if $(filter tsan,$(SAN)),-fsanitize=thread)
define so_rules
$(B)/so/src/$(1)/%.o: src/$(1)/%.c $(B)/inc/$(1)/.made
	@mkdir -p $$(@D)
	$(call say,CC,$$< for libmurre)$(CC) $(CFLAGS:-fPIE=-fPIC) $(PKG_CFLAGS) -I$(B)/inc/$(1) $(CFLAGS_$(1)) -MMD -MP -c $$< -o $$@
endef
$(foreach l,base proto rt mesh lib,$(eval $(call so_rules,$(l))))
$(B)/$(SO_FILE): $(SO_OBJ) src/lib/libmurre.map
	$(call say,LD,$@)$(CC) $(SO_FLAGS) -o $@ $(SO_OBJ) $(SO_LIBS) $(if $(SAN),-Wl$(comma)-z$(comma)undefs)
	@ln -sf $(SO_FILE) $(B)/$(SO_NAME) && ln -sf $(SO_NAME) $(B)/libmurre.so
$(B)/libmurre.a: $(SO_OBJ)
	$(call say,AR,$@)ld -r -o $(B)/so/murre.o $(SO_OBJ) && objcopy --wildcard --keep-global-symbol='murre_*' $(B)/so/murre.o && rm -f $@ && ar rcs $@ $(B)/so/murre.o
libmurre: $(B)/$(SO_FILE) $(B)/libmurre.a

EXAMPLES := $(sort $(patsubst examples/%.c,%,$(wildcard examples/*.c)))
$(B)/examples/%: examples/%.c $(B)/libmurre.a include/murre.h include/murre_term.h
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -std=c11 -g3 $(OPT_$(SAN)) $(WARN) -Iinclude $(LDFLAGS) -o $@ $< $(B)/libmurre.a $(SO_LIBS)
examples: $(EXAMPLES:%=$(B)/examples/%)

# The judge of histories, for anybody's chat service: it and its program need nothing but the C library.
HISTORY_LIB := $(B)/libmurre-history.a
$(HISTORY_LIB): $(filter $(B)/obj/src/history/% $(B)/obj/src/base/%,$(OBJ))
	$(call say,AR,$@)rm -f $@ && ar rcs $@ $^
$(B)/murre-history: $(B)/obj/src/main/murre_history.o $(HISTORY_LIB)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^

WARP_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(sort $(wildcard tools/netwarp/*.c)))
$(B)/obj/tools/%.o: tools/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) -Isrc -Itools/netwarp -MMD -MP -c $< -o $@
$(B)/netwarp: $(WARP_OBJ) $(LIB)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/murre.yaml.5: $(B)/murre man/murre.yaml.5.awk
	$(call say,MAN,$@)$(B)/murre config | awk -f man/murre.yaml.5.awk > $@.tmp && mv $@.tmp $@

# --- tests -----------------------------------------------------------------------------------------------------------------------
$(B)/obj/test/%.o: test/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(PKG_CFLAGS) $(TEST_CFLAGS) -Isrc -Itest -Iinclude -MMD -MP -c $< -o $@
$(B)/test/%: $(B)/obj/test/%.o $(TEST_SUP:%.c=$(B)/obj/%.o) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) $(TEST_LIBS)
$(B)/test/proto/xmpp/gsasl_test: TEST_LIBS += -lgsasl

test: $(TEST_BIN) ## unit tests; with SAN=asan or SAN=tsan under that sanitizer
	@tools/run-tests $(TEST_BIN)

sim: $(B)/murre-sim ## run one simulator seed: make sim SEED=n
	$(B)/murre-sim --seed $(or $(SEED),1) $(SIM_ARGS)

$(B)/fuzz/%: $(B)/obj/test/fuzz/%_fuzz.o $(TEST_SUP:%.c=$(B)/obj/%.o) $(LIB)
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -fsanitize=fuzzer,address,undefined $(LDFLAGS) -o $@ $^ $(LIBS) $(TEST_LIBS)
fuzz-build: $(FUZZ:%=$(B)/fuzz/%)
fuzz: ## fuzz one target: make fuzz T=name TIME=seconds
	$(MAKE) SAN=fuzz fuzz-build
	@mkdir -p build/fuzz/found/$(T)
	build/fuzz/fuzz/$(T) -max_total_time=$(or $(TIME),30) -timeout=10 build/fuzz/found/$(T) test/fuzz/corpus/$(T)

FUZZ_TIME ?= 12
fuzz-all: ## every fuzz target for FUZZ_TIME seconds, from its corpus
	$(MAKE) SAN=fuzz fuzz-build
	@tools/fuzz-all build/fuzz/fuzz $(FUZZ_TIME) $(FUZZ)

# --- bench: how fast, how small, beside the limits of the machine and the peers; docs/performance.md has the figures ------------------
BENCH_OBJ := $(patsubst %.c,$(B)/obj/%.o,$(sort $(wildcard bench/*.c)))
$(B)/obj/bench/%.o: bench/%.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(PKG_CFLAGS) $(TEST_CFLAGS) -Isrc -MMD -MP -c $< -o $@
$(B)/obj/bench/micro_etf.o: CFLAGS += -D_REENTRANT
$(B)/murre-bench: $(BENCH_OBJ) $(LIB)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS) -lexpat $(shell pkg-config --libs libxml-2.0) -lei
# Ends of a connection of Erlang's distribution, as a program of libmurre; Erlang's end is bench/dist/dist_node.erl.
$(B)/dist-node: bench/dist/node.c $(B)/libmurre.a include/murre.h include/murre_term.h
	$(call say,LD,$@)$(CC) -std=c11 -D_POSIX_C_SOURCE=200809L -g3 $(OPT_$(SAN)) $(WARN) -Iinclude $(LDFLAGS) -o $@ $< $(B)/libmurre.a $(SO_LIBS)
bench: all $(B)/murre-bench $(B)/dist-node ## measure: make bench T=name (T=list says which; T=all: each in turn)
	MURRE_BUILD=$(B) bench/run $(or $(T),list)

# What the checks of docs/promises.md preload into the server: failing files and a wall clock that jumps.
$(B)/inject.so: test/checks/inject.c
	@mkdir -p $(@D)
	$(call say,LD,$@)$(CC) -std=gnu17 -g3 -O2 -fPIC -D_GNU_SOURCE $(WARN) -shared -o $@ $< -ldl -pthread

CHECK_BIN := $(B)/inject.so $(B)/murre-bench $(B)/murre-sim $(B)/test/rt/sup_test $(B)/test/rt/actor_test $(B)/test/rt/workers_test $(B)/test/rt/watchdog_test $(B)/test/store/powercut_load
checks: all $(CHECK_BIN) ## the promises' checks (test/checks) at CI size; SOAK=1 for the long ones
	MURRE_BUILD=$(abspath $(B)) test/checks/run

# The client of the -PLUS tests: OpenSSL and libgsasl, nothing of ours.
$(B)/gsasl-login: test/interop/xmpp/gsasl_login.c
	@mkdir -p $(@D)
	$(call say,CC,$<)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $< $(shell pkg-config --libs openssl) -lgsasl

# The machines of Erlang distribution behind plain sockets, to be met by a real Erlang.
$(B)/dist-peer: $(B)/obj/test/interop/otp/dist_peer.o $(LIB)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# A node with actors that a real Erlang tells what to link to and to monitor.
$(B)/mesh-peer: $(B)/obj/test/interop/otp/mesh_peer.o $(LIB)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# Faults put in on purpose, each against the check that must find it: docs/plant.md. Not part of ./check. SOAK=1: what is missed, with many seeds.
PLANT_UNIT := $(shell sed -n 's/^PLANT.[A-Z_]*, "unit \([^"]*\)".*/\1/p' src/base/plant.def | sort -u)
plant: ## planted faults: does the gate find them? PLANTS="NAME ..." for some
	$(MAKE) -s PLANT=1 all build/plant/inject.so $(PLANT_UNIT:%=build/plant/test/%)
	@tools/plant $(PLANTS)

# The external term format on a pipe, for a real Erlang to judge; libei is a second oracle in it.
$(B)/obj/test/interop/otp/etf_peer.o: CFLAGS += -D_REENTRANT
$(B)/etf-peer: $(B)/obj/test/interop/otp/etf_peer.o $(LIB)
	$(call say,LD,$@)$(CC) $(LDFLAGS) -o $@ $^ -lei $(LIBS)

interop: all $(B)/gsasl-login $(B)/dist-node $(B)/dist-peer $(B)/mesh-peer $(B)/etf-peer ## live tests with real clients and a real Erlang; OTP=23,25,27,29: with these releases of Erlang/OTP
	test/interop/run $(if $(OTP),--otp $(OTP))

LIVE := test_stream.py test_chat.py test_clients.py
LIVE_OTP := $(addprefix ../otp/,test_mesh.py test_global.py test_global_names.py test_tls_dist.py test_relations.py test_lib.py test_epmd.py test_pg.py test_tools_shell.py \
	test_dial.py test_roles.py test_domains.py)
ci-rest: ## what the gate runs after ./check: gdb commands and BPF scripts, sanitizers over unit tests, simulator and live tests, and short fuzzing
	$(MAKE) -s inside-root
	$(MAKE) -s -j2 SAN=asan all test build/asan/dist-peer build/asan/mesh-peer build/asan/etf-peer
	SIM=build/asan/murre-sim SEEDS=5 tools/sim-seeds
	MURRE_BUILD=$(abspath build/asan) ETF_TERMS=10000 test/interop/run $(LIVE) $(LIVE_OTP) ../otp/test_handshake.py ../otp/test_etf.py
	$(MAKE) -s -j2 SAN=tsan all test build/tsan/dist-peer build/tsan/mesh-peer
	MURRE_BUILD=$(abspath build/tsan) test/interop/run $(LIVE) $(LIVE_OTP)
	$(MAKE) -s fuzz-all

ci: ## the whole gate
	./check && $(MAKE) ci-rest

tidy: ## format, layers, prefixes, budgets, banned words, dead files
	tools/tidy

print-layers:
	@$(foreach l,$(LAYERS),echo "$(l): $(DEPS_$(l))";)

# The looks into a running node, and the relay that damages the traffic between processes. gdb and bpf want root and what a container may forbid.
INSIDE ?= ../../inside/test_console.py ../../inside/test_plant.py ../../inside/test_metrics.py ../../inside/test_trace.py ../../inside/test_profile.py ../../inside/test_profiling.py ../../inside/test_symptoms.py ../../netwarp/test_netwarp.py
inside: all $(B)/netwarp $(B)/murre.yaml.5 $(B)/murre-bench $(B)/inject.so ## live tests of the looks: console, traces, profiles, symptoms, metrics; and of netwarp
	MURRE_BUILD=$(abspath $(B)) test/interop/run $(INSIDE)
inside-root: all $(B)/murre-bench ## tests of the gdb commands and the bpftrace scripts, as root
	MURRE_BUILD=$(abspath $(B)) test/interop/run ../../inside/test_gdb.py ../../inside/test_bpf.py

# Where time goes and whether memory is used rightly; docs/profiling.md.
perf: all $(B)/murre-bench ## samples with call graphs: make perf T=PID, for SECONDS_=10, or T=NAME of a micro bench
	@MURRE_BUILD=$(B) tools/profile perf $(or $(T),send)
valgrind: all $(TEST_BIN) ## memcheck over the unit tests and a short life of a server
	@MURRE_BUILD=$(B) tools/profile memcheck $(TEST_BIN)
	@MURRE_BUILD=$(B) tools/profile live
callgrind: all $(B)/murre-bench ## instructions by function: make callgrind T=NAME of a micro bench, or T=PROGRAM of a unit test
	@MURRE_BUILD=$(B) tools/profile callgrind $(or $(T),parse)

# What programs are made with: pkg-config --cflags --libs murre.
install-lib: libmurre ## install libmurre, its headers and manual into $(DESTDIR)$(PREFIX)
	install -D -m 755 $(B)/$(SO_FILE) $(DESTDIR)$(PREFIX)/lib/$(SO_FILE)
	ln -sf $(SO_FILE) $(DESTDIR)$(PREFIX)/lib/$(SO_NAME)
	ln -sf $(SO_NAME) $(DESTDIR)$(PREFIX)/lib/libmurre.so
	install -m 644 $(B)/libmurre.a $(DESTDIR)$(PREFIX)/lib/libmurre.a
	for h in murre murre_term; do install -D -m 644 include/$$h.h $(DESTDIR)$(PREFIX)/include/$$h.h; done
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig
	sed 's,@PREFIX@,$(PREFIX),; s,@VERSION@,0.1.0,' dist/murre.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/murre.pc
	for m in man/*.3; do install -D -m 644 $$m $(DESTDIR)$(PREFIX)/share/man/man3/$${m##*/}; \
	    for f in $$(sed -n 's/^\.Fo //p' $$m); do [ -e man/$$f.3 ] || ln -sf $${m##*/} $(DESTDIR)$(PREFIX)/share/man/man3/$$f.3; done; done

install: all install-lib $(B)/murre.yaml.5 ## install into $(DESTDIR)$(PREFIX)
	install -D -m 755 $(B)/murre $(DESTDIR)$(PREFIX)/bin/murre
	install -D -m 755 $(B)/murrectl $(DESTDIR)$(PREFIX)/bin/murrectl
	install -D -m 755 $(B)/murre-history $(DESTDIR)$(PREFIX)/bin/murre-history
	for p in murre murrectl murre-history; do install -D -m 644 man/$$p.1 $(DESTDIR)$(PREFIX)/share/man/man1/$$p.1; done
	install -D -m 644 $(B)/murre.yaml.5 $(DESTDIR)$(PREFIX)/share/man/man5/murre.yaml.5
	for p in murre murrectl murre-history; do install -D -m 644 completions/murre.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$p; done
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/local,$(PREFIX),' dist/murre.service > $(DESTDIR)$(PREFIX)/lib/systemd/system/murre.service

clean: ## remove build/
	rm -rf build

-include $(shell find $(B)/obj $(B)/so -name '*.d' 2>/dev/null)
