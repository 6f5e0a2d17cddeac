build/asan/src/base/err.o: src/base/err.c src/base/err.h src/base/err.def \
 src/base/check.h
src/base/err.h:
src/base/err.def:
src/base/check.h:
