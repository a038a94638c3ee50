// execve(2): arguments and their limits, scripts, descriptors, the auxiliary vector, errors.
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <sys/auxv.h>
#include <sys/prctl.h>

#define CHECK_REENTRY
#include "check.h"

extern char** environ;

static int Status(char* const argv[], char* const envp[], const char* path) {
  const pid_t child = FORK();
  if (child == 0) {
    execve(path, argv, envp);
    _exit(200 + (errno == ENOENT) + 2 * (errno == EACCES) + 4 * (errno == E2BIG));
  }
  return WAIT_STATUS(child) >> 8;
}

#define RUN(...) Status((char*[]){(char*)check_program, __VA_ARGS__, NULL}, environ, check_program)

// Runs a script below the scratch directory with two arguments; the first line of what it prints.
static const char* Output(const char* path) {
  static char text[500];
  int ends[2];
  EXPECT(pipe(ends) == 0);
  const pid_t child = FORK();
  if (child == 0) {
    dup2(ends[1], 1);
    execl(path, "argv0", "one", "two", (char*)NULL);
    _exit(111);
  }
  close(ends[1]);
  ssize_t n = 0, got;
  while ((got = read(ends[0], text + n, sizeof text - 1 - n)) > 0) n += got;
  text[n] = 0;
  close(ends[0]);
  EXPECT_EXIT(child, 0);
  return text;
}

static void Script(const char* path, const char* text) {
  WriteFile(path, text);
  EXPECT(chmod(path, 0755) == 0);
}

// What this program does when a case executes it: exit status 0 is good.
static int Reentry(int argc, char** argv) {
  const char* what = argv[1] + 5;
  if (strcmp(what, "args") == 0) {
    return !(argc == 4 && strcmp(argv[2], "") == 0 && strcmp(argv[3], "a b") == 0 &&
             argv[4] == NULL);
  }
  if (strcmp(what, "env") == 0) {
    return !(environ[0] && strcmp(environ[0], "A=1") == 0 && environ[1] == NULL);
  }
  if (strcmp(what, "noenv") == 0) return environ[0] != NULL;
  if (strcmp(what, "fd") == 0) return fcntl(atoi(argv[2]), F_GETFD) < 0;
  if (strcmp(what, "nofd") == 0) return fcntl(atoi(argv[2]), F_GETFD) >= 0;
  if (strcmp(what, "pid") == 0) return getpid() != atoi(argv[2]);
  if (strcmp(what, "uid") == 0) return (int)geteuid() != atoi(argv[2]);
  if (strcmp(what, "secure") == 0) return getauxval(AT_SECURE) != (unsigned long)atoi(argv[2]);
  if (strcmp(what, "count") == 0) return argc - 2 != atoi(argv[2]);
  if (strcmp(what, "name") == 0) {
    char name[16];
    prctl(PR_GET_NAME, name);
    return strcmp(name, argv[2]) != 0;
  }
  return 77;
}

TEST(arguments) { EXPECT_EQ(RUN("--as-args", "", "a b"), 0); }

TEST(environment) {
  char* argv[] = {(char*)check_program, "--as-env", NULL};
  char* env[] = {"A=1", NULL};
  EXPECT_EQ(Status(argv, env, check_program), 0);
  argv[1] = "--as-noenv";
  EXPECT_EQ(Status(argv, env + 1, check_program), 0);
  EXPECT_EQ(Status(argv, NULL, check_program), 0);  // Linux takes a null pointer as empty
}

TEST(pid_stays) {
  const pid_t child = FORK();
  if (child == 0) {
    char pid[20];
    snprintf(pid, sizeof pid, "%d", getpid());
    execl(check_program, "x", "--as-pid", pid, (char*)NULL);
  }
  EXPECT_EXIT(child, 0);
}

TEST(close_on_exec) {
  char a[20], b[20];
  const int kept = OK(open("/dev/null", O_RDONLY)), closed = OK(open("/dev/null", O_CLOEXEC));
  snprintf(a, sizeof a, "%d", kept);
  snprintf(b, sizeof b, "%d", closed);
  EXPECT_EQ(RUN("--as-fd", a), 0);
  EXPECT_EQ(RUN("--as-nofd", b), 0);
}

TEST(task_name_is_the_file) {
  EXPECT(symlink(check_program, "a-long-name-of-a-program") == 0);
  char* argv[] = {"x", "--as-name", "a-long-name-of-", NULL};
  EXPECT_EQ(Status(argv, environ, "./a-long-name-of-a-program"), 0);
}

