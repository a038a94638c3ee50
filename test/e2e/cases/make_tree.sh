# shell: /bin/bash
# timeout: 400
# part: long
# The programs of test/syscalls, with a Makefile of the usual kind. Two compilers run at once and end in
# any order, on Linux too: what they say goes into a file each, and is read in the order of names.
cp "$SOURCES"/syscalls/*.c "$SOURCES"/syscalls/*.h .
cat > Makefile <<'MAKE'
SOURCES := $(sort $(wildcard *.c))
PROGRAMS := $(SOURCES:.c=)
CFLAGS := -O1 -g -D_GNU_SOURCE -pthread
all: $(PROGRAMS) check
%: %.c
%.o: %.c $(wildcard *.h)
	@$(CC) $(CFLAGS) -MMD -c -o $@ $< 2> $*.said
%: %.o
	@$(CC) -pthread -o $@ $< -lrt
check: $(PROGRAMS)
	@echo $(words $(PROGRAMS)) programs > $@; cat $@
sub:
	@$(MAKE) -s -C . clean
clean:
	@rm -f *.o *.d *.said $(PROGRAMS) check
.PHONY: all clean sub
.SECONDARY:
-include *.d
MAKE
make -j2 2>&1; echo "status $?"; cat *.said
make -j2 2>&1; touch signals.c; make -n 2>&1 | wc -l
make -j2 2>&1; make sub; ls | wc -l
make nothing; echo "status $?"
