# make            build ./confman
# make test       unit tests + simulator + tidy, with sanitizers
# make help       everything else
MODE  ?= release
CC     = gcc
WARN   = -std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror -Wshadow -Wconversion -Wstrict-prototypes \
         -Wmissing-prototypes -Wvla -Wpointer-arith -Wcast-qual -Wundef -Wformat=2 -Wswitch-enum \
         -Wimplicit-fallthrough
FLAGS_release = -O2 -g -D_FORTIFY_SOURCE=2 -fstack-protector-strong
FLAGS_asan    = -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
FLAGS_tsan    = -O1 -g -fsanitize=thread
FLAGS_cov     = -O0 -g --coverage
O      = build/$(MODE)
CFLAGS = $(WARN) $(FLAGS_$(MODE)) -Isrc -I$O/gen -MMD -MP
LIBS   = -lnghttp2 -lssl -lcrypto -ljansson -lwslay -lyaml -lpthread

ONLY  ?= src
SRC  := $(shell find $(ONLY) -name '*.c' ! -name '*_test.c' ! -name '*_fuzz.c' ! -name main.c)
TEST := $(shell find $(ONLY) -name '*_test.c')
OBJ   = $(SRC:%.c=$O/%.o)

$O/unit: $(OBJ) $(TEST:%.c=$O/%.o) $O/tests/unit_main.o ; $(CC) $(CFLAGS) -o $@ $^ $(LIBS)
$O/%.o: %.c ; @mkdir -p $(@D) ; $(CC) $(CFLAGS) -c -o $@ $<
-include $(shell find build -name '*.d' 2>/dev/null)
