// Extended attributes, xattr(7): by path, by link and by descriptor. The scratch directory's file
// system must have user attributes (tmpfs since Linux 6.6); where it has none all cases pass.
#include <fcntl.h>
#include <sys/xattr.h>

#include "check.h"

// A file with user.a = "one"; the case ends here where there are no attributes.
static int Begin(void) {
  WriteFile("file", "");
  EXPECT(symlink("file", "link") == 0);
  const int fd = OK(open("file", O_RDONLY));
  if (fsetxattr(fd, "user.a", "one", 3, 0) != 0) {
    EXPECT_EQ(errno, EOPNOTSUPP);
    _exit(0);
  }
  return fd;
}

TEST(by_descriptor) {
  const int fd = Begin();
  char text[64] = "";
  EXPECT_EQ(fgetxattr(fd, "user.a", text, sizeof text), 3);
  EXPECT_STR(text, "one");
  EXPECT_EQ(getxattr("file", "user.a", text, sizeof text), 3);
  EXPECT_EQ(fgetxattr(fd, "user.a", NULL, 0), 3);
  EXPECT_ERRNO(fgetxattr(fd, "user.a", text, 2), ERANGE);
  EXPECT_ERRNO(fgetxattr(fd, "user.b", text, sizeof text), ENODATA);
  EXPECT_ERRNO(fgetxattr(fd, "user.", text, sizeof text), EINVAL);
  EXPECT_ERRNO(fgetxattr(fd, "", text, sizeof text), ERANGE);
  EXPECT_EQ(flistxattr(fd, text, sizeof text), 7);
  EXPECT_STR(text, "user.a");
  EXPECT_EQ(flistxattr(fd, NULL, 0), 7);
  EXPECT_ERRNO(flistxattr(fd, text, 6), ERANGE);
  EXPECT_ERRNO(fsetxattr(fd, "user.a", "x", 1, XATTR_CREATE), EEXIST);
  EXPECT_ERRNO(fsetxattr(fd, "user.b", "x", 1, XATTR_REPLACE), ENODATA);
  EXPECT(fsetxattr(fd, "user.a", "", 0, XATTR_REPLACE) == 0);
  EXPECT_EQ(fgetxattr(fd, "user.a", text, sizeof text), 0);
  EXPECT(fremovexattr(fd, "user.a") == 0);
  EXPECT_ERRNO(fremovexattr(fd, "user.a"), ENODATA);
  EXPECT_EQ(flistxattr(fd, text, sizeof text), 0);
}

TEST(bad_descriptors) {
  Begin();
  char text[8];
  const int path = OK(open("file", O_PATH));
  EXPECT_ERRNO(fgetxattr(999, "user.a", text, sizeof text), EBADF);
  EXPECT_ERRNO(fsetxattr(999, "user.a", text, 1, 0), EBADF);
  EXPECT_ERRNO(flistxattr(999, text, sizeof text), EBADF);
  EXPECT_ERRNO(fremovexattr(999, "user.a"), EBADF);
  EXPECT_ERRNO(fsetxattr(path, "user.a", text, 1, 0), EBADF);
  EXPECT_ERRNO(fgetxattr(path, "user.a", text, sizeof text), EBADF);
  EXPECT_ERRNO(flistxattr(path, text, sizeof text), EBADF);
}

TEST(links_have_no_user_attributes) {
  Begin();
  char text[64] = "";
  EXPECT_EQ(getxattr("link", "user.a", text, sizeof text), 3);  // follows
  EXPECT_ERRNO(lsetxattr("link", "user.a", "x", 1, 0), EPERM);
  EXPECT_ERRNO(lgetxattr("link", "user.a", text, sizeof text), ENODATA);
  EXPECT_EQ(llistxattr("link", text, sizeof text), 0);
  EXPECT_ERRNO(lremovexattr("link", "user.a"), EPERM);
}

TEST(link_calls_on_a_file) {
  Begin();
  char text[64] = "";
  EXPECT(lsetxattr("file", "user.b", "four", 4, XATTR_CREATE) == 0);
  EXPECT_EQ(lgetxattr("file", "user.b", text, sizeof text), 4);
  EXPECT_STR(text, "four");
  EXPECT_EQ(llistxattr("file", text, sizeof text), 14);
  EXPECT(lremovexattr("file", "user.b") == 0);
  EXPECT_ERRNO(lgetxattr("file", "user.b", text, sizeof text), ENODATA);
  EXPECT_ERRNO(lgetxattr("nothing", "user.b", text, sizeof text), ENOENT);
  EXPECT_ERRNO(lsetxattr("file/x", "user.b", "", 0, 0), ENOTDIR);
}

TEST(writing_needs_the_right_to_write) {
  const int fd = Begin();
  EXPECT(chmod("file", 0644) == 0 && chmod(".", 0755) == 0);
  IN_CHILD({
    char text[8];
    EXPECT(setgid(1234) == 0 && setuid(1234) == 0);
    EXPECT_EQ(fgetxattr(fd, "user.a", text, sizeof text), 3);
    EXPECT_ERRNO(fsetxattr(fd, "user.a", "x", 1, 0), EACCES);
    EXPECT_ERRNO(fremovexattr(fd, "user.a"), EACCES);
    EXPECT_ERRNO(fsetxattr(fd, "trusted.a", "x", 1, 0), EPERM);
    EXPECT_ERRNO(fgetxattr(fd, "trusted.a", text, sizeof text), ENODATA);
  });
}

TEST(sizes) {
  const int fd = Begin();
  char* big = calloc(1, 70000);
  char name[300] = "user.";
  memset(name + 5, 'n', 250);  // 255 in all
  EXPECT(fsetxattr(fd, name, "x", 1, 0) == 0);
  name[255] = 'n';
  EXPECT_ERRNO(fsetxattr(fd, name, "x", 1, 0), ERANGE);
  EXPECT_ERRNO(fsetxattr(fd, "user.a", big, 65537, 0), E2BIG);
  EXPECT_ERRNO(fsetxattr(fd, "user.a", BAD_POINTER, 8, 0), EFAULT);
  EXPECT_ERRNO(fgetxattr(fd, "user.a", BAD_POINTER, 8), EFAULT);
  EXPECT_ERRNO(fsetxattr(fd, BAD_POINTER, big, 8, 0), EFAULT);
}