TEST(errors) {
  char* argv[] = {"x", NULL};
  WriteFile("plain", "text");
  EXPECT(mkdir("dir", 0755) == 0);
  EXPECT_ERRNO(execve("nothing", argv, environ), ENOENT);
  EXPECT_ERRNO(execve("", argv, environ), ENOENT);
  EXPECT_ERRNO(execve("plain", argv, environ), EACCES);
  EXPECT_ERRNO(execve("dir", argv, environ), EACCES);
  EXPECT_ERRNO(execve("plain/x", argv, environ), ENOTDIR);
  EXPECT(chmod("plain", 0755) == 0);
  EXPECT_ERRNO(execve("plain", argv, environ), ENOEXEC);
  WriteFile("plain", "");
  EXPECT_ERRNO(execve("plain", argv, environ), ENOEXEC);
  WriteFile("plain", "\177ELF\2\1\1");
  EXPECT_ERRNO(execve("plain", argv, environ), ENOEXEC);
  EXPECT(symlink("loop", "loop") == 0);
  EXPECT_ERRNO(execve("loop", argv, environ), ELOOP);
  EXPECT_ERRNO(syscall(SYS_execve, BAD_POINTER, argv, environ), EFAULT);
  EXPECT_ERRNO(syscall(SYS_execve, check_program, BAD_POINTER, environ), EFAULT);
  char* bad[] = {"x", BAD_POINTER, NULL};
  EXPECT_ERRNO(syscall(SYS_execve, check_program, bad, environ), EFAULT);
  EXPECT_ERRNO(syscall(SYS_execve, check_program, argv, bad), EFAULT);
}

TEST(argument_limits) {
  // One string: 32 pages with its null. All strings: a quarter of the stack's limit.
  const size_t limit = 32 * 4096;
  char* big = malloc(limit + 1);
  memset(big, 'x', limit);
  big[limit] = 0;
  char* argv[] = {(char*)check_program, "--as-count", "2", big, NULL};
  EXPECT_ERRNO(execve(check_program, argv, environ), E2BIG);
  big[limit - 1] = 0;
  EXPECT_EQ(Status(argv, environ, check_program), 0);
  char* many[40];
  for (int i = 0; i < 39; i++) many[i] = big;
  many[39] = NULL;
  EXPECT_ERRNO(execve(check_program, many, environ), E2BIG);
}

TEST(many_arguments) {
  enum { kMany = 20000 };
  char** argv = malloc((kMany + 4) * sizeof *argv);
  argv[0] = (char*)check_program, argv[1] = "--as-count", argv[2] = "20000";
  for (int i = 3; i < kMany + 2; i++) argv[i] = "argument";
  argv[kMany + 2] = NULL;
  EXPECT_EQ(Status(argv, environ, check_program), 0);
}

TEST(script) {
  Script("s", "#!/bin/busybox sh\necho $0 $1 $2 $#\n");
  EXPECT_STR(Output("./s"), "./s one two 2\n");
}

TEST(script_argument_is_one_word) {
  Script("a", "#!/bin/busybox echo\n");
  char cwd[4000], text[5000], want[5000];
  EXPECT(getcwd(cwd, sizeof cwd) != NULL);
  snprintf(text, sizeof text, "#! \t%s/a \t two  words \t \nignored\n", cwd);
  Script("b", text);
  snprintf(want, sizeof want, "%s/a two  words ./b one two\n", cwd);
  EXPECT_STR(Output("./b"), want);
}

TEST(script_of_a_script) {
  char text[5000];
  Script("a", "#!/bin/busybox echo\n");
  char cwd[4096];
  EXPECT(getcwd(cwd, sizeof cwd) != NULL);
  snprintf(text, sizeof text, "#!%s/a x\n", cwd);
  Script("b", text);
  char want[9000];
  snprintf(want, sizeof want, "%s/a x ./b one two\n", cwd);
  EXPECT_STR(Output("./b"), want);
  snprintf(text, sizeof text, "#!%s/loop\n", cwd);
  Script("loop", text);
  EXPECT_ERRNO(execl("./loop", "x", (char*)NULL), ELOOP);
}

TEST(script_errors) {
  Script("a", "#!/nothing/here\n");
  EXPECT_ERRNO(execl("./a", "x", (char*)NULL), ENOENT);
  Script("b", "#!\n");
  EXPECT_ERRNO(execl("./b", "x", (char*)NULL), ENOEXEC);
  Script("c", "#!/etc/passwd\n");
  EXPECT_ERRNO(execl("./c", "x", (char*)NULL), EACCES);
  char text[600] = "#!/";
  memset(text + 3, 'l', 400);
  Script("d", text);
  EXPECT_ERRNO(execl("./d", "x", (char*)NULL), ENOEXEC);
}

TEST(execveat) {
  const int fd = open(check_program, O_PATH);
  char* argv[] = {"x", "--as-noenv", NULL};
  char* env[] = {NULL};
  pid_t child = FORK();
  if (child == 0) {
    syscall(SYS_execveat, fd, "", argv, env, AT_EMPTY_PATH);
    _exit(99);
  }
  EXPECT_EXIT(child, 0);
  EXPECT_ERRNO(syscall(SYS_execveat, fd, "", argv, env, 0), ENOENT);
  EXPECT_ERRNO(syscall(SYS_execveat, fd, "x", argv, env, 0), ENOTDIR);
  EXPECT_ERRNO(syscall(SYS_execveat, 999, "x", argv, env, 0), EBADF);
  EXPECT_ERRNO(syscall(SYS_execveat, AT_FDCWD, check_program, argv, env, 0x40), EINVAL);
  EXPECT(symlink(check_program, "s") == 0);
  EXPECT_ERRNO(syscall(SYS_execveat, AT_FDCWD, "s", argv, env, AT_SYMLINK_NOFOLLOW), ELOOP);
}

