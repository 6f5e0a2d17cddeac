build/asan/src/base/buf.o: src/base/buf.c src/base/buf.h src/base/alloc.h \
 src/base/span.h src/base/check.h
src/base/buf.h:
src/base/alloc.h:
src/base/span.h:
src/base/check.h:
