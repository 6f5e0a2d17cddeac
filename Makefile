# make             build ./confman
# make run         install what is missing, build, and run one node with its data in ./data
# make test        install what is missing, and check everything: minutes, ends with the sum
# make tidy        the house rules: layers, purity, sizes, headers, complexity
# make unit        the unit tests under AddressSanitizer and UBSan; T=kv_put runs those named so
# make stories     rewrite what tests/story expects; review the diff before you commit it
# make server      the black-box suite alone; T=etcdctl runs one part
# make cluster     clusters of processes: faults, restarts, lost disks; T=chaos runs one part
# make fuzz        fuzz every decoder for SECONDS=60 each; T=http1 runs one
# make sim         whole clusters in a false world for SECONDS=60; SEED=7 replays one, step by step
# make mutants     puts known bugs into Raft, one at a time: its simulator has to find each
# make race        unit tests and a server run under ThreadSanitizer
# make page        the page at /ui/ in Chromium: main paths, accessibility; PICTURES=docs/ui makes new ones
# make conformance the black-box suite, and those of packaged clients, on Debian's etcd and ./confman
# make formal      spin checks the model of Raft: minutes; T=ask_early runs one search
# make soak        what takes long: 50 kill rounds, 100,000 compared operations, 60 s of each fuzz
# make bench       ./confman beside Debian's etcd on this machine; NODES=3: clusters of both
# make cover       line coverage of the unit tests and of the black-box suite
# make libconfman  the C client library: build/lib/libconfman.so and .a
# make install     binary, library, systemd unit, man page, completions under DESTDIR and PREFIX (/usr/local)
# make docs        what is made from tables: docs/reference, the man page
# make format      lay out the C code by .clang-format
# make clean       delete what was built
# make help        print this
MODE  ?= release
CC_fuzz = clang-14
CC     = $(or $(CC_$(MODE)),gcc)
WARN   = -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wshadow -Wconversion -Wstrict-prototypes \
         -Wmissing-prototypes -Wvla -Wpointer-arith -Wcast-qual -Wundef -Wformat=2 -Wswitch-enum \
         -Wimplicit-fallthrough
FLAGS_release = -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
FLAGS_asan    = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan    = -O1 -g -fsanitize=thread
FLAGS_cov     = -O0 -g --coverage -fprofile-update=atomic
FLAGS_fuzz    = -O1 -g -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
O      = build/$(MODE)
CFLAGS = $(WARN) $(FLAGS_$(MODE)) $(DEFINES) -Isrc -I$O/gen -MMD -MP
LIBS   = -lnghttp2 -lssl -lcrypto -ljansson -lwslay -lyaml -lz -lcrypt -lpcre2-8 -lcurl -lpthread
PREFIX ?= /usr/local
JOBS   = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