TEST(auxiliary_vector) {
  EXPECT_EQ(getauxval(AT_PAGESZ), 4096);
  EXPECT_EQ(getauxval(AT_CLKTCK), 100);
  EXPECT_EQ(getauxval(AT_UID), 0);
  EXPECT_EQ(getauxval(AT_EGID), 0);
  EXPECT_EQ(getauxval(AT_SECURE), 0);
  EXPECT_EQ(getauxval(AT_PHENT), sizeof(ElfW(Phdr)));
  const ElfW(Phdr)* headers = (const void*)getauxval(AT_PHDR);
  int loads = 0;
  for (unsigned i = 0; i < getauxval(AT_PHNUM); i++) loads += headers[i].p_type == PT_LOAD;
  EXPECT(loads >= 2);
  extern void _start(void);
  EXPECT_EQ(getauxval(AT_ENTRY), (uintptr_t)_start);
  EXPECT_STR((const char*)getauxval(AT_PLATFORM), "x86_64");
  const uint64_t* random = (const void*)getauxval(AT_RANDOM);
  EXPECT(random[0] != 0 && random[1] != 0);
  EXPECT(getauxval(AT_EXECFN) != 0);
  EXPECT(getauxval(AT_HWCAP) != 0);
  EXPECT(getauxval(AT_MINSIGSTKSZ) >= 1024);
}

TEST(text_file_busy) {
  char buffer[65536];
  const int in = open(check_program, O_RDONLY);
  const int out = open("copy", O_CREAT | O_WRONLY, 0755);
  ssize_t n;
  while ((n = read(in, buffer, sizeof buffer)) > 0) EXPECT_EQ(write(out, buffer, n), n);
  char* argv[] = {"x", "--as-noenv", NULL};
  char* env[] = {NULL};
  EXPECT_ERRNO(execve("./copy", argv, env), ETXTBSY);
  close(out);
  EXPECT_EQ(Status(argv, env, "./copy"), 0);
}

TEST(setuid_program) {
  char buffer[65536];
  const int in = open(check_program, O_RDONLY);
  const int out = open("copy", O_CREAT | O_WRONLY, 0755);
  ssize_t n;
  while ((n = read(in, buffer, sizeof buffer)) > 0) EXPECT_EQ(write(out, buffer, n), n);
  close(out);
  EXPECT(chown("copy", 1234, 1234) == 0 && chmod("copy", 04755) == 0);
  char* argv[] = {"x", "--as-uid", "1234", NULL};
  EXPECT_EQ(Status(argv, environ, "./copy"), getauxval(AT_SECURE) ? 1 : 0);
  argv[1] = "--as-secure", argv[2] = "1";
  EXPECT_EQ(Status(argv, environ, "./copy"), 0);
  IN_CHILD({
    EXPECT(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    argv[1] = "--as-uid", argv[2] = "0";
    EXPECT_EQ(Status(argv, environ, "./copy"), 0);
  });
}

TEST(no_execute_permission) {
  char* argv[] = {"x", NULL};
  Script("s", "#!/bin/busybox true\n");
  EXPECT(chmod("s", 0644) == 0);
  EXPECT_ERRNO(execve("./s", argv, environ), EACCES);
  EXPECT(chmod("s", 0700) == 0);
  IN_CHILD({
    EXPECT(setresuid(1000, 1000, 1000) == 0);
    EXPECT_ERRNO(execve("./s", argv, environ), EACCES);
  });
  EXPECT_ERRNO(execve("/proc/self/maps", argv, environ), EACCES);
}

static int ExecInThread(void* unused) {
  (void)unused;
  execl(check_program, "x", "--as-args", "", "a b", (char*)NULL);
  syscall(SYS_exit_group, 9);
  return 0;
}

TEST(exec_from_a_thread_keeps_the_pid) {
  static char stack[65536] __attribute__((aligned(16)));
  const pid_t child = FORK();
  if (child == 0) {
    OK(clone(ExecInThread, stack + sizeof stack,
             CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD, NULL));
    for (;;) pause();
  }
  EXPECT_EXIT(child, 0);
}

TEST(empty_argv_gets_a_name) {
  char* none[] = {NULL};
  // Linux since 5.18 makes argv[0] an empty string: main() runs all cases of no name.
  Script("s", "#!/bin/busybox true\n");
  EXPECT_EQ(Status(none, environ, "./s"), 0);
}
