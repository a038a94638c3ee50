// Files: by name, by descriptor, directories, and whole reads.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench/micro/guest.h"

enum { kEntries = 100, kBlock = 4096, kBlocks = 256 };
static char buffer[64 << 10];
static int fd;

// The program's own file: it is on the root that the runtime gives to programs.
static void OpenReadClose(long n) {
  for (long i = 0; i < n; i++) {
    const int file = open(self_path, O_RDONLY);
    if (file < 0 || read(file, buffer, 64) != 64 || close(file) != 0) Fail(self_path);
  }
}

static void Stat(long n) {
  struct stat s;
  for (long i = 0; i < n; i++) {
    if (stat(self_path, &s) != 0) Fail(self_path);
  }
}

static void SetUpDirectory(void) {
  char path[4200];
  for (int i = 0; i < kEntries; i++) {
    snprintf(path, sizeof path, "%s/file%d", ScratchDirectory(), i);
    const int file = open(path, O_CREAT | O_WRONLY, 0600);
    if (file < 0) Fail(path);
    close(file);
  }
  fd = open(ScratchDirectory(), O_RDONLY | O_DIRECTORY);
  if (fd < 0) Fail("directory");
}

// A directory of 100 entries from begin to end.
static void Getdents(long n) {
  for (long i = 0; i < n; i++) {
    if (lseek(fd, 0, SEEK_SET) != 0) Fail("lseek");
    long got;
    while ((got = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0) {
    }
    if (got < 0) Fail("getdents64");
  }
}

static void SetUpBlocks(void) {
  char path[4200];
  snprintf(path, sizeof path, "%s/blocks", ScratchDirectory());
  fd = open(path, O_CREAT | O_RDWR, 0600);
  if (fd < 0) Fail(path);
  for (int i = 0; i < kBlocks; i++) {
    if (write(fd, buffer, kBlock) != kBlock) Fail("write");
  }
}

static void Pread(long n) {
  for (long i = 0; i < n; i++) {
    if (pread(fd, buffer, kBlock, (i % kBlocks) * kBlock) != kBlock) Fail("pread");
  }
}

static void Pwrite(long n) {
  for (long i = 0; i < n; i++) {
    if (pwrite(fd, buffer, kBlock, (i % kBlocks) * kBlock) != kBlock) Fail("pwrite");
  }
}

static size_t piece;
static char* whole;

static void SetUpReadFile(void) {
  if (arguments[0] == NULL || arguments[1] == NULL) Unable("needs a file and a size");
  piece = (size_t)atol(arguments[1]);
  whole = malloc(piece);
  fd = open(arguments[0], O_RDONLY);
  if (fd < 0 || whole == NULL) Fail(arguments[0]);
}

// Reads the file of the first argument from begin to end, as many bytes a time as the second says.
static void ReadFile(long n) {
  for (long i = 0; i < n; i++) {
    if (lseek(fd, 0, SEEK_SET) != 0) Fail("lseek");
    ssize_t got;
    while ((got = read(fd, whole, piece)) > 0) {
    }
    if (got < 0) Fail("read");
  }
}

const struct Workload kFileWorkloads[] = {
    {.name = "open_read_close", .loop = OpenReadClose},
    {.name = "stat", .loop = Stat},
    {.name = "getdents", .setup = SetUpDirectory, .loop = Getdents},
    {.name = "pread", .setup = SetUpBlocks, .loop = Pread},
    {.name = "pwrite", .setup = SetUpBlocks, .loop = Pwrite},
    {.name = "read_128k", .setup = SetUpReadFile, .loop = ReadFile},
    {.name = "read_1m", .setup = SetUpReadFile, .loop = ReadFile},
    {0},
};