ONLY  ?= src
SRC  := $(shell find $(ONLY) -name '*.c' ! -name '*_test.c' ! -name '*_fuzz.c' ! -name main.c)
TEST := $(shell find $(ONLY) -name '*_test.c') tests/sim/linear_test.c
FUZZ := $(shell find $(ONLY) -name '*_fuzz.c')
# Made from proto/: the protobuf codec, before anything that includes it.
PROTO := $(basename $(notdir $(wildcard proto/*.proto)))
GEN    = $(PROTO:%=$O/gen/wire/protobuf/%_pb)
OBJ    = $(SRC:%.c=$O/%.o) $(addsuffix .o,$(if $(findstring wire/protobuf,$(SRC)),$(GEN)))
# What a decoder may need: fuzz targets link nothing that touches the outside world.
PURE  = $(filter-out $O/src/io/% $O/src/node/% $O/src/cli/% $O/src/confman/%,$(OBJ)) \
        $(filter %/confman/decode.o %/confman/cache.o,$(OBJ))
runner = $(patsubst %.c,$O/%.o,$(wildcard tests/$1/*.c))

all: ; +@$(MAKE) --no-print-directory $(JOBS) confman
confman: build/release/confman ; @cp $< $@.new && mv $@.new $@ # one may be running
$O/confman: $(OBJ) $O/src/main.o ; $(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$O/unit: $(OBJ) $(TEST:%.c=$O/%.o) $O/tests/sim/linear.o $O/tests/unit_main.o ; $(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$O/story $O/perf: $O/%: $(OBJ) ; $(CC) $(CFLAGS) -o $@ $^ $(LIBS)
# JSON Schema's own test suite: schema_suite DIR.
$O/schema_suite: $(filter $O/src/base/% $O/src/wire/jdoc/% $O/src/wire/protobuf/% $O/src/core/schema/%,$(OBJ))
	$(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$O/schema_suite: $(call runner,schema)
# tests/crash has a disk of its own.
$O/crash: $(filter-out $O/src/io/file/file.o,$(OBJ)) ; $(CC) $(CFLAGS) -o $@ $^ $(LIBS)
# Checks a history written by a test: linear FILE...
$O/linear: $(filter $O/src/base/%,$(OBJ)) $(addprefix $O/tests/sim/,linear.o linear_main.o)
	$(CC) $(CFLAGS) -o $@ $^
# Many subscribers of /v1/subscribe and a publisher: see its head.
$O/subscribers: $(filter $O/src/base/%,$(OBJ)) $(call runner,push) ; $(CC) $(CFLAGS) -o $@ $^
# Raft alone, with nothing else that could go wrong.
$O/sim_raft: $(filter $O/src/base/% $O/src/core/raft/%,$(OBJ)) ; $(CC) $(CFLAGS) -o $@ $^
$O/sim_raft: $(call runner,sim/raft)
# libconfman. Position-independent objects of its own mode; nothing leaves it but confman_*. The
# static one is one object, so that its insides cannot meet anybody else's names.
FLAGS_lib = -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong -fPIC -fvisibility=hidden \
            -ffunction-sections -fdata-sections
LIB      = $(patsubst %.c,$O/%.o,$(foreach d,$(LIB_OF),$(wildcard src/$d/*.c)))
LIB_OF   = base confman core/flag io/file io/loop io/monitor io/tcp io/tls wire/grpc wire/http \
           wire/http2 wire/jdoc wire/protobuf
LIB_SRC  = $(filter-out %_test.o %_fuzz.o,$(LIB)) $(addsuffix .o,$(GEN))
LIB_USES = -lnghttp2 -lssl -lcrypto -lz -lpthread -lm
SOVERSION = 0
VERSION  = $(shell sed -n 's/.*CONFMAN_VERSION "\(.*\)"/\1/p' src/base/version.h)
LIBRARY  = build/lib/libconfman.so.$(SOVERSION) build/lib/libconfman.a
# tests/client/driver.c with the library of any mode in it: for sanitizers.
$O/tests/client/driver.o: CFLAGS += -Isrc/confman -Wno-conversion
$O/driver: $(LIB_SRC) $O/tests/client/driver.o ; $(CC) $(CFLAGS) -o $@ $^ $(LIB_USES)
libconfman: ; +@$(MAKE) --no-print-directory $(JOBS) MODE=lib $(LIBRARY)
build/lib/libconfman.so.$(SOVERSION): $(LIB_SRC)
	$(CC) -shared -o $@ $^ -Wl,-soname,$(@F),--gc-sections,-z,defs,-z,now $(LIB_USES)
	@ln -sf $(@F) build/lib/libconfman.so
build/lib/libconfman.a: $(LIB_SRC)
	@ld -r -o build/lib/libconfman.o $^
	@objcopy --localize-hidden build/lib/libconfman.o
	@rm -f $@ && ar rcs $@ build/lib/libconfman.o
# Whole nodes; the outside world is false, and so is the clock of log lines. Of io only TLS is left,
# which nobody uses there.
FALSE = $(addprefix $O/src/,io/file/% io/loop/% io/tcp/% io/thread/% io/monitor/% node/slog.o cli/% \
        confman/%)
$O/sim_world: $(filter-out $(FALSE),$(OBJ)) $O/tests/sim/linear.o
	$(CC) $(CFLAGS) -Wl,--wrap=alloc_heap -o $@ $^ $(LIBS)
$O/sim_world: $(call runner,sim/world)
$O/story: $(call runner,story)
$O/crash: $(call runner,crash)
$O/perf: $(call runner,perf)
$O/%_fuzz: $O/%_fuzz.o $(PURE)
	$(CC) $(CFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)
$O/%.o: %.c | $(addsuffix .h,$(GEN)) ; @mkdir -p $(@D) ; $(CC) $(CFLAGS) -c -o $@ $<
$O/gen/wire/protobuf/%_pb.o: $O/gen/wire/protobuf/%_pb.c ; $(CC) $(CFLAGS) -c -o $@ $<
$O/gen/wire/protobuf/%_pb.h $O/gen/wire/protobuf/%_pb.c: proto/%.proto tools/protogen.py
	@python3 tools/protogen.py $< $(@D)
# The web page stands in the binary.
$O/gen/node/page_files.h: tools/embed.py $(wildcard web/*) ; @python3 tools/embed.py web $@
$O/src/node/page.o: $O/gen/node/page_files.h
# All fuzz targets in one, without a fuzzer, for the normal check.
TARGETS = $(patsubst %_fuzz.c,%,$(notdir $(FUZZ)))
$O/replay/%_fuzz.o: %_fuzz.c | $(addsuffix .h,$(GEN))
	@mkdir -p $(@D) ; $(CC) $(CFLAGS) -DLLVMFuzzerTestOneInput=fuzz_$(patsubst %_fuzz.c,%,$(<F)) -c -o $@ $<
$O/tests/replay.o: CFLAGS += -DTARGETS="$(foreach t,$(TARGETS),X($t))"
$O/tests/replay.o: $(FUZZ)
$O/replay/run: $(FUZZ:%.c=$O/replay/%.o) $O/tests/replay.o $(PURE) ; $(CC) $(CFLAGS) -o $@ $^ $(LIBS)
objects: $(OBJ)
fuzzers: $(FUZZ:%.c=$O/%)

run:
	@tools/deps.sh build
	+@$(MAKE) --no-print-directory all
	@contrib/run

test:
	@tools/deps.sh test
	+@tests/run.sh
tidy:
	+@$(MAKE) --no-print-directory $(JOBS) MODE=release objects
	@tools/tidy.sh
unit:
	+@$(MAKE) --no-print-directory $(JOBS) MODE=asan build/asan/unit
	@build/asan/unit $(T)
stories:
	+@$(MAKE) --no-print-directory $(JOBS) MODE=asan build/asan/story
	@build/asan/story --rewrite && git diff --stat -- tests/story
server: all
	@tools/deps.sh test
	@/usr/bin/python3 tests/server/run.py $(T)
cluster: all
	@tools/deps.sh test
	+@$(MAKE) --no-print-directory $(JOBS) build/release/linear build/release/subscribers
	@/usr/bin/python3 tests/cluster/run.py $(T)
fuzz:
	@tools/deps.sh test
	+@$(MAKE) --no-print-directory $(JOBS) MODE=fuzz fuzzers
	@tests/run_fuzz.sh $(or $(SECONDS),60) $(T)
sim:
	+@$(MAKE) --no-print-directory $(JOBS) MODE=asan build/asan/sim_world
	@build/asan/sim_world $(if $(SEED),--seed $(SEED) --trace,--first $$(date +%s) \
		--seconds $(or $(SECONDS),60))
mutants:
	@tools/deps.sh build
	@tests/sim/raft/mutants.py $(T)
race:
	@tools/deps.sh test
	+@$(MAKE) --no-print-directory $(JOBS) MODE=tsan build/tsan/unit build/tsan/confman \
		build/tsan/driver
	@build/tsan/unit $(T)
	@CONFMAN_DRIVER=build/tsan/driver /usr/bin/python3 tests/server/run.py client
	@CONFMAN_BIN=build/tsan/confman /usr/bin/python3 tests/server/run.py \
		python http rest stream hostile door full login
conformance: all
	@tools/deps.sh conformance
	@/usr/bin/python3 tests/server/run.py --target etcd
	@/usr/bin/python3 tests/server/run.py
	@/usr/bin/python3 tests/server/packaged.py
	@/usr/bin/python3 tests/server/openfeature.py
	@/usr/bin/python3 tests/server/node_vault.py
	@/usr/bin/python3 tests/server/flag_suite.py
	+@tests/schema/run
	@/usr/bin/python3 tests/web/run.py
	@cd contrib/prometheus && promtool check rules alerts.yml && promtool test rules alerts_test.yml
page: all
	@tools/deps.sh conformance
	@/usr/bin/python3 tests/web/run.py $(if $(PICTURES),--pictures $(PICTURES)) $(T)
formal:
	@tools/deps.sh soak
	@tests/formal/run $(T)
soak: all
	@tools/deps.sh soak
	@tests/formal/run
	+@$(MAKE) --no-print-directory $(JOBS) MODE=asan build/asan/sim_raft build/asan/sim_world
	@tests/sim/soak.sh $(or $(SECONDS),600)
	+@$(MAKE) --no-print-directory mutants
	+@$(MAKE) --no-print-directory $(JOBS) build/release/linear build/release/perf build/release/subscribers \
		build/release/driver
	+@$(MAKE) --no-print-directory $(JOBS) MODE=asan build/asan/confman
	@/usr/bin/python3 tests/cluster/run.py --long --seconds $(or $(SECONDS),600)
	@CONFMAN_BIN=build/asan/confman /usr/bin/python3 tests/cluster/chaos.py \
		--seconds $(or $(SECONDS),600)
	@/usr/bin/python3 tests/server/kill.py --rounds 50
	@/usr/bin/python3 tests/server/differ.py --ops 100000
	@/usr/bin/python3 tests/server/auth_differ.py --ops 100000
	+@$(MAKE) --no-print-directory fuzz SECONDS=60
bench: all
	@test -x tests/perf/run || { echo "bench: tests/perf/run is missing from this tree"; exit 1; }
	@tools/deps.sh test
	+@$(MAKE) --no-print-directory $(JOBS) build/release/perf build/release/subscribers
	@tests/perf/run $(if $(NODES),--nodes $(NODES))
	@/usr/bin/python3 tests/cluster/push.py --measure
cover:
	@tools/deps.sh cover
	+@$(MAKE) --no-print-directory $(JOBS) MODE=cov build/cov/unit build/cov/confman
	@find build/cov -name '*.gcda' -delete
	@build/cov/unit && CONFMAN_BIN=build/cov/confman /usr/bin/python3 tests/server/run.py && gcovr -r . --object-directory build/cov -e '.*_test.c' -e tests -s
install: all libconfman
	install -D -m 755 confman $(DESTDIR)$(PREFIX)/bin/confman
	install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/include
	install -m 755 build/lib/libconfman.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib
	ln -sf libconfman.so.$(SOVERSION) $(DESTDIR)$(PREFIX)/lib/libconfman.so
	install -m 644 build/lib/libconfman.a $(DESTDIR)$(PREFIX)/lib
	install -m 644 src/confman/confman.h $(DESTDIR)$(PREFIX)/include
	sed 's:@PREFIX@:$(PREFIX):; s:@VERSION@:$(VERSION):' src/confman/libconfman.pc.in \
		>$(DESTDIR)$(PREFIX)/lib/pkgconfig/libconfman.pc
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/share/man/man1
	sed 's:/usr/bin/:$(PREFIX)/bin/:' contrib/confman.service \
		>$(DESTDIR)$(PREFIX)/lib/systemd/system/confman.service
	install -m 644 docs/confman.1 $(DESTDIR)$(PREFIX)/share/man/man1/confman.1
	@for s in bash:bash-completion/completions/confman zsh:zsh/site-functions/_confman \
		fish:fish/vendor_completions.d/confman.fish; do \
		./confman completion $${s%%:*} | \
			install -D -m 644 /dev/stdin $(DESTDIR)$(PREFIX)/share/$${s#*:}; done
DOCS = parameters metrics rest errors peer push cli etcd-flags
docs: all
	@mkdir -p docs/reference
	@for d in $(DOCS); do ./confman docs $$d >docs/reference/$$d.md || exit 1; done
	@./confman docs man >docs/confman.1
format:
	@tools/deps.sh format
	clang-format-14 -i $$(git ls-files '*.c' '*.h')
help: ; @sed -n 's/^# make/make/p' Makefile
clean: ; rm -rf build confman
.PHONY: all libconfman objects fuzzers run test tidy unit stories server cluster fuzz mutants race page conformance formal soak bench cover install \
        docs format help clean
# What is generated is kept, also when a build stops half-way.
.SECONDARY:
-include $(shell find build -name '*.d' 2>/dev/null)
