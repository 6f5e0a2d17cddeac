build/asan/src/base/map.o: src/base/map.c src/base/map.h src/base/alloc.h \
 src/base/check.h
src/base/map.h:
src/base/alloc.h:
src/base/check.h:
