build/asan/src/base/base_test.o: src/base/base_test.c src/base/arena.h \
 src/base/alloc.h src/base/span.h src/base/buf.h src/base/crc.h \
 src/base/err.h src/base/err.def src/base/map.h src/base/prng.h \
 src/base/test.h src/base/vec.h
src/base/arena.h:
src/base/alloc.h:
src/base/span.h:
src/base/buf.h:
src/base/crc.h:
src/base/err.h:
src/base/err.def:
src/base/map.h:
src/base/prng.h:
src/base/test.h:
src/base/vec.h:
