build/asan/src/base/check.o: src/base/check.c src/base/check.h
src/base/check.h:
