build/asan/src/base/arena.o: src/base/arena.c src/base/arena.h \
 src/base/alloc.h src/base/span.h src/base/check.h
src/base/arena.h:
src/base/alloc.h:
src/base/span.h:
src/base/check.h:
