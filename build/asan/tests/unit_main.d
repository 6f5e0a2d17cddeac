build/asan/tests/unit_main.o: tests/unit_main.c src/base/test.h
src/base/test.h:
