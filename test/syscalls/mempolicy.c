// set_mempolicy(2), get_mempolicy(2), mbind(2), on a machine with one memory node.
#include <linux/mempolicy.h>

#include "check.h"

enum { PAGE = 4096, WORD = 64 };

static const unsigned long node0 = 1, node1 = 2, both = 3;

static long Set(int mode, const void* nodes, unsigned long max) {
  return syscall(SYS_set_mempolicy, mode, nodes, max);
}

static long Bind(void* at, unsigned long length, int mode, const void* nodes, unsigned flags) {
  return syscall(SYS_mbind, at, length, mode, nodes, (long)WORD, flags);
}

static void ExpectPolicyAt(int line, void* at, unsigned long flags, int mode, unsigned long nodes) {
  int got = -1;
  unsigned long mask[2] = {~0ul, ~0ul};
  if (syscall(SYS_get_mempolicy, &got, mask, 2 * WORD, at, flags) != 0) {
    Fail(__FILE__, line, "get_mempolicy: %s", strerrorname_np(errno));
  }
  if (got != mode || mask[0] != nodes || mask[1] != 0) {
    Fail(__FILE__, line, "mode %#x nodes %#lx %#lx", got, mask[0], mask[1]);
  }
}

#define EXPECT_POLICY(mode, nodes) ExpectPolicyAt(__LINE__, NULL, 0, mode, nodes)
#define EXPECT_POLICY_AT(at, mode, nodes) ExpectPolicyAt(__LINE__, at, MPOL_F_ADDR, mode, nodes)

static char* Pages(int count) {
  char* at = mmap(NULL, count * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  EXPECT(at != MAP_FAILED);
  return at;
}

TEST(default_policy) {
  EXPECT_POLICY(MPOL_DEFAULT, 0);
  EXPECT_POLICY_AT(check_verdict, MPOL_DEFAULT, 0);
  EXPECT_EQ(syscall(SYS_get_mempolicy, NULL, NULL, 0, NULL, 0), 0);  // numa_available(3)
  ExpectPolicyAt(__LINE__, NULL, MPOL_F_MEMS_ALLOWED, 0, node0);
}

TEST(set_mempolicy) {
  OK(Set(MPOL_BIND, &node0, WORD));
  EXPECT_POLICY(MPOL_BIND, node0);
  OK(Set(MPOL_INTERLEAVE, &both, WORD));  // nodes that are not there are left out
  EXPECT_POLICY(MPOL_INTERLEAVE, node0);
  ExpectPolicyAt(__LINE__, NULL, MPOL_F_NODE, 0, node0);
  OK(Set(MPOL_INTERLEAVE | MPOL_F_STATIC_NODES, &both, WORD));
  EXPECT_POLICY(MPOL_INTERLEAVE | MPOL_F_STATIC_NODES, both);
  OK(Set(MPOL_BIND | MPOL_F_RELATIVE_NODES, &node1, WORD));
  EXPECT_POLICY(MPOL_BIND | MPOL_F_RELATIVE_NODES, node1);
  OK(Set(MPOL_PREFERRED, NULL, 0));
  EXPECT_POLICY(MPOL_LOCAL, 0);
  OK(Set(MPOL_PREFERRED, &node0, WORD));
  EXPECT_POLICY(MPOL_PREFERRED, node0);
  OK(Set(MPOL_DEFAULT, NULL, 0));
  EXPECT_POLICY(MPOL_DEFAULT, 0);
}

TEST(set_mempolicy_errors) {
  EXPECT_ERRNO(Set(-1, &node0, WORD), EINVAL);
  EXPECT_ERRNO(Set(99, &node0, WORD), EINVAL);
  EXPECT_ERRNO(Set(MPOL_BIND, NULL, 0), EINVAL);
  EXPECT_ERRNO(Set(MPOL_BIND, &node1, WORD), EINVAL);
  EXPECT_ERRNO(Set(MPOL_BIND, &node0, 1), EINVAL);  // a mask of no bits
  OK(Set(MPOL_BIND, &node0, 2));
  EXPECT_ERRNO(Set(MPOL_DEFAULT, &node0, WORD), EINVAL);
  EXPECT_ERRNO(Set(MPOL_LOCAL, &node0, WORD), EINVAL);
  EXPECT_ERRNO(Set(MPOL_PREFERRED | MPOL_F_STATIC_NODES, NULL, 0), EINVAL);
  EXPECT_ERRNO(Set(MPOL_BIND | MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES, &node0, WORD), EINVAL);
  EXPECT_ERRNO(Set(MPOL_INTERLEAVE | MPOL_F_NUMA_BALANCING, &node0, WORD), EINVAL);
  EXPECT_ERRNO(Set(MPOL_BIND, BAD_POINTER, WORD), EFAULT);
  EXPECT_ERRNO(Set(99, BAD_POINTER, WORD), EINVAL);
  EXPECT_POLICY(MPOL_BIND, node0);
}

TEST(long_masks) {
  unsigned long mask[600] = {1};
  OK(Set(MPOL_BIND, mask, 1025));
  mask[512] = 1;
  EXPECT_ERRNO(Set(MPOL_BIND, mask, 8 * PAGE + 2), EINVAL);  // longer than a page
  EXPECT_ERRNO(Set(MPOL_BIND, mask, 0x100000000), EINVAL);
  mask[511] = 1ul << 63;
  EXPECT_ERRNO(Set(MPOL_BIND, mask, 8 * PAGE + 1), EINVAL);  // no kernel has so many
}

TEST(get_mempolicy_errors) {
  int mode = 0;
  unsigned long mask[2];
  EXPECT_ERRNO(syscall(SYS_get_mempolicy, &mode, mask, 0, NULL, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_get_mempolicy, &mode, mask, 1 << 20, NULL, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_get_mempolicy, &mode, NULL, 0, &mode, 0), EINVAL);
  EXPECT_ERRNO(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 8), EINVAL);
  EXPECT_ERRNO(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, MPOL_F_NODE), EINVAL);
  EXPECT_ERRNO(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, MPOL_F_MEMS_ALLOWED | MPOL_F_NODE),
               EINVAL);
  EXPECT_ERRNO(syscall(SYS_get_mempolicy, &mode, NULL, 0, BAD_POINTER, MPOL_F_ADDR), EFAULT);
  EXPECT_ERRNO(syscall(SYS_get_mempolicy, BAD_POINTER, NULL, 0, NULL, 0), EFAULT);
  EXPECT_ERRNO(syscall(SYS_get_mempolicy, NULL, BAD_POINTER, WORD, NULL, 0), EFAULT);
}

