build/asan/src/base/crc.o: src/base/crc.c src/base/crc.h
src/base/crc.h:
