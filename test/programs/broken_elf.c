// Breaks each field of a static program's ELF and program headers in turn, executes the result and
// prints what became of it: the errno of execve, the exit status or the signal.
#include <elf.h>
#include <errno.h>
#include <stddef.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static uint8_t* image;
static size_t image_size;

static void Execute(const char* what, const uint8_t* data, size_t size) {
  const int fd = open("victim", O_WRONLY | O_CREAT | O_TRUNC, 0700);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size) exit(3);
  close(fd);
  fflush(stdout);
  int report[2];
  if (pipe(report) != 0) exit(3);
  const pid_t child = fork();
  if (child == 0) {
    char* const arguments[] = {"victim", "exit", NULL};
    char* const environment[] = {NULL};
    fcntl(report[1], F_SETFD, FD_CLOEXEC);
    const struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    alarm(10);
    execve("./victim", arguments, environment);
    const int error = errno;
    if (write(report[1], &error, sizeof error) < 0) _exit(2);
    _exit(0);
  }
  close(report[1]);
  int error = 0;
  const ssize_t n = read(report[0], &error, sizeof error);
  close(report[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (n == sizeof error) {
    printf("%s: errno %d\n", what, error);
  } else if (WIFSIGNALED(status)) {
    printf("%s: signal %d\n", what, WTERMSIG(status));
  } else {
    printf("%s: exit %d\n", what, WEXITSTATUS(status));
  }
  unlink("victim");
}

static void Patch(const char* what, size_t offset, size_t width, uint64_t value) {
  uint8_t* copy = malloc(image_size);
  memcpy(copy, image, image_size);
  memcpy(copy + offset, &value, width);
  char label[120];
  snprintf(label, sizeof label, "%s = %llx", what, (unsigned long long)value);
  Execute(label, copy, image_size);
  free(copy);
}

#define EHDR(field, value) Patch(#field, offsetof(Elf64_Ehdr, field), \
                                 sizeof(((Elf64_Ehdr*)0)->field), value)
#define PHDR(index, field, value) Patch("phdr" #index " " #field, \
    sizeof(Elf64_Ehdr) + index * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, field), \
    sizeof(((Elf64_Phdr*)0)->field), value)

static void Truncations(void) {
  const size_t sizes[] = {0, 1, 4, 15, 16, 63, 64, 65, 119, 120, 200, 4096};
  for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
    char label[40];
    snprintf(label, sizeof label, "first %zu bytes", sizes[i]);
    Execute(label, image, sizes[i]);
  }
}

int main(int argc, char** argv) {
  if (argc > 1 && strcmp(argv[1], "exit") == 0) return 7;
  const int fd = open(argv[0], O_RDONLY);
  struct stat st;
  if (fd < 0 || fstat(fd, &st) != 0) return 1;
  image_size = st.st_size;
  image = malloc(image_size);
  if (read(fd, image, image_size) != (ssize_t)image_size) return 1;
  Execute("unchanged", image, image_size);
  Truncations();
  for (int i = 0; i < 4; i++) Patch("magic", i, 1, 0x20);
  Patch("class", EI_CLASS, 1, ELFCLASS32);
  Patch("class", EI_CLASS, 1, 9);
  Patch("data", EI_DATA, 1, ELFDATA2MSB);
  Patch("ident version", EI_VERSION, 1, 9);
  Patch("osabi", EI_OSABI, 1, 99);
  EHDR(e_type, ET_NONE);
  EHDR(e_type, ET_REL);
  EHDR(e_type, ET_CORE);
  EHDR(e_type, 0xffff);
  EHDR(e_machine, EM_AARCH64);
  EHDR(e_machine, 0);
  EHDR(e_version, 99);
  EHDR(e_entry, 0);
  EHDR(e_entry, 0xffffffff80000000);
  EHDR(e_entry, 0x800000000000);
  EHDR(e_phoff, 0);
  EHDR(e_phoff, 1);
  EHDR(e_phoff, ~0ull);
  EHDR(e_phoff, 1ull << 40);
  EHDR(e_shoff, ~0ull);
  EHDR(e_flags, ~0u);
  EHDR(e_ehsize, 0);
  EHDR(e_phentsize, 0);
  EHDR(e_phentsize, 55);
  EHDR(e_phentsize, 57);
  EHDR(e_phnum, 0);
  EHDR(e_phnum, 0xffff);
  EHDR(e_phnum, 1200);
  EHDR(e_shentsize, 1);
  EHDR(e_shnum, 0xffff);
  PHDR(0, p_type, PT_NULL);
  PHDR(0, p_type, PT_INTERP);
  PHDR(0, p_offset, 1);
  PHDR(0, p_offset, ~0xfffull);
  PHDR(0, p_vaddr, 0);
  PHDR(0, p_vaddr, 0x7ffffffff000);
  PHDR(0, p_vaddr, 0xffffffff80000000);
  PHDR(0, p_filesz, ~0ull);
  PHDR(0, p_filesz, 1ull << 46);
  PHDR(0, p_memsz, 0);
  PHDR(0, p_memsz, ~0ull);
  PHDR(0, p_memsz, 1ull << 47);
  PHDR(0, p_align, 3);
  PHDR(0, p_align, 0);
  PHDR(1, p_flags, 0);
  PHDR(1, p_flags, PF_R);
  PHDR(1, p_vaddr, 0x1000);
  PHDR(1, p_offset, 0x10);
  PHDR(3, p_memsz, 1);
  PHDR(3, p_memsz, 1ull << 46);
  PHDR(3, p_flags, PF_R);
  return 0;
}