TEST(mbind_is_of_a_range) {
  char* at = Pages(6);
  OK(Bind(at + PAGE, 2 * PAGE, MPOL_BIND, &node0, MPOL_MF_STRICT | MPOL_MF_MOVE));
  EXPECT_POLICY_AT(at, MPOL_DEFAULT, 0);
  EXPECT_POLICY_AT(at + PAGE, MPOL_BIND, node0);
  EXPECT_POLICY_AT(at + 3 * PAGE - 1, MPOL_BIND, node0);
  EXPECT_POLICY_AT(at + 3 * PAGE, MPOL_DEFAULT, 0);
  at[PAGE] = 1;
  ExpectPolicyAt(__LINE__, at + PAGE, MPOL_F_NODE | MPOL_F_ADDR, 0, node0);
  ExpectPolicyAt(__LINE__, at, MPOL_F_NODE | MPOL_F_ADDR, 0, 0);
  IN_CHILD({ EXPECT_POLICY_AT(at + PAGE, MPOL_BIND, node0); });
  OK(Bind(at, 6 * PAGE, MPOL_DEFAULT, NULL, 0));
  EXPECT_POLICY_AT(at + PAGE, MPOL_DEFAULT, 0);
}

TEST(mbind_errors) {
  char* at = Pages(4);
  EXPECT_EQ(munmap(at + 2 * PAGE, PAGE), 0);
  EXPECT_ERRNO(Bind(at, 4 * PAGE, MPOL_BIND, &node0, 0), EFAULT);
  EXPECT_ERRNO(Bind(at + 1, PAGE, MPOL_BIND, &node0, 0), EINVAL);
  EXPECT_ERRNO(Bind(at, PAGE, MPOL_BIND, &node0, 0x100), EINVAL);
  EXPECT_ERRNO(Bind(at, PAGE, MPOL_BIND, &node1, 0), EINVAL);
  EXPECT_ERRNO(Bind(at, 0, 99, NULL, 0), EINVAL);
  EXPECT_ERRNO(Bind(at, PAGE, MPOL_BIND, BAD_POINTER, 0), EFAULT);
  EXPECT_ERRNO(Bind(at, -2 * PAGE - (unsigned long)at, MPOL_BIND, &node0, 0), EFAULT);
  EXPECT_ERRNO(Bind(at, -(unsigned long)PAGE, MPOL_BIND, &node0, 0), EINVAL);
  EXPECT_EQ(Bind(at, 0, MPOL_BIND, NULL, 0), 0);
  IN_CHILD({
    EXPECT(setresuid(1000, 1000, 1000) == 0);
    EXPECT_ERRNO(Bind(at, PAGE, MPOL_BIND, &node0, MPOL_MF_MOVE_ALL), EPERM);
  });
}

TEST(children_inherit_the_policy) {
  OK(Set(MPOL_BIND, &node0, WORD));
  IN_CHILD({
    EXPECT_POLICY(MPOL_BIND, node0);
    OK(Set(MPOL_LOCAL, NULL, 0));
  });
  EXPECT_POLICY(MPOL_BIND, node0);
}

// "ADDRESS policy ..." of the mapping that begins at an address.
static void ExpectNumaMaps(int line, void* at, const char* begin) {
  static char text[100000];
  char want[80];
  EXPECT(ReadFile("/proc/self/numa_maps", text, sizeof text));
  snprintf(want, sizeof want, "%lx %s", (unsigned long)at, begin);
  const char* found = strstr(text, want);
  if (found == NULL || (found != text && found[-1] != '\n')) {
    Fail(__FILE__, line, "no \"%s\" in %s", want, text);
  }
}

TEST(numa_maps) {
  char* at = Pages(6);
  OK(Bind(at, 2 * PAGE, MPOL_BIND | MPOL_F_STATIC_NODES, &both, 0));
  OK(Bind(at + 2 * PAGE, 2 * PAGE, MPOL_PREFERRED, NULL, 0));
  OK(Bind(at + 4 * PAGE, PAGE, MPOL_INTERLEAVE, &node0, 0));
  ExpectNumaMaps(__LINE__, at, "bind=static:0\n");
  ExpectNumaMaps(__LINE__, at + 2 * PAGE, "local\n");
  ExpectNumaMaps(__LINE__, at + 4 * PAGE, "interleave:0\n");
  ExpectNumaMaps(__LINE__, at + 5 * PAGE, "default");
  at[4 * PAGE] = 1;
  ExpectNumaMaps(__LINE__, at + 4 * PAGE, "interleave:0 anon=1 dirty=1 ");
  OK(Set(MPOL_LOCAL, NULL, 0));
  ExpectNumaMaps(__LINE__, at + 5 * PAGE, "local");
}
